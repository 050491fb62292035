"""Rules for moving elements about: reshape, permute, slice, expand, roll, concatenate, index, fold."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnscope.ir.reads import Expand, Mix, Permute, Reshape, Step, Taps
from cnnscope.ops import merge
from cnnscope.ops.generic import Gather, Join, Movement, View
from cnnscope.ops.movement import Flatten
from cnnscope.sources.torch_lowering import instead, records, tensors
from cnnscope.sources.torch_recording import dtype_name

if TYPE_CHECKING:
    from cnnscope.sources.torch_trace import Trace


def move(trace: Trace, out: Tensor, kind: str, x: Tensor, steps: tuple[Step, ...]) -> None:
    """Records a rearrangement: a view where the result shares its memory."""
    if out is x:
        return
    dtype = dtype_name(out) if out.dtype != x.dtype else None
    op = View if trace.shares_memory(out, x) else Movement
    trace.emit(op(kind, steps, dtype), [x], out, fn=kind)


def window(axis: int, picked: range) -> Taps:
    """Every element of ``picked`` along an axis."""
    return Taps(axis, len(picked), picked.step, ((picked.start,),))


# -- shape -------------------------------------------------------------------------------------------------------------


def _reshape(kind: str) -> Any:
    def rule(trace: Trace, out: Tensor, x: Tensor, *rest: Any, **kwargs: Any) -> None:
        move(trace, out, kind, x, (Reshape(tuple(out.shape)),))

    return rule


for _name in ("view", "reshape", "unsqueeze", "squeeze", "unflatten", "view_as", "reshape_as", "ravel", "_unsafe_view"):
    records(_name)(_reshape(_name.removeprefix("_unsafe_").removesuffix("_as")))


@records("flatten")
def flatten(trace: Trace, out: Tensor, x: Tensor, start: int = 0, end: int = -1) -> None:
    whole = (start, end % x.dim()) == (1, x.dim() - 1)
    if whole and trace.value(x).batch_axis == 0 and trace.shares_memory(out, x):
        trace.emit(Flatten(), [x], out)
    else:
        move(trace, out, "flatten", x, (Reshape(tuple(out.shape)),))


def _permuted(trace: Trace, out: Tensor, kind: str, x: Tensor, order: Sequence[int]) -> None:
    move(trace, out, kind, x, (Permute(tuple(axis % x.dim() for axis in order)),))


@records("permute")
def permute(trace: Trace, out: Tensor, x: Tensor, order: Sequence[int]) -> None:
    _permuted(trace, out, "permute", x, order)


@records("transpose", "swapaxes", "swapdims")
def transpose(trace: Trace, out: Tensor, x: Tensor, a: int, b: int) -> None:
    order = list(range(x.dim()))
    order[a], order[b] = order[b], order[a]
    _permuted(trace, out, "transpose", x, order)


@records("t", "numpy_T", "mT", "mH", "matrix_H", "adjoint")
def transposed(trace: Trace, out: Tensor, x: Tensor) -> None:
    order = list(range(x.dim()))
    _permuted(trace, out, "transpose", x, [*order[:-2], *order[:-3:-1]])


@records("movedim", "moveaxis")
def movedim(trace: Trace, out: Tensor, x: Tensor, source: Any, destination: Any) -> None:
    ones = ([source], [destination]) if isinstance(source, int) else (source, destination)
    places = {d % x.dim(): s % x.dim() for s, d in zip(*ones, strict=True)}
    rest = iter(axis for axis in range(x.dim()) if axis not in places.values())
    _permuted(trace, out, "permute", x, [places[i] if i in places else next(rest) for i in range(x.dim())])


@records("expand", "expand_as", "broadcast_to")
def expand(trace: Trace, out: Tensor, x: Tensor, *rest: Any, **kwargs: Any) -> None:
    move(trace, out, "expand", x, (Expand(tuple(out.shape)),) if out.shape != x.shape else ())


@records("repeat", "tile")
def repeat(trace: Trace, out: Tensor, x: Tensor, times: Sequence[int]) -> None:
    shape = (1,) * (out.dim() - x.dim()) + tuple(x.shape)
    split = tuple(n for size in shape for n in (1, size))
    wide = tuple(n for size, whole in zip(shape, out.shape, strict=True) for n in (whole // max(size, 1), size))
    move(trace, out, "repeat", x, (Reshape(split), Expand(wide), Reshape(tuple(out.shape))))


# -- copies ------------------------------------------------------------------------------------------------------------


@records("alias", "detach", "lift", "lift_fresh", "resolve_conj", "resolve_neg")
def alias(trace: Trace, out: Tensor, x: Tensor) -> None:
    trace.same(out, x)


@records("clone", "contiguous", "to", "_to_copy", "type_as", "float", "half", "cpu", "cuda")
def clone(trace: Trace, out: Tensor, x: Tensor, *rest: Any, **kwargs: Any) -> None:
    if out is x or trace.shares_memory(out, x):
        trace.same(out, x)
    else:
        move(trace, out, "to" if out.dtype != x.dtype else "clone", x, ())


# -- parts -------------------------------------------------------------------------------------------------------------


@records("slice")
def slice_(
    trace: Trace, out: Tensor, x: Tensor, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> None:
    _part(trace, out, "slice", x, axis, range(x.shape[axis])[start:end:step])


@records("narrow")
def narrow(trace: Trace, out: Tensor, x: Tensor, axis: int, start: int, length: int) -> None:
    _part(trace, out, "slice", x, axis, range(start, start + length))


@records("select")
def select(trace: Trace, out: Tensor, x: Tensor, axis: int, index: int) -> None:
    axis %= x.dim()
    picked = window(axis, range(index % x.shape[axis], index % x.shape[axis] + 1))
    move(trace, out, "select", x, (picked, Reshape(tuple(out.shape))))


@records(
    "split", "split_with_sizes", "chunk", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "tensor_split"
)
def split(trace: Trace, out: Sequence[Tensor], x: Tensor, sizes: Any, axis: int = 0) -> None:
    first = 0
    for part in out:
        _part(trace, part, "slice", x, axis, range(first, first + part.shape[axis]))
        first += part.shape[axis]


@records("unbind")
def unbind(trace: Trace, out: Sequence[Tensor], x: Tensor, axis: int = 0) -> None:
    for index, part in enumerate(out):
        select(trace, part, x, axis, index)


def _part(trace: Trace, out: Tensor, kind: str, x: Tensor, axis: int, picked: range) -> None:
    everything = len(picked) == x.shape[axis] and picked.step == 1
    if everything and trace.shares_memory(out, x):
        trace.same(out, x)
    else:
        move(trace, out, kind, x, (window(axis % x.dim(), picked),))


# -- order -------------------------------------------------------------------------------------------------------------


@records("roll")
def roll(trace: Trace, out: Tensor, x: Tensor, shifts: Any, axes: Any = ()) -> None:
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    along = [axes] if isinstance(axes, int) else [axis % x.dim() for axis in axes]
    if along:
        steps: list[Step] = [Taps(a, x.shape[a], 1, ((-n,),), "wrap") for n, a in zip(moves, along, strict=True)]
    else:
        flat = Taps(0, x.numel(), 1, ((-moves[0],),), "wrap")
        steps = [Reshape((x.numel(),)), flat, Reshape(tuple(x.shape))]
    move(trace, out, "roll", x, tuple(steps))


@records("flip", "fliplr", "flipud")
def flip(trace: Trace, out: Tensor, x: Tensor, axes: Sequence[int]) -> None:
    steps = (Taps(axis % x.dim(), x.shape[axis], -1, ((x.shape[axis] - 1,),)) for axis in axes)
    move(trace, out, "flip", x, tuple(steps))


@records("cat", "concat", "concatenate")
def concatenate(trace: Trace, out: Tensor, parts: Sequence[Tensor], axis: int = 0) -> None:
    axis %= out.dim()
    parts = [t for t in parts if t.dim() == out.dim()]  # torch skips empty tensors of one axis
    alike = {(trace.value(t).kind, trace.value(t).batch_axis) for t in parts}
    op = merge.Concat(axis) if len(alike) == 1 and trace.value(parts[0]).batch_axis != axis else Join(axis)
    trace.emit(op, parts, out, fn="concat")


@records("stack")
def stack(trace: Trace, out: Tensor, parts: Sequence[Tensor], axis: int = 0) -> None:
    axis %= out.dim()
    rows = [t.unsqueeze(axis) for t in parts]
    for row, part in zip(rows, parts, strict=True):
        trace.emit(View("unsqueeze", (Reshape(tuple(row.shape)),)), [part], row)
    trace.emit(Join(axis), rows, out, fn="stack")


# -- indices -----------------------------------------------------------------------------------------------------------


@records("repeat_interleave")
def repeat_interleave(trace: Trace, out: Tensor, x: Tensor, times: Any, axis: int | None = None, **kwargs: Any) -> None:
    if not isinstance(times, int):
        trace.emit(Gather(tuple(out.shape), fn="repeat_interleave"), [x], out)
        return
    flat: tuple[Step, ...] = (Reshape((x.numel(),)),) if axis is None else ()
    taps = Taps(0 if axis is None else axis % x.dim(), out.shape[axis or 0], 1, ((0,),) * times)
    move(trace, out, "repeat", x, (*flat, taps))


@records("index_select")
def index_select(trace: Trace, out: Tensor, x: Tensor, axis: int, index: Tensor) -> None:
    _taken(trace, out, x, axis % x.dim(), index, index)


@instead("index", "_unsafe_index")
def index(trace: Trace, func: Any, x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    given = [t for t in indices if t is not None]
    places = [axis for axis, t in enumerate(indices) if t is not None]
    if any(_is_mask(t) and t.is_meta for t in given):
        raise trace.depends_on_data("index")
    unmasked = [i for t in indices for i in (t.nonzero(as_tuple=True) if t is not None and _is_mask(t) else (t,))]
    out: Tensor = trace.run(func, (x, unmasked), {})
    only = unmasked[places[0]]
    if len(unmasked) == len(indices) and len(given) == 1 and only is not None and only.dim() == 1:
        _taken(trace, out, x, places[0], only, given[0])
    else:
        keys = [key for t in given if not trace.tracked(t) for key in trace.constant_keys(t)]
        inputs = [t for t in (x, *given) if trace.tracked(t)]
        trace.emit(Gather(tuple(out.shape), fn="index"), inputs, out, fn="index", keys=_numbered(keys))
    return out


def _is_mask(t: Tensor) -> bool:
    return t.dtype in (torch.bool, torch.uint8)


def _taken(trace: Trace, out: Tensor, x: Tensor, axis: int, index: Tensor, source: Tensor) -> None:
    """Elements at given places along an axis. Which ones is unknown of computed places, and of no use in a table."""
    if trace.tracked(source) or not trace.tracked(x) or trace.key(x):
        keys = () if trace.tracked(source) else trace.constant_keys(source)
        op, inputs = Gather(tuple(out.shape), fn="index"), [t for t in (x, source) if trace.tracked(t)]
        trace.emit(op, inputs, out, fn="index", keys=_numbered(keys))
        return
    size, count = x.shape[axis], out.shape[axis]
    if index.is_meta:  # a list that torch made a tensor of itself: it may be any place
        step: Step = Mix(axis, count)
    else:
        step = Taps(axis, count, size, tuple((i % size,) for i in index.tolist()))
    trace.emit(Movement("index", (step,)), [x], out, fn="index", keys=_numbered(trace.constant_keys(source)))


def _numbered(keys: Sequence[str]) -> dict[str, str]:
    return {f"index{i}": key for i, key in enumerate(keys)}


@records(
    "gather", "take_along_dim", "take", "index_put", "index_add", "index_copy", "index_fill", "scatter", "scatter_add",
    "scatter_reduce", "masked_scatter", "topk", "kthvalue", "diagonal", "diag_embed", "one_hot", "searchsorted",
)  # fmt: skip
def gather(trace: Trace, out: Any, *args: Any, **kwargs: Any) -> None:
    inputs = [t for t in tensors(args, kwargs) if trace.tracked(t)]
    for result in tensors((out,), {}):
        trace.emit(Gather(tuple(result.shape), fn="gather"), inputs, result, fn="gather")


# -- windows -----------------------------------------------------------------------------------------------------------


@records("unfold")
def unfold(trace: Trace, out: Tensor, x: Tensor, axis: int, size: int, step: int) -> None:
    """Windows along an axis, their elements as a new last axis."""
    axis %= x.dim()
    count = out.shape[axis]
    taps = Taps(axis, count * size, step, tuple((j,) for j in range(size)))
    split = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    order = (*(i for i in range(len(split)) if i != axis + 1), axis + 1)
    move(trace, out, "unfold", x, (taps, Reshape(split), Permute(order)))


@records("im2col")
def im2col(
    trace: Trace, out: Tensor, x: Tensor, kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int],
    stride: Sequence[int],
) -> None:  # fmt: skip
    n, c, *size = (1, *x.shape) if x.dim() == 3 else x.shape
    windows = [(m + 2 * p - d * (k - 1) - 1) // s + 1
               for m, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)]  # fmt: skip
    taps: list[Step] = [
        Taps(axis, m * k, s, tuple((d * j - p,) for j in range(k)))
        for axis, (m, k, d, p, s) in enumerate(zip(windows, kernel, dilation, padding, stride, strict=True), start=2)
    ]
    split = (n, c, windows[0], kernel[0], windows[1], kernel[1])
    steps = (Reshape((n, c, *size)), *taps, Reshape(split), Permute((0, 1, 3, 5, 2, 4)), Reshape(tuple(out.shape)))
    move(trace, out, "unfold", x, steps)


@records("col2im")
def col2im(
    trace: Trace, out: Tensor, x: Tensor, size: Sequence[int], kernel: Sequence[int], dilation: Sequence[int],
    padding: Sequence[int], stride: Sequence[int],
) -> None:  # fmt: skip
    windows = [(m + 2 * p - d * (k - 1) - 1) // s + 1
               for m, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)]  # fmt: skip
    channels = x.numel() // prod(kernel) // prod(windows)
    split = (1, channels, *kernel, *windows)
    joined = (1, channels, windows[0] * kernel[0], windows[1] * kernel[1])
    taps: list[Step] = [
        Taps(axis, m, k, tuple(_stamped(o, k, d, p, s) for o in range(s)))
        for axis, (m, k, d, p, s) in enumerate(zip(size, kernel, dilation, padding, stride, strict=True), start=2)
    ]
    steps = (Reshape(split), Permute((0, 1, 4, 2, 5, 3)), Reshape(joined), *taps, Reshape(tuple(out.shape)))
    trace.emit(Movement("fold", steps), [x], out, fn="fold")


def _stamped(o: int, kernel: int, dilation: int, pad: int, stride: int) -> tuple[int, ...]:
    """The elements, window by window, that land on position ``o`` of the first windows."""
    hits = ((o + pad - dilation * j, j) for j in range(kernel))
    return tuple(z // stride * kernel + j for z, j in hits if z % stride == 0)
