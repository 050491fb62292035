"""Receptive fields of every unit of a layer, small enough to embed.

In nearly all networks the field is a box whose sides depend on one position axis each, so two short lists per image
axis describe all units. What is embedded is decoded again and compared with the engine before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import prod
from typing import Any

from cnnscope.analysis.receptive_field import Field
from cnnscope.analysis.receptive_field.exact import Exact
from cnnscope.ir import Shape

Box = tuple[tuple[int, int], ...]
Series = tuple[int, ...]
"""A list of integers as ``(period, first, step, times, step, times, ...)``, repeated for ever."""
Side = tuple[int | None, int, int]
"""One image axis: the position axis it depends on (None: the position counted through), its first and last pixels."""
Bounds = tuple[Side, ...]
Listed = tuple[int | None, list[int], list[int]]
"""One image axis: the position axis, and the first and the last pixel of every unit along it."""

EMPTY = (0, -1)
"""Stands for the first and the last pixel of a unit that reads nothing."""
MOST_POSITIONS = 65_536
"""At most this many positions are embedded one by one, where the sides of a box depend on several axes."""
MOST_NUMBERS = 4_000
"""Longer series are not embedded."""


@dataclass
class Shelf:
    """Series by number: layers of equal geometry share theirs."""

    places: dict[Series, int] = field(default_factory=dict)

    def put(self, values: Sequence[int]) -> int | None:
        """The number of the series, or None where it is too long to embed."""
        series = packed(values)
        return None if len(series) > MOST_NUMBERS else self.places.setdefault(series, len(self.places))


def packed(values: Sequence[int]) -> Series:
    """The shortest period, and the steps inside it by run length."""
    period = _period(values)
    runs: list[list[int]] = []
    for before, after in pairwise(values[:period]):
        if runs and runs[-1][0] == after - before:
            runs[-1][1] += 1
        else:
            runs.append([after - before, 1])
    return (period, values[0], *(number for run in runs for number in run))


def unpacked(series: Series) -> list[int]:
    """One period of a series."""
    values = [series[1]]
    for step, times in zip(series[2::2], series[3::2], strict=True):
        values += [values[-1] + step * i for i in range(1, times + 1)]
    return values


def _period(values: Sequence[int]) -> int:
    """The shortest that divides the length."""
    n = len(values)
    return next(p for p in range(1, n + 1) if n % p == 0 and values[p:] == values[: n - p])


def exact_bounds(answers: Exact, layer: str, shelf: Shelf, *, local: bool) -> Bounds | None:
    """The exact fields of all units of ``layer``; None where there are none, or they are too many to embed."""
    import numpy as np

    units = answers.units[answers.names[layer]]
    found = units and (units.local if local else units.full)
    if not units or not found:
        return None
    varying = [[axis for axis, n in enumerate(bounds.shape[1:]) if n > 1] for bounds in found]
    if all(len(axes) <= 1 for axes in varying):
        lines = [(axes[0] if axes else 0, b[0].ravel(), -b[1].ravel()) for axes, b in zip(varying, found, strict=True)]
        if any((low > high).all() for _, low, high in lines):
            return None
        return _shelved(
            ((axis, np.where(low > high, EMPTY[0], low).tolist(), np.where(low > high, EMPTY[1], high).tolist())
             for axis, low, high in lines), shelf,
        )  # fmt: skip
    return _entangled(found, units.extents, shelf)


def _entangled(found: Sequence[Any], shape: Shape, shelf: Shelf) -> Bounds | None:
    """Bounds that vary along several axes: along one each where unread positions allow it, else one by one."""
    import numpy as np

    firsts = [np.broadcast_to(bounds[0], shape) for bounds in found]
    lasts = [np.broadcast_to(-bounds[1], shape) for bounds in found]
    reads = np.logical_and.reduce([first <= last for first, last in zip(firsts, lasts, strict=True)])
    if not reads.any():
        return None
    sides, empty = [], np.zeros(shape, dtype=bool)
    for image, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        for axis in _likely(image, len(shape)):
            line = tuple(i for i in range(len(shape)) if i != axis)
            low = np.where(reads, first, 2**30).min(line, keepdims=True)
            high = np.where(reads, last, -1).max(line, keepdims=True)
            if (((low == first) & (high == last)) | ~reads).all():
                break
        else:
            return _one_by_one(firsts, lasts, reads, shelf)
        unread = ~reads.any(line, keepdims=True)
        empty |= unread
        sides.append((axis, np.where(unread, EMPTY[0], low).ravel(), np.where(unread, EMPTY[1], high).ravel()))
    if (empty == reads).any():
        return _one_by_one(firsts, lasts, reads, shelf)
    return _shelved(((axis, low.tolist(), high.tolist()) for axis, low, high in sides), shelf)


def _one_by_one(firsts: Sequence[Any], lasts: Sequence[Any], reads: Any, shelf: Shelf) -> Bounds | None:
    import numpy as np

    if reads.size > MOST_POSITIONS:
        return None
    sides = zip(firsts, lasts, strict=True)
    return _shelved(
        ((None, np.where(reads, first, EMPTY[0]).ravel().tolist(), np.where(reads, last, EMPTY[1]).ravel().tolist())
         for first, last in sides), shelf,
    )  # fmt: skip


def theoretical_bounds(layer: Field, extents: Shape, shelf: Shelf) -> Bounds | None:
    """The theoretical fields of all units, padding counted; None where there are none, or they are too many."""
    if not layer.maps or layer.position_dependent:
        return None
    sides = _by_axis(layer, extents)
    if sides is None and prod(extents) <= MOST_POSITIONS:
        sides = _by_position(layer, extents)
    return None if sides is None else _shelved(sides, shelf)


def _by_axis(layer: Field, extents: Shape) -> list[Listed] | None:
    """The sides along one position axis each, checked in every corner; None where one depends on several axes."""
    lines = [[_line(layer, extents, axis, end) for end in range(min(len(extents), 2))] for axis in range(len(extents))]
    sides = [_own_axis(lines, image) for image in range(len(layer.maps))]
    known = [side for side in sides if side is not None]
    corners = product(*({0, 1 % n, n // 2, n - 1} for n in extents))
    right = len(known) == len(sides) and all(_at(known, corner, extents) == layer.box(corner) for corner in corners)
    return known if right else None


def _own_axis(lines: Sequence[Sequence[Sequence[Box | None]]], image: int) -> Listed | None:
    """One image axis along the position axis that it depends on alone, which is most likely the one of its number."""
    for axis in _likely(image, len(lines)):
        first, *others = ([box[image] if box else EMPTY for box in line] for line in lines[axis])
        if all(other == first for other in others):
            return _listed(axis, first)
    return None


def _by_position(layer: Field, extents: Shape) -> list[Listed] | None:
    """The sides of all units, one after the other; None where no unit reads anything."""
    boxes = [layer.box(at) for at in product(*map(range, extents))]
    if not any(boxes):
        return None
    return [_listed(None, [box[image] if box else EMPTY for box in boxes]) for image in range(len(layer.maps))]


def _listed(axis: int | None, ends: Sequence[tuple[int, int]]) -> Listed:
    return axis, [low for low, _ in ends], [high for _, high in ends]


def _likely(image: int, rank: int) -> list[int]:
    """All position axes, the one of this number first."""
    return sorted(range(rank), key=lambda axis: axis != image)


def _line(layer: Field, extents: Shape, axis: int, end: int) -> list[Box | None]:
    """The fields along one position axis, the other positions all at the start or all at the end."""
    at = [n - 1 if end else 0 for n in extents]
    return [layer.box([*at[:axis], i, *at[axis + 1 :]]) for i in range(extents[axis])]


def _shelved(sides: Iterable[Listed], shelf: Shelf) -> Bounds | None:
    bounds = []
    for axis, low, high in sides:
        first, last = shelf.put(low), shelf.put(high)
        if first is None or last is None:
            return None
        bounds.append((axis, first, last))
    return tuple(bounds) or None


def _at(sides: Sequence[Listed], at: Sequence[int], extents: Shape) -> Box | None:
    place = sum(i * prod(extents[k + 1 :]) for k, i in enumerate(at))
    box = tuple((low[i], high[i]) for axis, low, high in sides for i in [place if axis is None else at[axis]])
    return None if any(low > high for low, high in box) else box


def grid_of(layer: Field, extents: Shape) -> tuple[int, int, int] | None:
    """The grid of tokens on the image as (rows, columns, index of the first token on it); None where there is none."""
    if len(extents) != 1 or len(layer.axes) != 1 or not layer.layout:
        return None
    axis = layer.layout[layer.axes[0]]
    moving = [digit for digit in axis.digits if digit.extent > 1]
    if axis.extent != extents[0] or [digit.images for digit in moving] != [(0,), (1,)]:
        return None
    return moving[0].extent, moving[1].extent, axis.before
