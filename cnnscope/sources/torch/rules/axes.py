"""Rules that move elements along an axis: parts, parts replaced, order, tensors joined or stretched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cnnscope.ir.steps import Permute, Reshape, Step, Taps
from cnnscope.ops import merge
from cnnscope.ops.generic import Join, View
from cnnscope.sources.torch.rules import Tracer, instead, records
from cnnscope.sources.torch.rules.movement import move

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


# -- several tensors ---------------------------------------------------------------------------------------------------


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
