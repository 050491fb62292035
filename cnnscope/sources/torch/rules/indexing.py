"""Rules for indices and for windows as tensors: index, gather, repeat_interleave, unfold, fold."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from cnnscope.ir.steps import Mix, Permute, Reshape, Step, Taps
from cnnscope.ops.generic import Gather, Movement
from cnnscope.sources.torch.rules import Tracer, instead, records, tensors
from cnnscope.sources.torch.rules.movement import move

# -- indices -----------------------------------------------------------------------------------------------------------


@records("repeat_interleave", carries=("output_size",))
def repeat_interleave(
    trace: Tracer, out: Tensor, x: Tensor, times: Any, axis: int | None = None, **kwargs: Any
) -> None:
    if not isinstance(times, int):
        trace.emit(Gather(tuple(out.shape), fn="repeat_interleave"), [x], out)
        return
    flat: tuple[Step, ...] = (Reshape((x.numel(),)),) if axis is None else ()
    taps = Taps(0 if axis is None else axis % x.dim(), out.shape[axis or 0], 1, ((0,),) * times)
    move(trace, out, "repeat", x, (*flat, taps))


@records("index_select", carries=("index",))
def index_select(trace: Tracer, out: Tensor, x: Tensor, axis: int, index: Tensor) -> None:
    if x.dim() == 0:  # its only element
        move(trace, out, "index", x, ())
        return
    _taken(trace, out, x, axis % x.dim(), index, index)


@instead("index", "_unsafe_index", carries=("indices",))
def index(trace: Tracer, func: Any, x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
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
        lost = () if all(map(trace.tracked, given)) else ("indices",)
        trace.emit(Gather(tuple(out.shape), fn="index"), inputs, out, fn="index", keys=_numbered(keys), lost=lost)
    return out


def _is_mask(t: Tensor) -> bool:
    return t.dtype in (torch.bool, torch.uint8)


def _taken(trace: Tracer, out: Tensor, x: Tensor, axis: int, index: Tensor, source: Tensor) -> None:
    """Records elements at given places along an axis. Places that were computed are unknown; for a table they do not
    matter.
    """
    if trace.tracked(source) or not trace.tracked(x) or trace.key(x):
        keys = () if trace.tracked(source) else trace.constant_keys(source)
        op, inputs = Gather(tuple(out.shape), fn="index"), [t for t in (x, source) if trace.tracked(t)]
        trace.emit(op, inputs, out, fn="index", keys=_numbered(keys))
        return
    size, count = x.shape[axis], out.shape[axis]
    if index.is_meta:  # torch itself made it from a list: it may be any place
        step: Step = Mix(axis, count)
    else:
        step = Taps(axis, count, size, tuple((i % size,) for i in index.tolist()))
    lost = ("index",) if trace.is_drawn(source) else ()
    trace.emit(Movement("index", (step,)), [x], out, fn="index", keys=_numbered(trace.constant_keys(source)), lost=lost)


def _numbered(keys: Sequence[str]) -> dict[str, str]:
    return {f"index{i}": key for i, key in enumerate(keys)}


@records(
    "gather", "take_along_dim", "take", "index_put", "index_add", "index_copy", "index_fill", "scatter", "scatter_add",
    "scatter_reduce", "masked_scatter", "topk", "kthvalue", "diagonal", "diag_embed", "searchsorted",
    "max_unpool2d", "max_unpool3d", "masked_select", "nonzero", "nonzero_static", "unique_consecutive", "_unique2",
    "unique_dim", "multinomial", "as_strided", "put", "index_reduce", "bucketize", "isin", "block_diag", "trace",
    "bincount", "_unsafe_masked_index", "_unsafe_masked_index_put_accumulate",
)  # fmt: skip
def gather(trace: Tracer, out: Any, *args: Any, **kwargs: Any) -> None:
    inputs = [t for t in tensors(args, kwargs) if trace.tracked(t)]
    for result in tensors((out,), {}):
        trace.emit(Gather(tuple(result.shape), fn="gather"), inputs, result, fn="gather")


@records("one_hot")
def one_hot(trace: Tracer, out: Tensor, x: Tensor, count: int = -1) -> None:
    place = trace.batch(x)
    trace.emit(Gather(tuple(out.shape), fn="one_hot"), [x], out, fn="one_hot", batch=place[0] if place else None)


# -- windows -----------------------------------------------------------------------------------------------------------


@records("unfold")
def unfold(trace: Tracer, out: Tensor, x: Tensor, axis: int, size: int, step: int) -> None:
    """Records windows along an axis, with their elements as a new last axis."""
    axis %= x.dim()
    count = out.shape[axis]
    taps = Taps(axis, count * size, step, tuple((j,) for j in range(size)))
    split = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    order = (*(i for i in range(len(split)) if i != axis + 1), axis + 1)
    move(trace, out, "unfold", x, (taps, Reshape(split), Permute(order)))


@records("im2col")
def im2col(
    trace: Tracer, out: Tensor, x: Tensor, kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int],
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
    trace: Tracer, out: Tensor, x: Tensor, size: Sequence[int], kernel: Sequence[int], dilation: Sequence[int],
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
    """Returns the elements, window by window, that are added to position ``o`` of the first windows."""
    hits = ((o + pad - dilation * j, j) for j in range(kernel))
    return tuple(z // stride * kernel + j for z, j in hits if z % stride == 0)
