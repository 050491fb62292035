"""Reshapes: the digits of neighbouring axes strung together in row-major order and cut anew."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from cnnscope.analysis.receptive_field.digits import (
    Axis,
    Digit,
    Digits,
    Layout,
    joined,
    opaque,
    shape_of,
    take,
    uniform,
)
from cnnscope.analysis.receptive_field.quasi_affine import PERIOD_LIMIT
from cnnscope.ir import Shape

Repeats = tuple[int, int]


def reshape(layout: Layout, shape: Shape) -> tuple[Layout, tuple[int, ...], tuple[Repeats, ...]]:
    """The layout under another shape, the image axes that can no longer be followed, and those whose positions are
    now repeated (image axis, times), in this order."""
    ones, groups = aligned(shape_of(layout), shape)
    axes = [uniform(n) for n in shape]
    for old, new in ones:
        axes[new] = layout[old]
    unclear: set[int] = set()
    for olds, news in groups:
        parts = [layout[i] for i in olds]
        images = {image for axis in parts for image in axis.images}
        if len(olds) == len(news) == 1:
            axes[news[0]] = parts[0]
        elif images:
            cut = _cut(parts, [shape[i] for i in news])
            if cut is None:
                unclear |= images
            for k, i in enumerate(news):
                axes[i] = opaque(shape[i], images) if cut is None else Axis(cut[k])
    result, repeats = tuple(axes), []
    for i in range(len(result)):
        result, repeat = _absorbed(result, i)
        repeats += repeat
    return result, tuple(sorted(unclear)), tuple(repeats)


def aligned(old: Shape, new: Shape) -> tuple[list[Repeats], list[tuple[list[int], list[int]]]]:
    """Pairs of axes of size 1 that stay in place, and the smallest groups of other axes with equal products."""
    before, after = _ones(old), _ones(new)
    ones = [
        pair
        for at, places in before.items()
        if len(places) == len(after.get(at, ()))
        for pair in zip(places, after[at], strict=True)
    ]
    left, right = ([i for i, n in enumerate(shape) if n > 1] for shape in (old, new))
    groups = []
    while left:
        olds, news = [left.pop(0)], [right.pop(0)]
        while (a := prod(old[i] for i in olds)) != (b := prod(new[i] for i in news)):
            if a < b:
                olds.append(left.pop(0))
            else:
                news.append(right.pop(0))
        groups.append((olds, news))
    return ones, groups


def _ones(shape: Shape) -> dict[int, list[int]]:
    """Axes of size 1 by the number of elements in front of them."""
    places: dict[int, list[int]] = {}
    for i, n in enumerate(shape):
        if n == 1:
            places.setdefault(prod(shape[:i]), []).append(i)
    return places


def _cut(parts: Iterable[Axis], sizes: Iterable[int]) -> list[Digits] | None:
    if any(axis.before or axis.after for axis in parts):
        return None
    rest, result = joined(digit for axis in parts for digit in axis.digits), []
    for size in sizes:
        cut = take(rest, size)
        if cut is None:
            return None
        digits, rest = cut
        result.append(joined(digits))
    return result


def _absorbed(layout: Layout, at: int) -> tuple[Layout, list[Repeats]]:
    """An image axis with a uniform one behind it counts on as one axis, each of its positions repeated."""
    axis = layout[at]
    if len(axis.digits) != 2 or axis.before or axis.after:
        return layout, []
    (extent, images, weight), behind = axis.digits
    if behind.images or len(images) != 1 or weight != 1 or behind.extent > PERIOD_LIMIT:
        return layout, []

    def spaced(digit: Digit) -> Digit:
        return digit._replace(weight=digit.weight * behind.extent) if digit.images == images else digit

    spread = tuple(axis._replace(digits=tuple(map(spaced, axis.digits))) for axis in layout)
    one = Axis((Digit(extent * behind.extent, images),))
    return (*spread[:at], one, *spread[at + 1 :]), [(images[0], behind.extent)]
