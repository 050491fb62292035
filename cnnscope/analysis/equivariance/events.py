"""Claims about a transform of the image, and what one step of a path does to the image axes.

A step reads windows along an axis, reduces a whole axis, or loses an axis. Everything comes from `cnnscope.ir.steps`
and from where `receptive_field.layout` has the image's axes; an op adds only what its reads cannot express
(`Op.symmetric`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cnnscope.analysis.receptive_field.digits import Axis, Digit, Layout, digits_of, is_map, leads, take
from cnnscope.analysis.receptive_field.layout import Elsewhere, Unclear, Window
from cnnscope.analysis.receptive_field.quasi_affine import Phases
from cnnscope.analysis.receptive_field.walk import Move
from cnnscope.ir.steps import Border, Expand, Mix, Reshape, Running, Spread, Taps, Whole

Claim = Literal["exact", "geometry_only", "not_guaranteed"]
"""``exact``: true for all weights and images. ``geometry_only``: the grids fit, and it depends on the weights."""

ORDER: tuple[Claim, ...] = ("exact", "geometry_only", "not_guaranteed")


@dataclass(frozen=True, slots=True)
class Cause:
    """The first layer that prevents a stronger claim, and why. ``place`` is its position in execution order."""

    layer: str
    reason: str
    place: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim, and the cause that prevents a stronger one."""

    claim: Claim = "exact"
    cause: Cause | None = None


EXACT = Verdict()


@dataclass(frozen=True, slots=True)
class Shift:
    """Moves the image by whole pixels per axis, down and to the right where positive: (T x)[i] = x[i - by].

    With ``wrap``, pixels that leave come back on the other side (`torch.roll`). Without, other pixels enter, from a
    larger canvas or a fill; then a claim is about the interior alone.
    """

    by: tuple[int, ...]
    wrap: bool = True


@dataclass(frozen=True, slots=True)
class Flip:
    """Reverses these axes of the image: (1,) left and right, (0,) top and bottom, (0, 1) both, a half turn."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """Turns the last two axes of the image by ``quarters`` times 90 degrees, as `torch.rot90` over them."""

    quarters: int


Transform = Shift | Flip | Turn


def first(causes: Iterable[Cause | None]) -> Cause | None:
    """The cause that comes first in execution order."""
    return min((cause for cause in causes if cause), key=lambda cause: cause.place, default=None)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The weakest of the claims, with the first cause among the claims that are as weak."""
    some = list(verdicts)
    claims: list[Claim] = [v.claim for v in some]
    claim = max(claims, key=ORDER.index, default=ORDER[0])
    return Verdict(claim, first(v.cause for v in some if v.claim == claim))


class Read(NamedTuple):
    """Output position o reads ``taps[o % m] + n * (o // m)`` along an image axis; m is their number of phases.

    ``size`` is the output's extent, None where the windows cover the axis without rest. ``weighted`` says that taps or
    phases may have weights of their own.
    """

    image: int
    n: int
    taps: Phases
    size: int | None = None
    border: Border = "drop"
    weighted: bool = False


class Reduce(NamedTuple):
    """The whole axis is read: alike (``symmetric``) or with weights per position. ``own`` says that positions stay."""

    image: int
    symmetric: bool
    own: bool
    via: str


class Lost(NamedTuple):
    """An axis that can no longer be followed."""

    image: int
    reason: str


Event = Read | Reduce | Lost
_SYMMETRIC = {"global-pool", "norm-statistics"}


def events(move: Move, symmetric: bool, rank: int) -> Iterator[Event]:
    """What the step does, in order, on ``rank`` image axes."""
    step, before = move.step, move.before
    match step:
        case Mix():
            yield from _mixed(before, step)
        case Whole():
            yield from reduced(before, step.axes, step.via, step.via in _SYMMETRIC, own=False)
        case Running():
            yield from reduced(before, (step.axis,), step.via, False, own=False)
        case Spread():
            yield from reduced(before, step.axes, step.via, True, own=True)
        case Taps() if move.actions and _are_channels(before, step.axis):
            yield from reduced(before, (step.axis,), "dense", False, own=False)
        case _:
            yield from _followed(move, symmetric, rank)


def _followed(move: Move, symmetric: bool, rank: int) -> Iterator[Event]:
    """The events of steps that the receptive field's actions describe completely."""
    step = move.step
    for action in move.actions:
        match action:
            case Window(image, n, taps):
                if isinstance(step, Taps):
                    low = len(taps) // len(step.taps)
                    yield Read(image, n, taps, step.size * low, step.border, not symmetric)
                elif isinstance(step, Expand):
                    extents = (e for axis, e in zip(move.before[::-1], step.shape[::-1], strict=False)
                               if image in axis.images)  # fmt: skip
                    yield Read(image, n, taps, next(extents))
                else:
                    yield Read(image, n, taps, weighted=isinstance(step, Reshape) or not symmetric)
            case Unclear(image):
                yield Lost(image, "positions are rearranged in a way that is not followed")
            case Elsewhere():
                for image in range(rank):
                    yield Lost(image, "takes positions that are not the image's")
            case _:
                for image in range(rank):
                    yield Lost(image, "all positions are read")


def _mixed(before: Layout, step: Mix) -> Iterator[Event]:
    axis = before[step.axis]
    if not any(d.moves for d in axis.digits):
        return
    cut = None if axis.before or axis.after else take(axis.digits, step.groups)
    if cut is None:
        yield from (Lost(image, "positions are mixed in groups") for image in axis.images)
        return
    kept, gone = cut
    yield from held(before, kept)
    yield from reduced(_with(before, step.axis, axis._replace(digits=(*kept, *gone))), (step.axis,), step.via, False,
                       own=False, only=gone)  # fmt: skip


def _with(layout: Layout, at: int, axis: Axis) -> Layout:
    return (*layout[:at], axis, *layout[at + 1 :])


def held(layout: Layout, digits: Iterable[Digit]) -> Iterator[Event]:
    """Positions of these digits have different weights, so a shift must not move them."""
    for digit in digits:
        if not digit.moves:
            continue
        if digit.weight == 0 or leads(layout, digit):
            yield from (Reduce(image, False, True, "dense") for image in digit.images)
        else:
            yield from _cells(digit, weighted=True, own=True)


def reduced(
    layout: Layout, axes: Iterable[int], via: str, symmetric: bool, *, own: bool, only: Iterable[Digit] | None = None
) -> Iterator[Event]:
    """All positions along these tensor axes (or of these digits there) are read."""
    gone = [d for axis in axes for d in layout[axis].digits if d.moves] if only is None else list(only)
    for image in sorted({image for digit in gone for image in digit.images}):
        mine = [d for d in gone if image in d.images and d.moves]
        if not mine:
            continue
        everything = [d for d in digits_of(layout, image) if d.moves]
        if any(d.weight == 0 for d in mine) and len(mine) < len(everything):
            yield Lost(image, "some of its positions are reduced")
        elif any(leads(layout, d) for d in mine):
            yield from held(layout, (d for d in everything if d not in mine))
            yield Reduce(image, symmetric, own, via)
        else:
            for digit in sorted(mine, key=lambda d: -d.weight):
                yield from _cells(digit, weighted=not symmetric, own=own)


def _cells(digit: Digit, *, weighted: bool, own: bool) -> Iterator[Event]:
    """Windows over a digit that is not the leading one: the cells of a grid.

    With ``own`` each position keeps its result.
    """
    (image,), low, turn = digit.images, digit.weight, digit.weight * digit.extent
    yield Read(image, turn, tuple(tuple(range(start, turn, low)) for start in range(low)), weighted=weighted)
    if own:
        yield Read(image, low, tuple((o % low,) for o in range(turn)), weighted=weighted)


def _are_channels(layout: Layout, axis: int) -> bool:
    """Whether pieces of image axes lie along the channel axis, as after space to depth."""
    digits = [d for d in layout[axis].digits if d.images]
    return axis == 1 and bool(digits) and is_map(layout) and not any(leads(layout, d) for d in digits)
