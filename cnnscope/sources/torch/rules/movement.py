"""Rules that move whole tensors: reshape, permute, expand, copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from cnnscope.ir import Intent
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ir.steps import Expand, Permute, Reshape, Step, repeated
from cnnscope.ops.generic import Movement, View
from cnnscope.ops.movement import Flatten
from cnnscope.sources.batch import UNSAID
from cnnscope.sources.torch.operands import ALL
from cnnscope.sources.torch.recording import dtype_name
from cnnscope.sources.torch.rules import Tracer, records
from cnnscope.sources.torch.shapes import computed, doubling


def move(
    trace: Tracer, out: Tensor, kind: str, x: Tensor, steps: tuple[Step, ...], computed: tuple[int, ...] = (),
    batch: int | None = None,
) -> None:  # fmt: skip
    """Records a rearrangement. It is a view if the result shares memory with ``x``. ``computed`` as in `Intent`,
    ``batch`` as in `Tracer.emit`.
    """
    if out is x:
        return
    dtype = dtype_name(out) if out.dtype != x.dtype else None
    op = View if trace.shares_memory(out, x) else Movement
    intent = Intent(computed=computed) if computed else NO_INTENT
    trace.emit(op(kind, steps, dtype), [x], out, fn=kind, intent=intent, batch=batch)


# -- shape -------------------------------------------------------------------------------------------------------------


def _reshape(kind: str) -> Any:
    def rule(trace: Tracer, out: Tensor, x: Tensor, *rest: Any, **kwargs: Any) -> None:
        sizes: Sequence[int] = trace.sizes or next((a for a in rest if isinstance(a, (list, tuple))), ())
        asked = computed(sizes) if kind in ("view", "reshape") and len(sizes) == out.dim() else ()
        if kind in ("squeeze", "unsqueeze", "ravel"):
            asked = tuple(range(out.dim()))
        batch = _batch_after(trace, kind, out, x, sizes, rest) if trace.tracked(x) else None
        move(trace, out, kind, x, (Reshape(tuple(out.shape)),), asked, batch)

    return rule


def _batch_after(
    trace: Tracer, kind: str, out: Tensor, x: Tensor, sizes: Sequence[int], rest: Sequence[Any]
) -> int | None:
    """Returns the axis of the result that has the batch; None if the call does not say."""
    place = trace.batch(x)
    if place is None or place[0] < 0:
        return None
    axis = place[0]
    if kind == "unsqueeze":
        return axis + int(rest[0] % out.dim() <= axis)
    if kind == "squeeze":
        asked = range(x.dim()) if not rest else [rest[0]] if isinstance(rest[0], int) else rest[0]
        gone = {i % x.dim() for i in asked if x.shape[i] == 1}
        return None if axis in gone else axis - sum(i < axis for i in gone)
    if kind == "unflatten":
        split: int = rest[0] % x.dim()
        return None if axis == split else axis + int(axis > split) * (out.dim() - x.dim())
    if rest and isinstance(rest[0], Tensor):
        there = trace.batch(rest[0]) if trace.tracked(rest[0]) else None
        return there[0] if there and there[0] >= 0 else None
    if trace.sizes and not computed(trace.sizes):
        return UNSAID  # plain numbers hold for one batch size only
    return doubling(sizes, out.shape)


for _name in ("view", "reshape", "unsqueeze", "squeeze", "unflatten", "view_as", "reshape_as", "ravel", "_unsafe_view"):
    records(_name, carries=ALL)(_reshape(_name.removeprefix("_unsafe_").removesuffix("_as")))


@records("flatten")
def flatten(trace: Tracer, out: Tensor, x: Tensor, start: int = 0, end: int = -1) -> None:
    whole = x.dim() > 0 and (start, end % x.dim()) == (1, x.dim() - 1)
    if whole and trace.value(x).batch_axis == 0 and trace.shares_memory(out, x):
        trace.emit(Flatten(), [x], out)
    else:
        place, start, end = trace.batch(x), start % max(x.dim(), 1), end % max(x.dim(), 1)
        axis = -1 if place is None else place[0]
        after = None if axis < 0 else min(axis, max(start, axis - (end - start)))
        move(trace, out, "flatten", x, (Reshape(tuple(out.shape)),), tuple(range(out.dim())), after)


def _permuted(trace: Tracer, out: Tensor, kind: str, x: Tensor, order: Sequence[int]) -> None:
    move(trace, out, kind, x, (Permute(tuple(axis % x.dim() for axis in order)),))


@records("permute")
def permute(trace: Tracer, out: Tensor, x: Tensor, order: Sequence[int]) -> None:
    _permuted(trace, out, "permute", x, order)


@records("transpose", "swapaxes", "swapdims")
def transpose(trace: Tracer, out: Tensor, x: Tensor, a: int, b: int) -> None:
    order = list(range(x.dim()))
    if order:
        order[a], order[b] = order[b], order[a]
    _permuted(trace, out, "transpose", x, order)


@records("t", "numpy_T", "mT", "mH", "matrix_H", "adjoint")
def transposed(trace: Tracer, out: Tensor, x: Tensor) -> None:
    order = list(range(x.dim()))
    _permuted(trace, out, "transpose", x, [*order[:-2], *order[:-3:-1]])


@records("movedim", "moveaxis")
def movedim(trace: Tracer, out: Tensor, x: Tensor, source: Any, destination: Any) -> None:
    ones = ([source], [destination]) if isinstance(source, int) else (source, destination)
    places = {d % x.dim(): s % x.dim() for s, d in zip(*ones, strict=True)}
    rest = iter(axis for axis in range(x.dim()) if axis not in places.values())
    _permuted(trace, out, "permute", x, [places[i] if i in places else next(rest) for i in range(x.dim())])


@records("expand", "expand_as", "broadcast_to", carries=ALL)
def expand(trace: Tracer, out: Tensor, x: Tensor, *rest: Any, **kwargs: Any) -> None:
    sizes = rest[0] if rest and isinstance(rest[0], (list, tuple)) else ()
    move(trace, out, "expand", x, (Expand(tuple(out.shape)),) if out.shape != x.shape else (), computed(sizes))


@records("repeat", "tile")
def repeat(trace: Tracer, out: Tensor, x: Tensor, times: Sequence[int]) -> None:
    shape = (1,) * (out.dim() - x.dim()) + tuple(x.shape)
    move(trace, out, "repeat", x, repeated(shape, [n // max(m, 1) for n, m in zip(out.shape, shape, strict=True)]))


# -- copies ------------------------------------------------------------------------------------------------------------


@records("alias", "detach", "lift", "lift_fresh", "resolve_conj", "resolve_neg")
def alias(trace: Tracer, out: Tensor, x: Tensor) -> None:
    trace.same(out, x)


@records("clone", "contiguous", "to", "_to_copy", "type_as", "float", "half", "cpu", "cuda", carries=ALL)
def clone(trace: Tracer, out: Tensor, x: Tensor, *rest: Any, **kwargs: Any) -> None:
    if out is x or trace.shares_memory(out, x):
        trace.same(out, x)
    else:
        move(trace, out, "to" if out.dtype != x.dtype else "clone", x, ())
