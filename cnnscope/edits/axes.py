"""Axes of tensors as linear forms of widths: which parts of an axis come from which layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import prod

from cnnscope.edits.carry import runs
from cnnscope.edits.forms import Form, constant, summed
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Shape
from cnnscope.ir.steps import Expand, Permute, Place, Reshape, Spread, Step, Taps, Whole


@dataclass(frozen=True, slots=True)
class Axis:
    """The segments of an axis, in order: the form of each, and the extent it had."""

    segments: tuple[tuple[Form, int], ...]

    @property
    def form(self) -> Form:
        return summed(form for form, _ in self.segments)

    @property
    def size(self) -> int:
        return sum(size for _, size in self.segments)

    @property
    def fixed(self) -> bool:
        """Whether no width changes it."""
        return not any(form.terms for form, _ in self.segments)

    def times(self, factor: Fraction | int) -> Axis:
        """Each segment ``factor`` times as long."""
        return Axis(tuple((form * factor, int(size * factor)) for form, size in self.segments))

    def share(self, size: int) -> Axis:
        """A single segment of ``size``, in proportion to the axis."""
        return Axis(((self.form * Fraction(size, self.size), size),))


Axes = tuple[Axis, ...]


def fixed(size: int) -> Axis:
    """An axis of that extent, whatever the widths."""
    return Axis(((constant(size), size),))


def still(shape: Shape) -> Axes:
    return tuple(map(fixed, shape))


def unknown(layer: str, why: str) -> CnnscopeError:
    """The error for a node through which widths cannot be followed."""
    return CnnscopeError.of("E492", f"widths cannot be followed through `{layer}`: {why}")


def merged(axes: Sequence[Axis], layer: str) -> Axis:
    """The axes as one, in row-major order."""
    live = [axis for axis in axes if not axis.fixed]
    if len(live) > 1:
        raise unknown(layer, "it multiplies two of them")
    if not live:
        return fixed(prod(axis.size for axis in axes))
    rest = prod(axis.size for axis in axes if axis is not live[0])
    outer = prod(axis.size for axis in axes[: axes.index(live[0])])
    return live[0].times(rest) if outer == 1 else live[0].share(live[0].size * rest)


def reshaped(axes: Axes, target: Shape, layer: str, *, count: bool) -> Axes:
    """The axes of a reshape. Of a split axis the largest factor takes the change; with ``count`` the smallest does,
    which is the number of attention heads (3 stands for query, key and value)."""
    result: list[Axis] = []
    for before, after in runs(tuple(axis.size for axis in axes), target):
        group, run = [axes[i] for i in before], [target[i] for i in after]
        if [axis.size for axis in group] == run:
            result += group
        elif all(axis.fixed for axis in group):
            result += still(tuple(run))
        else:
            result += _split(merged(group, layer), run, count)
    return tuple(result)


def _split(whole: Axis, run: Sequence[int], count: bool) -> list[Axis]:
    longer = [place for place, n in enumerate(run) if n != 1] or [len(run) - 1]
    takes = max(longer, key=lambda place: (run[place], place))
    if len(longer) == 1:
        return [whole if place == takes else fixed(n) for place, n in enumerate(run)]
    if count:
        takes = min((place for place in longer if run[place] != 3), key=lambda place: run[place], default=takes)
    return [whole.share(n) if place == takes else fixed(n) for place, n in enumerate(run)]


def stepped(step: Step, axes: Axes, layer: str, *, count: bool) -> Axes | None:
    """The axes behind one step; None where it picks elements by number, so that nothing before it may change."""
    match step:
        case Permute(order=order):
            return tuple(axes[i] for i in order)
        case Whole(axes=gone, keep=keep):
            ones = (fixed(1) if i in gone else axis for i, axis in enumerate(axes))
            return tuple(axis for i, axis in enumerate(ones) if keep or i not in gone)
        case Spread():
            return axes
        case Expand(shape=shape):
            lead = len(shape) - len(axes)
            kept = (axis if axis.size == n else fixed(n) for axis, n in zip(axes, shape[lead:], strict=True))
            return (*still(shape[:lead]), *kept)
        case Reshape(shape=shape):
            return reshaped(axes, shape, layer, count=count)
        case Place(axis=place, size=size) if axes[place].fixed:
            return (*axes[:place], fixed(size), *axes[place + 1 :])
        case Taps(axis=place, size=size):
            whole = axes[place]
            part = fixed(size) if whole.fixed else _picked(step, whole)
            return None if part is None else (*axes[:place], part, *axes[place + 1 :])
    return None


def _picked(step: Taps, whole: Axis) -> Axis | None:
    """The part of an axis that a slice takes: whole segments, else in proportion; more than all of it is padding."""
    if step.n != 1 or len(step.taps) != 1 or len(step.taps[0]) != 1:
        return None
    low = step.taps[0][0]
    high = low + step.size
    ends = list(accumulate((size for _, size in whole.segments), initial=0))
    if low in ends and high in ends:
        return Axis(whole.segments[ends.index(low) : ends.index(high)])
    if low >= 0 and high <= whole.size:
        even = whole.size % step.size == 0 and low % step.size == 0
        return whole.share(step.size) if even and len(whole.segments) == 1 else None
    if low <= 0 and high >= whole.size and step.border == "drop":
        front, back = fixed(-low).segments, fixed(high - whole.size).segments
        return Axis((*front, *whole.segments, *back))
    return None


def start_of(low: int, whole: Axis) -> Form:
    """Where a slice that started at ``low`` starts now."""
    at, form = 0, Form()
    for part, size in whole.segments:
        if at + size > low:
            return form + part * Fraction(low - at, size)
        at, form = at + size, form + part
    return form
