"""Figures of a whole family of transforms: curves over the magnitude, the area under them, radii, and worst cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.statistics.groups import TransformGroup
from cnnscope.audits.statistics.intervals import CONFIDENCE, UNKNOWN, Bootstrap, Estimate, Floats, interval, share
from cnnscope.audits.statistics.metrics import agrees, kappa_sums, mean

ALPHA = 0.9
"""The agreement that must hold up to the radius."""


def distance(group: TransformGroup) -> float:
    """The distance of a group from the identity: pixels, degrees or octaves."""
    return abs(float(np.log2(group.magnitude))) if group.family == "scale" else group.magnitude


Side = Literal["", "smaller", "larger"]
"""Of 1, for scales; other families have one side."""


def _sides(groups: Sequence[TransformGroup]) -> dict[Side, list[TransformGroup]]:
    """The groups as curves that start at the untransformed image: two for scales (below and above 1), else one."""
    sides: dict[Side, list[TransformGroup]] = {}
    for g in sorted(groups, key=lambda g: (g.family == "scale" and g.magnitude >= 1, distance(g))):
        side: Side = ("smaller" if g.magnitude < 1 else "larger") if g.family == "scale" else ""
        sides.setdefault(side, []).append(g)
    return sides


def area(outcomes: Outcomes, groups: Sequence[TransformGroup], bootstrap: Bootstrap) -> Estimate:
    """Area under kappa against the distance, by trapezoids from 1 at distance 0, divided by the measured range.

    It is 1 if nothing changes. For scales it is the average of both sides, weighted by their ranges. It is unknown for
    flips, which have no magnitude, and where kappa is unknown.
    """
    if not groups or groups[0].family == "flip":
        return UNKNOWN
    weights, begin = _trapezoids(groups)
    return kappa_sums(outcomes, groups, weights[None], begin, bootstrap)[0]


def _trapezoids(groups: Sequence[TransformGroup]) -> tuple[Floats, float]:
    """The weights of the groups' kappas, and that of the value 1 at distance 0, whose weighted sum is the area."""
    weights, begin, length = dict.fromkeys(groups, 0.0), 0.0, 0.0
    for side in _sides(groups).values():
        places = [0.0, *(distance(g) for g in side)]
        for i, (a, b) in enumerate(pairwise(places)):
            if i == 0:
                begin += (b - a) / 2
            else:
                weights[side[i - 1]] += (b - a) / 2
            weights[side[i]] += (b - a) / 2
        length += places[-1]
    return np.array([weights[g] for g in groups]) / length, begin / length


@dataclass(frozen=True, slots=True)
class Radius:
    """The largest magnitude up to which the lower bound of agreement is at least ``alpha``; None if the smallest fails.

    ``at_least`` says that it is the largest measured magnitude. ``side`` is ``smaller`` or ``larger`` for scales.
    """

    side: Side
    alpha: float
    magnitude: float | None
    """null where already the smallest fails"""
    at_least: bool
    """whether nothing larger was measured"""


def radii(groups: Sequence[TransformGroup], agreement: Sequence[Estimate], alpha: float = ALPHA) -> tuple[Radius, ...]:
    """``r_alpha`` for each side: as far as the lower bounds of agreement are at least ``alpha``."""
    low = {g: e.low for g, e in zip(groups, agreement, strict=True)}
    found = []
    for side, members in _sides([g for g in groups if g.family != "flip"]).items():
        held = 0
        while held < len(members) and (low[members[held]] or 0.0) >= alpha:
            held += 1
        found.append(Radius(side, alpha, members[held - 1].magnitude if held else None, held == len(members)))
    return tuple(found)


def family_mean(
    outcomes: Outcomes, groups: Sequence[TransformGroup], metric: Callable[[Outcomes, TransformGroup], Floats]
) -> Floats:
    """(N,): a metric averaged over groups; each group counts once, however many transforms it has."""
    return np.asarray(np.mean([metric(outcomes, g) for g in groups], axis=0), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class LayerCurve:
    """``D_l`` of a layer for each group of a family: 0 is invariant, 1 as far as another image.

    ``images`` were known.
    """

    layer: str
    images: int
    distance: tuple[Estimate, ...]


def layer_curves(outcomes: Outcomes, groups: Sequence[TransformGroup], bootstrap: Bootstrap) -> tuple[LayerCurve, ...]:
    """``E||f_l(T_g x) - f_l(x)|| / E||f_l(x) - f_l(x')||`` of every layer: ratios of means over the images.

    Images for which either distance is unknown are left out.
    """
    return tuple(_curve(outcomes, groups, bootstrap, layer) for layer in range(len(outcomes.layers)))


def _curve(outcomes: Outcomes, groups: Sequence[TransformGroup], bootstrap: Bootstrap, layer: int) -> LayerCurve:
    moved = np.stack([outcomes.distance[:, layer, list(g.members)].mean(1, dtype=np.float64) for g in groups], 1)
    spread = outcomes.spread[:, layer].astype(np.float64)
    known = ~np.isnan(spread) & ~np.isnan(moved).any(1)
    columns = np.where(known[:, None], np.concatenate([moved, spread[:, None]], 1), 0.0)
    if not known.any() or not columns[:, -1].any():
        return LayerCurve(outcomes.layers[layer], int(known.sum()), (UNKNOWN,) * len(groups))
    value, resampled = columns.mean(0), bootstrap.means(columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = resampled[:, :-1] / resampled[:, -1:]
    estimates = tuple(interval(float(v / value[-1]), ratios[:, i]) for i, v in enumerate(value[:-1]))
    return LayerCurve(outcomes.layers[layer], int(known.sum()), estimates)


K = 10
"""The number of transforms of which the worst is taken (Engstrom et al. 2019, sec. 4)."""


@dataclass(frozen=True, slots=True)
class WorstTransform:
    """The one transform under which most predictions change. Its interval is valid for all transforms at once."""

    name: str
    agreement: Estimate
    """its interval is valid for all transforms at once"""


def worst_transform(outcomes: Outcomes, members: Sequence[int]) -> WorstTransform | None:
    """The transform with the lowest agreement; intervals at 95 % for all K together (Bonferroni). None without images.

    It is chosen after the measurement, so an interval for this transform alone would be too narrow.
    """
    if not len(outcomes) or not members:
        return None
    kept = agrees(outcomes, members)
    worst = int(kept.mean(0).argmin())
    estimate = share(kept[:, worst].astype(np.float64), (1 - CONFIDENCE) / len(members))
    return WorstTransform(outcomes.transforms[members[worst]].name, estimate)


def always(outcomes: Outcomes, members: Sequence[int]) -> Floats:
    """(N,): 1 if the prediction is the same under every transform, else 0."""
    return np.asarray(agrees(outcomes, members).all(1), dtype=np.float64)


def always_right(outcomes: Outcomes, members: Sequence[int]) -> Floats:
    """(N,): 1 if the prediction is right for the image and under every transform, else 0; NaN without a label."""
    right = (outcomes.top1[:, list(members)] == outcomes.label[:, None]).all(1)
    right &= outcomes.top1_clean == outcomes.label
    return np.asarray(np.where(outcomes.label >= 0, right, np.nan), dtype=np.float64)


def survival(successes: NDArray[np.intp], of: int, k: int) -> Floats:
    """(N,) ``C(m, k) / C(K, k)``: the probability that k transforms, drawn from K without repetition, are all among
    the m good ones.

    ValueError where k is not from 1 to K.
    """
    if not 1 <= k <= of:
        raise ValueError(f"the worst of {k} of {of}")
    steps = np.arange(k)
    factors = np.clip(successes[:, None] - steps, 0, None) / (of - steps)
    return np.asarray(factors.prod(1), dtype=np.float64)


def worst_of_k(outcomes: Outcomes, members: Sequence[int], bootstrap: Bootstrap, k: int = K) -> Estimate | None:
    """Expected agreement at the worst of k transforms picked at random, in closed form; None for fewer than k."""
    if len(members) < k:
        return None
    return mean(survival(agrees(outcomes, members).sum(1), len(members), k), bootstrap)
