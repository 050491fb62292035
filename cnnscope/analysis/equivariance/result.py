"""The result of the pass for each layer, and its prediction for one transform."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from cnnscope.analysis.equivariance.along import Along, overlap
from cnnscope.analysis.equivariance.events import Cause, Flip, Shift, Transform, Turn, Verdict, first, worst
from cnnscope.analysis.receptive_field.quasi_affine import Interval
from cnnscope.ir import Shape

Box = tuple[Interval, ...]
"""First and last position per image axis, both included."""


@dataclass(frozen=True, slots=True)
class Motion:
    """How a layer's output moves with the image.

    ``along`` has the state of each image axis (see `Along`), None behind an op that no rule covers. ``axes`` are the
    tensor's axes that hold positions, in the order of the image's, None where they are merged or not in order;
    empty where no positions are left and the output can only be invariant.
    ``quarter`` is about quarter turns, the same for both directions.
    """

    name: str
    shape: Shape
    along: tuple[Along, ...]
    axes: tuple[int, ...] | None
    quarter: Verdict
    unknown: Cause | None = None

    @property
    def invariant(self) -> bool:
        """Whether there are no positions any more: a claim is then one of invariance."""
        return self.axes == ()

    @property
    def interior(self) -> Box | None:
        """The first and last position whose exact receptive field misses the border; None if there are none."""
        box = tuple(a.clean for a in self.along if a.clean)
        return box if box and len(box) == len(self.along) else None

    @property
    def fraction(self) -> Fraction:
        """The share of the map that is interior."""
        return _fraction(self, self.interior)

    def predict(self, transform: Transform) -> MapPrediction:
        """The prediction for the layer's output under a transform of the image."""
        if self.unknown:
            return MapPrediction(Verdict("not_guaranteed", self.unknown))
        match transform:
            case Shift(by, wrap):
                return _shifted(self, by) if wrap else _slid(self, by)
            case Flip(axes):
                return MapPrediction(worst(self.along[axis].mirror for axis in axes))
            case Turn(quarters):
                if quarters % 2:
                    return MapPrediction(self.quarter)
                return self.predict(Flip((-2, -1) if quarters % 4 else ()))


@dataclass(frozen=True, slots=True)
class MapPrediction:
    """The prediction for one layer under one transform.

    For a shift, ``shift`` is by how many positions the map moves per image axis (what leaves comes back where the
    shift wraps), None where that is not a whole number or not known; ``interior`` the positions of the shifted image's
    map that must equal the unshifted map's, ``shift`` positions away: for a shift that wraps the whole map if the claim
    is exact, else those whose receptive field misses the border in both. None if there are none. ``fraction`` is their
    share of the positions that both maps have.
    Under flips and turns the map is flipped or turned itself.
    """

    verdict: Verdict
    shift: tuple[int, ...] | None = None
    interior: Box | None = None
    fraction: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for a transform of the image: for the network's output, and for every layer in execution order."""

    transform: Transform
    output: Verdict
    maps: Mapping[str, MapPrediction]


@dataclass(frozen=True, slots=True)
class Equivariance:
    """The whole network: the image's extents, its layers that the image reaches, and its outputs."""

    image: Shape
    layers: tuple[Motion, ...]
    outputs: tuple[Motion, ...]

    def predict(self, transform: Transform) -> Prediction:
        """The prediction for a transform of the image; ValueError if it does not fit the image's axes."""
        transform = _checked(transform, len(self.image))
        output = worst(motion.predict(transform).verdict for motion in self.outputs)
        return Prediction(transform, output, {motion.name: motion.predict(transform) for motion in self.layers})


def _checked(transform: Transform, rank: int) -> Transform:
    match transform:
        case Shift(by) if len(by) != rank:
            raise ValueError(f"a shift of {len(by)} axes for an image of {rank}")
        case Flip(axes) if any(not -rank <= axis < rank for axis in axes):
            raise ValueError(f"an image of {rank} axes cannot be flipped along {axes}")
        case Turn() if rank < 2:
            raise ValueError("an image of one axis cannot be turned")
    return transform


def _shifted(m: Motion, by: Iterable[int]) -> MapPrediction:
    """A circular shift by ``by`` pixels; a shift by the whole extent changes nothing."""
    by = [g if g % a.pixels else 0 for a, g in zip(m.along, by, strict=True)]
    causes = [_misfit(a, g, a.wraps) for a, g in zip(m.along, by, strict=True)]
    if not any(causes):
        whole = tuple((0, a.extent - 1) for a in m.along)
        return MapPrediction(Verdict(), _steps(m, by), whole, Fraction(1))
    slid = _slid(m, by)
    return MapPrediction(Verdict("not_guaranteed", first(causes)), slid.shift, slid.interior, slid.fraction)


def _slid(m: Motion, by: Iterable[int]) -> MapPrediction:
    """A shift that brings in other pixels."""
    pairs = list(zip(m.along, by, strict=True))
    cause = first(_misfit(a, g, a.slides) for a, g in pairs)
    shift = _steps(m, by)
    if not any(g for _, g in pairs):
        return MapPrediction(Verdict(), shift, tuple((0, a.extent - 1) for a in m.along), Fraction(1))
    if cause or shift is None:
        return MapPrediction(Verdict("not_guaranteed", cause), shift)
    sides = [_common(a, u) for (a, _), u in zip(pairs, shift, strict=True)]
    box = tuple(side for side in sides if side)
    if len(box) < len(sides):
        return MapPrediction(Verdict("not_guaranteed", Cause(m.name, "every receptive field meets the border")), shift)
    overlap_of = prod(a.extent - abs(u) for (a, _), u in zip(pairs, shift, strict=True))
    return MapPrediction(Verdict(), shift, box, Fraction(prod(hi - lo + 1 for lo, hi in box), overlap_of))


def _common(a: Along, step: int) -> Interval | None:
    """Positions that are clean in both maps, before and after the move."""
    return overlap(a.clean, a.clean and (a.clean[0] + step, a.clean[1] + step))


def _misfit(a: Along, pixels: int, cause: Cause | None) -> Cause | None:
    """Why a shift along one axis does not move the map by whole positions: the first stride it is no multiple of, or
    the cause."""
    if pixels == 0:
        return None
    return first([cause, next((by for unit, by in a.strides if pixels % unit), None)])


def _steps(m: Motion, by: Iterable[int]) -> tuple[int, ...] | None:
    """The number of positions by which the map moves; None if it is not whole."""
    steps = []
    for a, g in zip(m.along, by, strict=True):
        if g and (g % a.unit or a.chosen) and not a.still:
            return None
        steps.append(0 if a.still else g // a.unit * a.step)
    return tuple(steps)


def _fraction(m: Motion, box: Box | None) -> Fraction:
    if box is None:
        return Fraction(0)
    return Fraction(prod(hi - lo + 1 for lo, hi in box), prod(a.extent for a in m.along))
