"""Where the images of a batch are in a tensor of a network that is read at one image.

A `Place` is an axis and the number of elements of it that lie outside of the batch: ``(axis, outer)``. The batch is an
axis of its own if that axis has one element; otherwise it was folded into it, as in ``x.flatten(0, 1)``. Element
``(o * N + image) * inner + i`` of the axis belongs to ``image``, with ``o < outer``.

At batch 1 the shape alone does not always say where the batch went. `follow` returns None then, and a second run of
a torch model at batch 2 shows it (`cnnscope.sources.torch.batches`); an ONNX file may say it in its shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from cnnscope.ir.steps import Expand, Mix, Permute, Reshape, Shape, Spread, Step, Taps, Whole
from cnnscope.ir.steps import Place as Offset

Place = tuple[int, int]
GONE: Place = (-1, 0)
"""No image has an element of its own left: there was a sum over the batch, or attention between images."""

UNSAID = -1
"""A hint that there is none, though the call names all sizes: the model may need batch 1."""


def follow(place: Place, shape: Shape, steps: Sequence[Step], hint: int | None = None) -> tuple[Place | None, bool]:
    """Returns the place after ``steps`` from a tensor of ``shape``, and whether elements of several images met.

    ``hint`` is the axis of the result that has the batch, where the call that is recorded says so.
    """
    last = max((i for i, step in enumerate(steps) if isinstance(step, Reshape)), default=-1)
    for at, step in enumerate(steps):
        axis, outer = place
        match step:
            case Taps(axis=along, size=size):
                moved = _tapped(place, shape[axis], step) if along == axis else place
                if moved is None:
                    return None, False
                place, shape = moved, _resized(shape, along, size)
            case Mix(axis=along, out=out, groups=groups):
                if along == axis:
                    return (GONE, True) if groups == 1 or groups % max(outer, 1) else (place, False)
                shape = _resized(shape, along, out)
            case Whole(axes=axes, keep=keep):
                if axis in axes:
                    return GONE, True
                shape = tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)
                place = (axis if keep else axis - sum(i < axis for i in axes), outer)
            case Spread(axes=axes):
                if axis in axes:
                    return place, True
            case Reshape(shape=new):
                found = reshaped(place, shape, new, hint if at == last else None)
                if found is None:
                    return None, False
                place, shape = found, new
            case Permute(order=order):
                place, shape = (order.index(axis), outer), tuple(shape[i] for i in order)
            case Expand(shape=new):
                before, axis = shape[axis], axis + len(new) - len(shape)
                if new[axis] != before:
                    return None, False
                place, shape = (axis, outer), new
            case Offset(axis=along, size=size):
                if along == axis:
                    return None, False
                shape = _resized(shape, along, size)
    return place, False


def reshaped(place: Place, old: Shape, new: Shape, hint: int | None = None) -> Place | None:
    """Returns the place after a reshape; None if it may be one of several."""
    axis, outer = place
    before = prod(old[:axis]) * outer
    options = [(k, before // start) for k, n in enumerate(new) if _holds(start := prod(new[:k]), before, n)]
    if hint is not None:
        options = [option for option in options if option[0] == hint]
    own = [option for option in options if new[option[0]] == 1]
    if axis in (k for k, _ in own):  # an axis of its own stays where it is
        return axis, 1
    best = own or options
    return best[0] if len(best) == 1 else None


def _holds(start: int, before: int, n: int) -> bool:
    """Whether an axis of ``n``, with ``start`` elements before it, may have the batch behind ``before`` elements."""
    return start > 0 and before % start == 0 and 0 < before <= start * n and n % (before // start) == 0


def _tapped(place: Place, size: int, step: Taps) -> Place | None:
    """The place after windows along the axis of the batch: whole blocks of images are cut out, or each is repeated."""
    axis, outer = place
    inner = size // max(outer, 1)
    if size < 2:  # one image of the batch is taken out
        return None
    times = len(step.taps)
    if step.n == 1 and times > 1 and set(step.taps) == {(0,)} and inner == 1 and step.size == size * times:
        return axis, outer
    first = step.taps[0][0] if times == 1 and step.n == 1 and len(step.taps[0]) == 1 else -1
    if first < 0 or first + step.size > size or first % inner or step.size % inner:
        return None
    return axis, step.size // inner


def _resized(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])
