"""How each step of `cnnscope.ir.steps` changes the places of the image's axes inside a tensor, and their maps.

Everything about receptive fields that depends on shapes alone is decided here, once, for every engine: `follow` takes
a layout through a step and says, as actions, what becomes of the map of an image axis, and whether the path is local.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from cnnscope.analysis.receptive_field.digits import (
    Axis,
    Digit,
    Layout,
    digits_of,
    is_map,
    joined,
    leads,
    opaque,
    reshape,
    settled,
    take,
    uniform,
    without,
)
from cnnscope.analysis.receptive_field.quasi_affine import Phases
from cnnscope.ir import Shape
from cnnscope.ir.steps import Expand, Mix, Permute, Place, Reshape, Running, Spread, Step, Taps, Via, Whole


class Window(NamedTuple):
    """The map of ``image`` is read through taps, as in `QuasiAffine.windowed`."""

    image: int
    n: int
    taps: Phases


class Unclear(NamedTuple):
    """The map of ``image`` no longer has a closed form."""

    image: int


class Global(NamedTuple):
    """A whole image axis is read. ``own`` says that an element's own position is read too, and so stays local."""

    via: Via
    own: bool = False


class Elsewhere(NamedTuple):
    """Only positions of other tensors are left, so nothing is read."""


Action = Window | Unclear | Global | Elsewhere
Outcome = tuple[Layout, tuple[Action, ...]]


@lru_cache(maxsize=4096)
def follow(layout: Layout, step: Step) -> Outcome:
    """The layout after ``step``, and the step's actions on the maps of the image axes, in order."""
    match step:
        case Taps():
            return _taps(layout, step)
        case Mix():
            return _mix(layout, step)
        case Whole():
            return _whole(layout, step)
        case Running(axis, via):  # no theoretical field ends at a unit's own position: it is that of the last one
            after, actions = _whole(layout, Whole((axis,), via))
            return _put(after, axis, uniform(layout[axis].extent)), actions
        case Spread():
            return _spread(layout, step)
        case Reshape():
            result, unclear, repeats = reshape(layout, step.shape)
            repeated = (Window(image, 1, ((0,),) * times) for image, times in repeats)
            return result, (*map(Unclear, unclear), *repeated)
        case Permute():
            return settled(tuple(layout[axis] for axis in step.order)), ()
        case Expand():
            return _expand(layout, step.shape)
        case Place():
            return _place(layout, step)


def join(layouts: Sequence[Layout], local: Sequence[bool], shape: Shape) -> Outcome:
    """One layout for tensors of one shape that are read together.

    Image axes that the ``local`` layouts place differently become unclear; the others have no map.
    """
    if all(layout == layouts[0] for layout in layouts[1:]):
        return layouts[0], ()
    mapped = [layout for layout, kept in zip(layouts, local, strict=True) if kept]
    axes, unclear = [], set()
    for i, extent in enumerate(shape):
        candidates = {layout[i] for layout in mapped if layout[i].images}
        if len(candidates) > 1:
            unclear |= {image for axis in candidates for image in axis.images}
        candidates = candidates or {layout[i] for layout in layouts if layout[i].images}
        axes.append(_either(candidates, extent))
    result = tuple(axes)
    for image in {image for axis in result for image in axis.images}:
        if any(_moving(layout, image) != _moving(result, image) for layout in mapped):
            unclear.add(image)
    return result, tuple(map(Unclear, sorted(unclear)))


def _either(candidates: Collection[Axis], extent: int) -> Axis:
    """One axis for the axes of different tensors at the same place.

    A piece of one image axis keeps its significance.
    """
    if len(candidates) == 1:
        return next(iter(candidates))
    images = {image for axis in candidates for image in axis.images}
    if len(images) == 1 and all(len(axis.digits) == 1 for axis in candidates):
        return Axis((Digit(extent, tuple(images), max(axis.digits[0].weight for axis in candidates)),))
    return opaque(extent, images)


def _moving(layout: Layout, image: int) -> list[Digit]:
    return [digit for digit in digits_of(layout, image) if digit.moves]


def _put(layout: Layout, at: int, axis: Axis) -> Layout:
    return (*layout[:at], axis, *layout[at + 1 :])


# -- windows -----------------------------------------------------------------------------------------------------------


def _taps(layout: Layout, step: Taps) -> Outcome:
    axis = layout[step.axis]
    images = axis.images
    if not images:
        return (layout if axis.extent == step.size else _put(layout, step.axis, uniform(step.size))), ()
    if step.n == 1 and step.taps == ((0,),) and axis.extent == step.size:
        return layout, ()
    if axis.before or axis.after:
        return _taps_between_others(layout, step, axis)
    if _channels(layout, step.axis):
        return _united(layout, step.axis, step.size)
    digit = axis.digits[0]
    if len(axis.digits) > 1 or digit.weight == 0:
        return _put(layout, step.axis, opaque(step.size, images)), tuple(map(Unclear, images))
    w = digit.weight
    result = _put(layout, step.axis, Axis((digit._replace(extent=step.size),)))
    if step.sized or not leads(layout, digit):
        return result, (Unclear(images[0]),)
    taps = step.taps if w == 1 else tuple(tuple(t * w + low for t in tap) for tap in step.taps for low in range(w))
    return result, (Window(images[0], step.n * w, taps),)


def _taps_between_others(layout: Layout, step: Taps, axis: Axis) -> Outcome:
    """Windows along an axis that holds other tensors too: tokens after a class token, maps concatenated along an
    axis."""
    inner = Axis(axis.digits)
    if step.n == 1 and len(step.taps) == 1 and len(step.taps[0]) == 1:
        first = step.taps[0][0] - axis.before
        beyond = first + step.size - inner.extent
        if first >= inner.extent or first + step.size <= 0:
            return _put(layout, step.axis, uniform(step.size)), (Elsewhere(),)
        if first <= 0 and beyond >= 0:
            return _put(layout, step.axis, Axis(axis.digits, -first, beyond)), ()
    shifted = tuple(tuple(t - axis.before for t in tap) for tap in step.taps)
    return _taps(_put(layout, step.axis, inner), Taps(step.axis, step.size, step.n, shifted, sized=step.sized))


# -- reductions --------------------------------------------------------------------------------------------------------


def _reduced(layout: Layout, digits: Iterable[Digit], via: Via) -> tuple[Action, ...]:
    """The actions of reading all positions of these digits: windows, or the whole image if the leading digit is
    among them.

    A digit of weight w and extent e covers low + w * (0 .. e - 1) for each low in 0 .. w - 1, every w * e positions.
    """
    actions: list[Action] = []
    for digit in sorted((d for d in digits if d.moves), key=lambda d: -d.weight):
        if leads(layout, digit):
            return (Global(via),)
        w, turn = digit.weight, digit.weight * digit.extent
        if w == 0:
            actions += map(Unclear, digit.images)
        else:
            actions.append(Window(digit.images[0], turn, tuple(tuple(range(low, turn, w)) for low in range(w))))
    return tuple(actions)


def _mix(layout: Layout, step: Mix) -> Outcome:
    axis = layout[step.axis]
    if not axis.images:
        return (layout if axis.extent == step.out else _put(layout, step.axis, uniform(step.out))), ()
    shared = axis.before + axis.after > 0
    cut = take(axis.digits, step.groups) if step.groups == 1 or not shared else None
    if cut is None:
        return _put(layout, step.axis, opaque(step.out, axis.images)), tuple(map(Unclear, axis.images))
    kept, gone = cut
    mixed = Axis(joined((*kept, Digit(step.out // step.groups))) or (Digit(1),))
    return without(_put(layout, step.axis, mixed), gone), _reduced(layout, gone, step.via)


def _whole(layout: Layout, step: Whole) -> Outcome:
    gone = [digit for axis in step.axes for digit in layout[axis].digits]
    if step.keep:
        rest = tuple(uniform(1) if i in step.axes and axis.extent > 1 else axis for i, axis in enumerate(layout))
    else:
        rest = tuple(axis for i, axis in enumerate(layout) if i not in step.axes)
    return without(rest, gone), _reduced(layout, gone, step.via)


def _spread(layout: Layout, step: Spread) -> Outcome:
    actions: list[Action] = []
    for action in _reduced(layout, (digit for axis in step.axes for digit in layout[axis].digits), step.via):
        match action:
            case Global(via):
                return layout, (Global(via, own=True),)
            case Window(image, n, taps):  # the window is read, and every position in it gets the result
                low = len(taps)
                actions += [action, Window(image, low, tuple((o % low,) for o in range(n)))]
            case _:
                actions.append(action)
    return layout, tuple(actions)


# -- movement ----------------------------------------------------------------------------------------------------------


def _expand(layout: Layout, shape: Shape) -> Outcome:
    layout = (*(uniform(1) for _ in range(len(shape) - len(layout))), *layout)
    actions: list[Action] = []
    for i, (axis, n) in enumerate(zip(layout, shape, strict=True)):
        if axis.extent == n:
            continue
        images = axis.images
        layout = _put(layout, i, Axis((Digit(n, images),)) if len(images) == 1 else uniform(n))
        actions += [Window(image, 0, ((0,),)) for image in images]
    return layout, tuple(actions)


def _place(layout: Layout, step: Place) -> Outcome:
    axis = layout[step.axis]
    if not axis.images:
        return _put(layout, step.axis, uniform(step.size)), ()
    if _channels(layout, step.axis):
        return _united(layout, step.axis, step.size)
    after = axis.after + step.size - step.offset - axis.extent
    return _put(layout, step.axis, Axis(axis.digits, axis.before + step.offset, after)), ()


def _channels(layout: Layout, axis: int) -> bool:
    """Whether the digits here have become channels, as after space to depth."""
    return axis == 1 and is_map(layout) and not any(leads(layout, d) for d in layout[axis].digits if d.images)


def _united(layout: Layout, axis: int, size: int) -> Outcome:
    """Channels are no longer separated once some are selected or concatenated with others."""
    digits = layout[axis].digits
    return without(_put(layout, axis, uniform(size)), digits), _reduced(layout, digits, "dense")
