"""Turns ATen functions into ops: the table of rules, and what a rule sees. Each topic is a file of this
folder.

A rule has the name of the function in ATen without the overload, and without the underscore of in-place functions:

    @records("relu")
    def relu(trace: Tracer, out: Tensor, x: Tensor) -> None:
        trace.emit(ReLU(), [x], out)

It is called after the function ran, with its output and the arguments of the call. A function without a rule is
a function of single elements if torch marks it so; else it is decomposed if torch can do that; otherwise it becomes an
`Unsupported` op. A plugin adds rules with the same decorators.

The op must have every operand of the call. `cnnscope.sources.torch.operands` compares the two: an argument that a rule
does not name must have its default. A rule that takes one from ``*rest`` or ``**kwargs`` lists the schema's name of it
as ``carries``; one that finds out itself that its op lacks an operand says so with ``emit(..., lost=(name,))``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import NoneType
from typing import Any, Protocol

import torch
from torch import Tensor

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Intent, Value
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Select, Unsupported
from cnnscope.registry import Registry, load_files
from cnnscope.sources.torch.operands import Operand, operands
from cnnscope.sources.torch.shortcuts import SHORTCUTS

Rule = Callable[..., Any]
RECORDS: Registry[Rule] = Registry("cnnscope.torch_records", "rule after the function of torch")
"""``rule(trace, out, *args, **kwargs)`` is called after the function. What it returns, if not None, replaces
the output.
"""
INSTEAD: Registry[Rule] = Registry("cnnscope.torch_instead", "rule in place of the function of torch")
"""``rule(trace, func, *args, **kwargs)`` is called instead of the function and returns its output."""


_CARRIES: dict[Rule, Collection[str]] = {}
"""The arguments that a rule takes from ``*rest`` or ``**kwargs``, or whose values are in what it records."""


def records(*names: str, carries: Collection[str] = ()) -> Callable[[Rule], Rule]:
    """Adds a rule that runs after the functions of these names; ``carries`` are arguments that its signature does not
    name.
    """
    return _adding(RECORDS, INSTEAD, names, carries)


def instead(*names: str, carries: Collection[str] = ()) -> Callable[[Rule], Rule]:
    """Adds a rule that runs in place of the functions of these names; ``carries`` as in `records`."""
    return _adding(INSTEAD, RECORDS, names, carries)


def _adding(
    table: Registry[Rule], other: Registry[Rule], names: Iterable[str], carries: Collection[str]
) -> Callable[[Rule], Rule]:
    def add(rule: Rule) -> Rule:
        if carries:
            _CARRIES[rule] = carries
        for name in names:
            if name in other:
                raise CnnscopeError.of("E412", f"torch's function `{name}` has a {other.noun} already")
            table.add(name, rule)
        return rule

    return add


class Tracer(Protocol):
    """The part of the run, `cnnscope.sources.torch.trace.Trace`, that rules see."""

    real: bool
    """Whether tensors have values."""
    sizes: Sequence[int]
    """The sizes with which ``view``, ``reshape`` or ``interpolate`` was called, while it runs."""

    def emit(
        self, op: Op, inputs: Sequence[Tensor], out: Tensor, params: Mapping[str, Tensor | None] | None = None,
        fn: str = "", keys: Mapping[str, str] | None = None, *, intent: Intent = NO_INTENT, like: int | None = None,
        batch: int | None = None, lost: tuple[str, ...] = (),
    ) -> None: ...  # fmt: skip
    def same(self, out: Tensor, source: Tensor) -> None: ...
    def value(self, t: Tensor) -> Value: ...
    def batch(self, t: Tensor) -> tuple[int, int] | None: ...
    def tracked(self, t: Tensor) -> bool: ...
    def key(self, t: Tensor | None) -> str | None: ...
    def sibling(self, t: Tensor, name: str) -> Tensor | None: ...
    def shares_memory(self, out: Tensor, x: Tensor) -> bool: ...
    def run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any: ...
    def depends_on_data(self, function: str) -> Exception: ...
    def constant(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor: ...
    def constant_keys(self, t: Tensor) -> tuple[str, ...]: ...
    def is_drawn(self, t: Tensor) -> bool: ...
    def is_zero(self, t: Tensor) -> bool: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, kind: Any, error: Any, place: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Lowering:
    """What is known about one ATen function.

    ``shortcut`` makes its output where that is easy. ``targets`` are the places and names of the arguments that it
    writes to, and ``results`` the names of those that only take its results (``out``). An ``in_place`` function returns
    the first of its targets; a ``reshaping`` one changes the shape of its first argument (``transpose_``). The shape or
    value of the output of a ``dynamic`` one depends on values. The output of a ``view`` shares memory. ``composite``
    functions can be decomposed. ``operands`` are arguments that the op of the rule may lack.
    """

    name: str
    record: Rule | None
    instead: Rule | None
    shortcut: Callable[..., Tensor | None] | None
    targets: tuple[tuple[int, str], ...]
    results: tuple[str, ...]
    in_place: bool
    reshaping: bool
    dynamic: bool
    view: bool
    composite: bool
    operands: tuple[Operand, ...]


_KNOWN: dict[Any, Lowering] = {}
_DYNAMIC = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}


def lowering(func: Any) -> Lowering:
    """Returns what is known about an ATen function (an `OpOverload`)."""
    key = func, RECORDS.version, INSTEAD.version
    known = _KNOWN.get(key)
    if known is None:
        known = _KNOWN[key] = _look_up(func)
    return known


def _look_up(func: Any) -> Lowering:
    namespace, name = func._schema.name.split("::")
    shortcut = SHORTCUTS.get(name) if namespace == "aten" else None
    arguments = func._schema.arguments
    targets = tuple((i, a.name) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write)
    if targets and name.endswith("_"):
        name = name[:-1]
    if name == "where" and len(func._schema.arguments) == 1:
        name = "nonzero"  # which it is
    if namespace != "aten":
        name = f"{namespace}::{name}"
    elif name not in RECORDS and name.removesuffix("_copy") in RECORDS:
        name = name.removesuffix("_copy")  # a view as a copy, which a rule sees in its output
    dynamic = name == "nonzero" or not _DYNAMIC.isdisjoint(func.tags)
    record, in_place_of = RECORDS.get(name), INSTEAD.get(name)
    if record is None and in_place_of is None and torch.Tag.pointwise in func.tags:
        record = partial(RECORDS["pointwise"], name)
    rule = record or in_place_of
    return Lowering(
        name=name, record=record, instead=in_place_of, shortcut=shortcut, targets=targets,
        results=tuple(a.name for a in arguments if a.is_out), in_place=_returns_target(func),
        reshaping=torch.Tag.inplace_view in func.tags,
        dynamic=dynamic, view=func.is_view, composite=func._can_decompose(),
        operands=() if rule is None else operands(func, rule, _CARRIES.get(rule, ())),
    )  # fmt: skip


def _returns_target(func: Any) -> bool:
    returned = func._schema.returns
    return len(returned) == 1 and returned[0].alias_info is not None and returned[0].alias_info.is_write


PLAIN = frozenset({int, float, bool, NoneType, str, torch.dtype, torch.layout, torch.memory_format})
"""Types of arguments that are no tensors and have none inside."""


def tensors(args: Iterable[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Returns all tensors among the arguments of a call, including those in lists."""
    found: list[Tensor] = []
    for a in (*args, *kwargs.values()) if kwargs else args:
        if type(a) in PLAIN:
            continue
        if isinstance(a, Tensor):
            found.append(a)
        elif isinstance(a, (list, tuple)):
            found += [item for item in a if type(item) not in PLAIN and isinstance(item, Tensor)]
    return found


def written(rule: Lowering, args: Any, kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Returns the tensors that a call writes to."""
    if not rule.targets:
        return []
    return tensors([args[i] if i < len(args) else kwargs.get(name) for i, name in rule.targets], {})


def unsupported(trace: Tracer, out: Any, name: str, inputs: Iterable[Tensor]) -> None:
    """Records a call without a rule: one op, and a select for each further output."""
    first, *others = tensors((out,), {}) if not isinstance(out, Tensor) else (out,)
    used = [t for t in inputs if trace.tracked(t)]
    trace.emit(Unsupported(tuple(first.shape), fn=name), used, first, fn=name)
    for index, other in enumerate(others, start=1):
        trace.emit(Select(tuple(other.shape), index=index), [first], other, fn="output")


load_files(__name__)
