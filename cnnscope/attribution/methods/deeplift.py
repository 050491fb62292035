"""DeepLift: the score's difference from the baseline's, split over pixels (Shrikumar et al. 2017, Rescale rule).

The rules are in `cnnscope.attribution.engine.deeplift`. Each conserves the difference, so the values add up to
f(x) - f(x0).
"""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.canonicalize import layer_of
from cnnscope.attribution.engine.deeplift import multipliers, on_a_line
from cnnscope.attribution.engine.roles import function_calls, is_linear
from cnnscope.errors import CnnscopeError


def run(question: Question) -> Found:
    network = question.canonical
    strange = [node for node in function_calls(network) if not is_linear(node)]
    if strange:
        name = getattr(strange[0].target, "__name__", str(strange[0].target))
        raise CnnscopeError.of(
            "E480", f"`deeplift` has no rule for the function `{name}`, called at `{layer_of(strange[0])}`",
            hint="`integrated-gradients` promises the same sum and needs no rules",
        )  # fmt: skip
    m = multipliers(network, question.x, question.baseline, question.target)
    averaged = on_a_line(network)
    notes = (f"gradients averaged on a line in {', '.join(averaged)}",) if averaged else ()
    return Found((m * (question.x - question.baseline))[0], question.difference, notes)


METHOD = Method("DeepLift", "share", True, run, "Shrikumar et al. 2017", takes=("baseline",))
