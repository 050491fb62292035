"""The message about a run that stops in the user's model: where, why, and which inputs or numbers would fit.

Torch's own message names neither layer nor remedy. The layer is known from the hooks, the shapes from the call that
failed, and every size that the message recommends was run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cnnscope.errors import CnnscopeError, Diagnostic, PartialError
from cnnscope.ops.base import shape_text
from cnnscope.sources.fitting import Mismatch, Probing, Stop, hints
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.mismatch import mismatch
from cnnscope.sources.torch.recording import Call
from cnnscope.sources.torch.trace import Trace
from cnnscope.user_code import unsaid, user_frames


def stop(error: Exception, recorder: Trace) -> Stop:
    """Returns what is known about the error with which a run stopped."""
    _, args, _ = _function(error, recorder)
    call = _call(error, recorder)
    source = next((a for a in (*args, *call.args) if isinstance(a, Tensor)), None)
    maker = "" if source is None else _maker(source, recorder)
    passed = frozenset(draft.layer for draft in recorder.recording.drafts)
    return Stop(call.path, misfit(error, recorder), maker, passed)


def misfit(error: Exception, recorder: Trace) -> Mismatch | None:
    """Returns which shapes do not fit where a run stopped; None if it stopped for another reason."""
    call = _call(error, recorder)
    return mismatch(call.module, call.args, *_function(error, recorder), lambda t: _named(t, recorder))


def _call(error: Exception, recorder: Trace) -> Call:
    failed = recorder.recording.failed
    return failed[1] if failed and failed[0] is error else recorder.recording.calls[0]


def _function(error: Exception, recorder: Trace) -> tuple[str, Sequence[Any], Mapping[str, Any]]:
    failing = recorder.failing
    return failing[1:] if failing and failing[0] is error else ("", (), {})


Rerun = Callable[[Sequence[InputSize], int], Stop | None]
"""Runs the model at other sizes, or with another number of images; None if it runs to its end."""


@dataclass(frozen=True)
class Attempt:
    """What was run: the model of this name at these sizes, with ``batch`` images. It cannot run again without
    ``rerun``.
    """

    name: str
    sizes: Sequence[InputSize]
    batch: int
    rerun: Rerun | None


def failure(error: Exception, recorder: Trace, attempt: Attempt) -> CnnscopeError:
    """Returns E435 for a run that stopped, with the graph so far."""
    call, found = _call(error, recorder), stop(error, recorder)
    name, sizes = attempt.name, attempt.sizes
    kind = f" (`{type(call.module).__name__}`)" if call.module is not None else ""
    place = f"in `{call.path}`{kind}" if call.path else f"in `{name}`"
    given = ", ".join(str(size) for size in sizes) + (f" and a batch of {attempt.batch}" if attempt.batch > 1 else "")
    places = list(user_frames(error.__traceback__))
    remedies = [*hints(found, sizes, _probing(attempt), lambda: _other_batch(attempt))]
    diagnostic = Diagnostic(
        "E435", f"with input {given} the run stops {place}: {_reason(error, found.mismatch)}",
        places[-1][0] if places else None, hint="; ".join(remedies) or None,
    )  # fmt: skip
    return PartialError(diagnostic, graph=recorder.recording.graph(name, ()))


def _other_batch(attempt: Attempt) -> str | None:
    """Returns with which other number of images the model runs, if it does."""
    other = 2 if attempt.batch == 1 else 1
    if attempt.rerun is None or attempt.rerun(attempt.sizes, other) is not None:
        return None
    return f"it runs with a batch of {other}: " + ("`--trace-batch 2`" if other == 2 else "leave `--trace-batch` out")


def _probing(attempt: Attempt) -> Probing | None:
    rerun = attempt.rerun
    return None if rerun is None else Probing(lambda sizes: rerun(sizes, attempt.batch))


def _reason(error: Exception, found: Mismatch | None) -> str:
    if found is not None:
        return found.text
    reason = str(error).strip().split("\n")[0].rstrip(".")
    if not reason:
        return unsaid(error)
    if type(error) not in (RuntimeError, ValueError, AssertionError):  # as torch and models report shapes
        reason = f"{type(error).__name__}: {reason}"
    return reason


def _maker(t: Tensor, recorder: Trace) -> str:
    """Returns the layer that gave a tensor its channels or features; an empty text for the input.

    Layers that pass them on, such as activations and norms, are skipped.
    """
    recording, place = recorder.recording, recorder.place(t)
    if place is None:
        return ""
    axis = 1 if t.dim() > 2 else -1
    while (draft := recording.drafts[place]).op is not None and len(draft.inputs) == 1:
        before = recording.drafts[draft.inputs[0]].output.shape
        mixes = any(recording.weights[key].dim() > 1 for key in draft.params.values() if key in recording.weights)
        if mixes or len(before) != t.dim() or before[axis] != t.shape[axis]:
            break
        place = draft.inputs[0]
    return "" if draft.op is None else draft.layer


def _named(t: Tensor, recorder: Trace) -> str:
    """Returns what a tensor is to a reader: which layer gives which shape."""
    shape = shape_text(tuple(t.shape[1:])) if t.dim() > 1 else "one number an image"
    key = recorder.key(t)
    if key is not None:
        return f"the weight `{key}` is {shape_text(tuple(t.shape))}"
    layer = _maker(t, recorder)
    place = recorder.place(t)
    if place is None:
        return f"a constant is {shape_text(tuple(t.shape))}"
    draft = recorder.recording.drafts[place]
    if draft.op is None:
        return f"the input is {shape}"
    layer = layer or draft.layer
    before = recorder.recording.drafts[draft.inputs[0]].output if len(draft.inputs) == 1 else None
    flat = before is not None and len(before.shape) > t.dim()
    return f"`{layer}` gives {shape}" + (f" ({shape_text(before.features)})" if flat and before is not None else "")
