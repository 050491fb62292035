"""Pieces of image axes inside tensor axes, and what a reshape does to them.

An image axis of extent n enters as one tensor axis. A reshape may cut it (H into H/7 and 7: window attention), merge
it with others (H and W into tokens) or put it beside a uniform axis (pixel shuffle). Each piece is a digit: the
position along an image axis is the sum of digit * weight over its digits, a mixed-radix number. A reshape strings the
digits of neighbouring axes together in row-major order and cuts them anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import NamedTuple

from cnnscope.analysis.receptive_field.quasi_affine import PERIOD_LIMIT
from cnnscope.ir import Shape


class Digit(NamedTuple):
    """A piece of image axes.

    ``images`` is empty if nothing varies. Weight 0 means that the piece is not followed; it may then carry several
    image axes, which cannot be separated.
    """

    extent: int
    images: tuple[int, ...] = ()
    weight: int = 1
    maybe: int | None = None
    """For an axis of size 1 in front of an image axis: the image axis of which it may be the most significant piece.
    A reshape to 1xL writes both a new axis and L cut into 1 and L."""

    @property
    def moves(self) -> bool:
        """Whether it carries more than one image position."""
        return bool(self.images) and self.extent > 1


Digits = tuple[Digit, ...]


class Axis(NamedTuple):
    """A tensor axis: digits, the most significant first, between positions that belong to other tensors (concat)."""

    digits: Digits
    before: int = 0
    after: int = 0

    @property
    def extent(self) -> int:
        return self.before + prod(digit.extent for digit in self.digits) + self.after

    @property
    def images(self) -> tuple[int, ...]:
        """The image axes here, those of extent 1 included."""
        return tuple(dict.fromkeys(image for digit in self.digits for image in digit.images))


Layout = tuple[Axis, ...]


def seed(shape: Shape, axes: Sequence[int]) -> Layout:
    """The layout of a network input: its ``axes`` are the image's, in order."""
    images = {axis: image for image, axis in enumerate(axes)}
    return tuple(Axis((Digit(n, (images[i],)),)) if i in images else uniform(n) for i, n in enumerate(shape))


def uniform(extent: int) -> Axis:
    """An axis along which nothing of the image varies."""
    return Axis((Digit(extent),))


def opaque(extent: int, images: Iterable[int]) -> Axis:
    """An axis that carries these image axes in an unknown way."""
    return Axis((Digit(extent, tuple(sorted(set(images))), 0),))


def shape_of(layout: Layout) -> Shape:
    return tuple(axis.extent for axis in layout)


def digits_of(layout: Layout, image: int) -> Iterator[Digit]:
    """The digits that belong to one image axis."""
    return (digit for axis in layout for digit in axis.digits if image in digit.images)


def leads(layout: Layout, digit: Digit) -> bool:
    """Whether this is the most significant digit of an image axis, so that reducing it reaches across the image.

    A higher digit counts even if subsampling has left it a single position.
    """
    return any(all(d.weight <= digit.weight for d in digits_of(layout, image)) for image in digit.images)


def is_map(layout: Layout) -> bool:
    """Whether the axes behind the first two are the image's, in order, so that axis 1 holds channels."""
    return len(layout) > 2 and all(
        _doubt(axis) == i or (axis.images == (i,) and _is_lead(layout, axis)) for i, axis in enumerate(layout[2:])
    )


def channels_last(layout: Layout) -> bool:
    """Whether the last axis holds what a reshape cut off the image axes, which lead the axes in front of it."""
    *front, last = layout[1:] or [uniform(1)]
    images = {image for axis in front for image in axis.images}
    return (
        bool(front)
        and layout[0].extent == 1
        and set(last.images) <= images
        and (
            any(d.moves for d in last.digits)
            and not any(d.images and leads(layout, d) for d in last.digits)
            and all(_is_lead(layout, axis) for axis in front)
        )
    )


def _is_lead(layout: Layout, axis: Axis) -> bool:
    return bool(axis.digits) and all(digit.images and leads(layout, digit) for digit in axis.digits)


def settled(layout: Layout) -> Layout:
    """The layout without doubt about axes of size 1: where they complete a map, they are the image's."""
    if not is_map(layout):
        return layout

    def sure(axis: Axis) -> Axis:
        image = _doubt(axis)
        if image is None:
            return axis
        return Axis((Digit(1, (image,), max(d.weight * d.extent for d in digits_of(layout, image))),))

    return (*layout[:2], *map(sure, layout[2:]))


def take(digits: Digits, extent: int) -> tuple[Digits, Digits] | None:
    """The first digits, whose product is ``extent``, and the rest; a digit is cut if necessary. None if no cut fits."""
    taken: list[Digit] = []
    for i, digit in enumerate(digits):
        if extent == 1:
            return tuple(taken), digits[i:]
        if digit.extent <= extent:
            if extent % digit.extent:
                return None
            taken.append(digit)
            extent //= digit.extent
        else:
            low, odd = divmod(digit.extent, extent)
            if odd:
                return None
            high = Digit(extent, digit.images, digit.weight * low)
            return (*taken, high), (digit._replace(extent=low), *digits[i + 1 :])
    return (tuple(taken), ()) if extent == 1 else None


def joined(digits: Iterable[Digit]) -> Digits:
    """The same digits, with neighbours that continue each other merged, and without those of a single position."""
    result: list[Digit] = []
    for digit in digits:
        if digit.extent == 1:
            continue
        last = result[-1] if result else None
        if last and last.images == digit.images and (not digit.images or last.weight == digit.weight * digit.extent):
            result[-1] = digit._replace(extent=last.extent * digit.extent)
        else:
            result.append(digit)
    return tuple(result)


def without(layout: Layout, gone: Iterable[Digit]) -> Layout:
    """The layout with the weights that remain once the digits ``gone`` have been reduced."""
    moving = [digit for digit in gone if digit.moves]
    if not moving:
        return layout

    def rest(digit: Digit) -> Digit:
        lower = (d.extent for d in moving if d.images == digit.images and d.weight < digit.weight)
        return digit._replace(weight=digit.weight // prod(lower))

    return tuple(axis._replace(digits=tuple(map(rest, axis.digits))) for axis in layout)


Repeats = tuple[int, int]


def reshape(layout: Layout, shape: Shape) -> tuple[Layout, tuple[int, ...], tuple[Repeats, ...]]:
    """The layout under another shape, the image axes that can no longer be followed, and those whose positions are
    now repeated (image axis, times), in this order."""
    groups = aligned(shape_of(layout), shape)
    axes = [uniform(n) for n in shape]
    ones, lead, maybe = _ones_followed(layout, shape, groups)
    for old, new in ones:
        axes[new] = layout[old]
    for new, image in maybe:
        axes[new] = Axis((Digit(1, maybe=image),))
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
        if olds[0] in lead and not axes[news[0]].images:
            axes[news[0]] = Axis((lead[olds[0]], *axes[news[0]].digits))
    result, repeats = tuple(axes), []
    for i in range(len(result)):
        result, repeat = _absorbed(result, i)
        repeats += repeat
    return settled(result), tuple(sorted(unclear)), tuple(repeats)


Groups = list[tuple[list[int], list[int]]]


def _ones_followed(
    layout: Layout, shape: Shape, groups: Groups
) -> tuple[list[Repeats], dict[int, Digit], list[tuple[int, int]]]:
    """What becomes of the axes of size 1, which a shape alone leaves open where their number changes.

    Pairs of old and new ones; those that are merged with channels behind them, by the first old axis of that group
    (pixel shuffle of a single position); and new ones with the image axis they may be the first piece of.
    """
    pairs, lead, maybe = [], {}, []
    before, after = _ones(shape_of(layout)), _ones(shape)
    behind = {prod(shape_of(layout)[: olds[0]]): olds[0] for olds, _ in groups}
    for at in sorted(before | after):
        olds, news = before.get(at, []), after.get(at, [])
        follower = next(iter(layout[behind[at]].digits), None) if at in behind else None
        if len(olds) > len(news) and follower and not follower.images and layout[olds[-1]].images:
            lead[behind[at]] = layout[olds.pop()].digits[0]
        spare = sorted(
            range(len(olds)), key=lambda k: (bool(layout[olds[k]].images), _doubt(layout[olds[k]]) is not None, -k)
        )
        kept = sorted(set(range(len(olds))) - set(spare[: max(len(olds) - len(news), 0)]))
        pairs += list(zip([olds[k] for k in kept], news, strict=False))
        if len(news) > len(olds) and follower and follower.moves and leads(layout, follower):
            maybe.append((news[-1], follower.images[0]))
    return pairs, lead, maybe


def _doubt(axis: Axis) -> int | None:
    return axis.digits[0].maybe if axis.digits else None


def aligned(old: Shape, new: Shape) -> Groups:
    """The smallest groups of axes of size above 1 with equal products; none of a tensor that has no elements."""
    if 0 in old:
        return []
    left, right = ([i for i, n in enumerate(shape) if n > 1] for shape in (old, new))
    groups: Groups = []
    while left:
        olds, news = [left.pop(0)], [right.pop(0)]
        while (a := prod(old[i] for i in olds)) != (b := prod(new[i] for i in news)):
            if a < b:
                olds.append(left.pop(0))
            else:
                news.append(right.pop(0))
        groups.append((olds, news))
    return groups


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
    """Merges an image axis with a uniform one after it into one axis, whose positions are repeated."""
    axis = layout[at]
    if len(axis.digits) != 2 or axis.before or axis.after:
        return layout, []
    (extent, images, weight, _), behind = axis.digits
    if behind.images or len(images) != 1 or weight != 1 or behind.extent > PERIOD_LIMIT:
        return layout, []

    def spaced(digit: Digit) -> Digit:
        return digit._replace(weight=digit.weight * behind.extent) if digit.images == images else digit

    spread = tuple(axis._replace(digits=tuple(map(spaced, axis.digits))) for axis in layout)
    one = Axis((Digit(extent * behind.extent, images),))
    return (*spread[:at], one, *spread[at + 1 :]), [(images[0], behind.extent)]
