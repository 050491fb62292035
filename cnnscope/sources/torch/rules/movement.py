"""Rules that move elements: reshape, permute, slice, expand, roll, concatenate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cnnscope.ir import Intent
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ir.steps import Expand, Permute, Reshape, Step, Taps, repeated
from cnnscope.ops import merge
from cnnscope.ops.generic import Join, Movement, View
from cnnscope.ops.movement import Flatten
from cnnscope.sources.batch import UNSAID
from cnnscope.sources.torch.operands import ALL
from cnnscope.sources.torch.recording import dtype_name
from cnnscope.sources.torch.rules import Tracer, instead, records
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


# -- parts -------------------------------------------------------------------------------------------------------------


@records("slice")
def slice_(
    trace: Tracer,
    out: Tensor,
    x: Tensor,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> None:
    _part(trace, out, "slice", x, axis, range(x.shape[axis])[start:end:step])


@records("narrow")
def narrow(trace: Tracer, out: Tensor, x: Tensor, axis: int, start: int, length: int) -> None:
    _part(trace, out, "slice", x, axis, range(start, start + length))


@records("select")
def select(trace: Tracer, out: Tensor, x: Tensor, axis: int, index: int) -> None:
    axis %= x.dim()
    picked = Taps.picked(axis, range(index % x.shape[axis], index % x.shape[axis] + 1))
    move(trace, out, "select", x, (picked, Reshape(tuple(out.shape))))


@records(
    "split", "split_with_sizes", "chunk", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "tensor_split",
    carries=("tensor_indices_or_sections",),
)  # fmt: skip
def split(trace: Tracer, out: Sequence[Tensor], x: Tensor, sizes: Any, axis: int = 0) -> None:
    first = 0
    for part in out:
        _part(trace, part, "slice", x, axis, range(first, first + part.shape[axis]))
        first += part.shape[axis]


@records("unbind")
def unbind(trace: Tracer, out: Sequence[Tensor], x: Tensor, axis: int = 0) -> None:
    for index, part in enumerate(out):
        select(trace, part, x, axis, index)


def _part(trace: Tracer, out: Tensor, kind: str, x: Tensor, axis: int, picked: range) -> None:
    everything = len(picked) == x.shape[axis] and picked.step == 1
    if everything and trace.shares_memory(out, x):
        trace.same(out, x)
    else:
        move(trace, out, kind, x, (Taps.picked(axis % x.dim(), picked),))


# -- order -------------------------------------------------------------------------------------------------------------


@records("roll")
def roll(trace: Tracer, out: Tensor, x: Tensor, shifts: Any, axes: Any = ()) -> None:
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    along = [axes] if isinstance(axes, int) else [axis % x.dim() for axis in axes]
    if along:
        steps: list[Step] = [Taps(a, x.shape[a], 1, ((-n,),), "wrap") for n, a in zip(moves, along, strict=True)]
    else:
        flat = Taps(0, x.numel(), 1, ((-moves[0],),), "wrap")
        steps = [Reshape((x.numel(),)), flat, Reshape(tuple(x.shape))]
    move(trace, out, "roll", x, tuple(steps))


@records("flip")
def flip(trace: Tracer, out: Tensor, x: Tensor, axes: Sequence[int]) -> None:
    steps = (Taps(axis % x.dim(), x.shape[axis], -1, ((x.shape[axis] - 1,),)) for axis in axes)
    move(trace, out, "flip", x, tuple(steps))


@records("fliplr")
def fliplr(trace: Tracer, out: Tensor, x: Tensor) -> None:
    flip(trace, out, x, [1])


@records("flipud")
def flipud(trace: Tracer, out: Tensor, x: Tensor) -> None:
    flip(trace, out, x, [0])


@records("rot90")
def rotate(trace: Tracer, out: Tensor, x: Tensor, times: int = 1, axes: Sequence[int] = (0, 1)) -> None:
    """Rotates by quarter turns from the first axis to the second: after one turn, (i, j) reads (j, n - 1 - i)."""
    first, second = (axis % x.dim() for axis in axes)
    order = list(range(x.dim()))
    if times % 2:
        order[first], order[second] = second, first
    turned = {0: (), 1: (first,), 2: (first, second), 3: (second,)}[times % 4]
    shape = tuple(out.shape)
    flips = (Taps(axis, shape[axis], -1, ((shape[axis] - 1,),)) for axis in turned)
    move(trace, out, "rot90", x, (Permute(tuple(order)), *flips))


@records("cat", "concat", "concatenate")
def concatenate(trace: Tracer, out: Tensor, parts: Sequence[Tensor], axis: int = 0) -> None:
    axis %= out.dim()
    parts = [t for t in parts if t.dim() == out.dim()]  # torch skips empty tensors of one axis
    alike = {(trace.value(t).kind, trace.value(t).batch_axis) for t in parts}
    op = merge.Concat(axis) if len(alike) == 1 and trace.value(parts[0]).batch_axis != axis else Join(axis)
    trace.emit(op, parts, out, fn="concat")


@records("stack")
def stack(trace: Tracer, out: Tensor, parts: Sequence[Tensor], axis: int = 0) -> None:
    axis %= out.dim()
    rows = [t.unsqueeze(axis) for t in parts]
    for row, part in zip(rows, parts, strict=True):
        place = trace.batch(part)
        batch = None if place is None or place[0] < 0 else place[0] + (axis <= place[0])
        trace.emit(View("unsqueeze", (Reshape(tuple(row.shape)),)), [part], row, batch=batch)
    trace.emit(Join(axis), rows, out, fn="stack")


# -- parts replaced ----------------------------------------------------------------------------------------------------


def _scatter(part: str) -> Any:
    """Returns a rule for a copy of ``x`` with one part replaced, as if it were written in place."""

    def rule(trace: Tracer, func: Any, x: Tensor, new: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with trace:
            out = x.clone()
            getattr(torch.ops.aten, part)(out, *args, **kwargs).copy_(new)
        return out

    return rule


instead("slice_scatter")(_scatter("slice"))
instead("select_scatter")(_scatter("select"))
instead("diagonal_scatter")(_scatter("diagonal"))
instead("as_strided_scatter")(_scatter("as_strided"))


# -- grids -------------------------------------------------------------------------------------------------------------


@instead("meshgrid")
def meshgrid(trace: Tracer, func: Any, parts: Sequence[Tensor], indexing: str = "ij") -> list[Tensor]:
    """Stretches each vector along an axis of its own. Any of them may be constants."""
    order = list(range(len(parts)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    sizes = [parts[i].numel() for i in order]
    with trace:
        return [
            part.reshape([-1 if i == place else 1 for i in order]).expand(sizes) for place, part in enumerate(parts)
        ]
