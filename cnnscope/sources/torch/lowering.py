"""From ATen functions to ops: the table of rules, filled by the ``torch_*`` modules of each topic.

A rule is named by the function's name in ATen without the overload, and without the underscore of in-place functions:

    @records("relu")
    def relu(trace, out, x):
        trace.emit(ReLU(), [x], out)

It is called after the function ran, with its output and the very arguments of the call. Functions without a rule that
torch can take apart are taken apart; the others are `Unsupported`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnscope.ops.generic import Select, Unsupported
from cnnscope.sources.torch.shapes import SHORTCUTS

if TYPE_CHECKING:
    from cnnscope.sources.torch.trace import Trace

Rule = Callable[..., Any]
RECORDS: dict[str, Rule] = {}
"""``rule(trace, out, *args, **kwargs)`` after the call. What it returns, if not None, is the call's output instead."""
INSTEAD: dict[str, Rule] = {}
"""``rule(trace, func, *args, **kwargs)`` in place of the call, returning its output."""


def records(*names: str) -> Callable[[Rule], Rule]:
    """Registers a rule that runs after the functions of these names."""
    return _register(RECORDS, names)


def instead(*names: str) -> Callable[[Rule], Rule]:
    """Registers a rule that runs in place of the functions of these names."""
    return _register(INSTEAD, names)


def _register(table: dict[str, Rule], names: Iterable[str]) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        for name in names:
            if name in RECORDS or name in INSTEAD:
                raise TypeError(f"two rules for {name!r}")
            table[name] = rule
        return rule

    return register


@dataclass(frozen=True, slots=True)
class Lowering:
    """What is known of one ATen function.

    ``shortcut`` makes its output where that is easy. ``mutable``: it writes to an argument; ``dynamic``: its output's
    shape or value depends on values; ``view``: it shares memory; ``composite``: it can be taken apart.
    """

    name: str
    record: Rule | None
    instead: Rule | None
    shortcut: Callable[..., Tensor | None] | None
    mutable: bool
    dynamic: bool
    view: bool
    composite: bool


_KNOWN: dict[Any, Lowering] = {}
_DYNAMIC = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}


def lowering(func: Any) -> Lowering:
    """The entry of an ATen function (an `OpOverload`)."""
    known = _KNOWN.get(func)
    if known is None:
        known = _KNOWN[func] = _look_up(func)
    return known


def _look_up(func: Any) -> Lowering:
    namespace, name = func._schema.name.split("::")
    shortcut = SHORTCUTS.get(name) if namespace == "aten" else None
    mutable = func._schema.is_mutable
    if mutable and name.endswith("_"):
        name = name[:-1]
    if name == "where" and len(func._schema.arguments) == 1:
        name = "nonzero"  # what it is
    if namespace != "aten":
        name = f"{namespace}::{name}"
    dynamic = name == "nonzero" or not _DYNAMIC.isdisjoint(func.tags)
    return Lowering(
        name, RECORDS.get(name), INSTEAD.get(name), shortcut, mutable, dynamic, func.is_view, func._can_decompose()
    )


def tensors(args: Any, kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """All tensors among the arguments of a call, those in lists included."""
    for a in (*args, *kwargs.values()):
        if isinstance(a, Tensor):
            yield a
        elif isinstance(a, (list, tuple)):
            yield from (item for item in a if isinstance(item, Tensor))


def written(rule: Lowering, args: Any, kwargs: Mapping[str, Any]) -> Tensor | None:
    """The tensor a call writes to, if it does."""
    target = kwargs.get("out", args[0] if args else None) if rule.mutable else None
    return target if isinstance(target, Tensor) else None


def unsupported(trace: Trace, out: Any, name: str, inputs: Iterable[Tensor]) -> None:
    """Records a call that no rule covers: one op, and a select for each further output."""
    first, *others = tensors((out,), {}) if not isinstance(out, Tensor) else (out,)
    used = [t for t in inputs if trace.tracked(t)]
    trace.emit(Unsupported(tuple(first.shape), fn=name), used, first, fn=name)
    for index, other in enumerate(others, start=1):
        trace.emit(Select(tuple(other.shape), index=index), [first], other, fn="output")
