"""Which operands of an ATen call its rule leaves out: an op without them computes something else.

This is the one place that compares a call with the op that is recorded for it. A rule sees the arguments that its
signature names, by place or by name, and those that it lists as ``carries``. An argument that goes into a ``*rest`` or
``**kwargs`` beside them must have the default of the function's schema. A tensor must be an input or a weight of what
the rule records. Anything else is lost: the node says so, its costs and fields stay right, and it is neither built nor
exported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

ALL = frozenset({"*"})
"""For rules that carry every argument, or that say themselves what is lost (``emit(..., lost=...)``)."""
WITHOUT_EFFECT = frozenset({
    "allow_tf32", "benchmark", "copy", "cudnn_enable", "cudnn_enabled", "deterministic", "device", "generator",
    "layout", "memory_format", "momentum", "non_blocking", "out", "padding_idx", "pin_memory", "scale_grad_by_freq",
    "sparse",
})  # fmt: skip
"""Arguments that do not change the numbers of a result at inference, whichever function has them."""
_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Operand:
    """An argument of an ATen function. ``place`` is its position, None for one that is passed by name.

    ``seen`` says that the rule gets it by its name; then only a tensor in it can be lost.
    """

    name: str
    place: int | None
    seen: bool
    required: bool
    default: Any

    def given(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Returns the value in a call, the default if it is not given."""
        if self.place is not None and self.place < len(args):
            return args[self.place]
        return kwargs.get(self.name, self.default)


def operands(func: Any, rule: Callable[..., Any], carries: Collection[str]) -> tuple[Operand, ...]:
    """Returns the arguments of an ATen function that can be lost with this rule."""
    if carries == ALL:
        return ()
    _, _, *named = inspect.signature(rule).parameters.values()
    by_place = [p for p in named if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = {p.name for p in named if p.kind not in _OPEN}
    found: list[Operand] = []
    place = 0
    for argument in func._schema.arguments:
        own = None if argument.kwarg_only else place
        place += not argument.kwarg_only
        if argument.name in carries or argument.name in WITHOUT_EFFECT or argument.is_out:
            continue
        seen = argument.name in names if own is None else own < len(by_place)
        required = not argument.has_default_value()
        found.append(Operand(argument.name, own, seen, required, None if required else argument.default_value))
    return tuple(o for o in found if not o.seen or _may_be_tensor(func, o.name))


def _may_be_tensor(func: Any, name: str) -> bool:
    argument = next(a for a in func._schema.arguments if a.name == name)
    return "Tensor" in str(argument.type)


def missing(
    known: Sequence[Operand], args: Sequence[Any], kwargs: Mapping[str, Any], read: Callable[[Tensor], bool]
) -> Iterator[str]:
    """Yields the names of the operands of a call that the op does not have; ``read`` says whether it reads a tensor."""
    for operand in known:
        value = operand.given(args, kwargs)
        if value is None:
            continue
        if isinstance(value, Tensor):
            kept = read(value)
        elif isinstance(value, (list, tuple)) and (tensors := [t for t in value if isinstance(t, Tensor)]):
            kept = all(map(read, tensors))
        else:
            kept = operand.seen or (not operand.required and _equal(value, operand.default))
        if not kept:
            yield operand.name


def _equal(value: Any, default: Any) -> bool:
    """Whether an argument has its default, which may be one number for a list of them."""
    if isinstance(value, (list, tuple)):
        return list(value) == (list(default) if isinstance(default, (list, tuple)) else [default] * len(value))
    return bool(value == default)
