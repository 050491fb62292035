"""Metrics of one group of transforms, per image, so that intervals and comparisons can pair values by image.

Every function takes `Outcomes` of N images and a `TransformGroup` of K transforms; results (N,) are NaN where a value
is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.statistics.groups import TransformGroup
from cnnscope.audits.statistics.intervals import UNKNOWN, Bootstrap, Estimate, Floats, few, interval, share

CLEAN = "clean"
"""The image as it is, in chains of small steps."""
_CERTAIN = 1e-9
"""If agreement by chance is closer to 1 than this, kappa is unknown."""


def agrees(outcomes: Outcomes, members: Sequence[int]) -> NDArray[np.bool_]:
    """(N, K): whether the prediction equals that for the untransformed image."""
    same: NDArray[np.bool_] = outcomes.top1[:, list(members)] == outcomes.top1_clean[:, None]
    return same


def agreement(outcomes: Outcomes, group: TransformGroup) -> Floats:
    """(N,) ``mean_g 1[y(T_g x) = y(x)]``."""
    return np.asarray(agrees(outcomes, group.members).mean(1), dtype=np.float64)


def accuracy(outcomes: Outcomes, group: TransformGroup) -> Floats:
    """(N,) ``mean_g 1[y(T_g x) = label]``."""
    right = (outcomes.top1[:, list(group.members)] == outcomes.label[:, None]).mean(1)
    return np.where(outcomes.label >= 0, right, np.nan)


def clean_accuracy(outcomes: Outcomes) -> Floats:
    """(N,) ``1[y(x) = label]``."""
    return np.where(outcomes.label >= 0, outcomes.top1_clean == outcomes.label, np.nan)


def accuracy_drop(outcomes: Outcomes, group: TransformGroup) -> Floats:
    """(N,): whether the prediction for the image is right, minus the share of transforms under which it is right."""
    return clean_accuracy(outcomes) - accuracy(outcomes, group)


def divergence(outcomes: Outcomes, group: TransformGroup) -> Floats:
    """(N,): mean Jensen-Shannon divergence, divided by ln 2, between class probabilities before and after: 0 if
    equal."""
    return np.asarray(outcomes.js[:, list(group.members)].mean(1, dtype=np.float64))


def probability_change(outcomes: Outcomes, group: TransformGroup) -> Floats:
    """(N,): ``mean_g |p_c(T_g x) - p_c(x)|`` for the class c that is predicted for the untransformed image."""
    kept = outcomes.clean_class_probability[:, list(group.members)].astype(np.float64)
    return np.asarray(np.abs(kept - outcomes.confidence_clean.astype(np.float64)[:, None]).mean(1))


def means(values: Floats, bootstrap: Bootstrap) -> list[Estimate]:
    """The means of the columns of (N, S) values, with intervals by resampling; unknown values are left out by
    column."""
    known = ~np.isnan(values)
    if not len(values):
        return [UNKNOWN] * values.shape[1]
    columns = np.concatenate([np.where(known, values, 0.0), known], 1)
    of_images, of_resamples = columns.mean(0), bootstrap.means(columns)
    s = values.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        found, resampled = of_images[:s] / of_images[s:], of_resamples[:, :s] / of_resamples[:, s:]
    return [interval(float(value), resampled[:, i]) for i, value in enumerate(found)]


def mean(values: Floats, bootstrap: Bootstrap) -> Estimate:
    """The mean of one value per image, as in `means`."""
    return means(values[:, None], bootstrap)[0]


def kappa_columns(outcomes: Outcomes, group: TransformGroup) -> Floats:
    """(N, 2) per image: agreement, and terms whose mean is the agreement expected by chance.

    ``A_e(g) = sum_c P[y(x) = c] P[y(T_g x) = c]`` is a product of two means; its terms are linearised about them
    (``q[y_i] + p[z_i] - A_e``, mean ``A_e``), which errs by O(1/N) in resamples.
    """
    before = outcomes.top1_clean
    classes = int(max(before.max(initial=0), outcomes.top1[:, list(group.members)].max(initial=0))) + 1
    n = max(len(outcomes), 1)
    p = np.bincount(before, minlength=classes) / n
    terms = np.zeros(len(outcomes))
    for member in group.members:
        after = outcomes.top1[:, member]
        q = np.bincount(after, minlength=classes) / n
        terms += q[before] + p[after] - p @ q
    return np.stack([agreement(outcomes, group), terms / len(group.members)], 1)


def kappa(outcomes: Outcomes, groups: Sequence[TransformGroup], bootstrap: Bootstrap) -> Estimate:
    """``(A - A_e) / (1 - A_e)``, Cohen 1960: 1 for full agreement, 0 for agreement by chance. Averaged over groups.

    It is unknown for a network that always predicts one class. Within a group A and A_e are averages. The interval is
    by resampling; if fewer than 30 images change, or fewer than 30 do not, it is that of A with A_e fixed.
    """
    if not groups:
        return UNKNOWN
    return kappa_sums(outcomes, groups, np.full((1, len(groups)), 1 / len(groups)), 0.0, bootstrap)[0]


def kappa_each(outcomes: Outcomes, groups: Sequence[TransformGroup], bootstrap: Bootstrap) -> list[Estimate]:
    """`kappa` of each group by itself."""
    return kappa_sums(outcomes, groups, np.eye(len(groups)), 0.0, bootstrap)


def kappa_sums(
    outcomes: Outcomes, groups: Sequence[TransformGroup], weights: Floats, constant: float, bootstrap: Bootstrap
) -> list[Estimate]:
    """``constant + sum_g weights_ig kappa_g`` for every row of ``weights`` (I, G), which must not be negative."""
    if not len(outcomes):
        return [UNKNOWN] * len(weights)
    columns = np.concatenate([kappa_columns(outcomes, g) for g in groups], 1)
    return _Kappas(columns, columns.mean(0), bootstrap.means(columns)).sums(weights, constant)


@dataclass(frozen=True)
class _Kappas:
    """(N, 2 G) columns, their means over images (2 G,) and over resamples (R, 2 G)."""

    columns: Floats
    found: Floats
    resampled: Floats

    def sums(self, weights: Floats, constant: float) -> list[Estimate]:
        return [self._sum(row, constant) for row in weights]

    def _sum(self, weights: Floats, constant: float) -> Estimate:
        used = np.flatnonzero(weights)
        both = np.stack([2 * used, 2 * used + 1], 1).ravel()
        chance, weights = self.found[2 * used + 1], weights[used]
        if (1 - chance < _CERTAIN).any():
            return UNKNOWN
        scale = weights / (1 - chance)
        values = self.columns[:, 2 * used] @ scale / scale.sum()  # kappa is linear in A where A_e is given
        if few(values):
            same, offset = share(values), constant - float(scale @ chance)
            ends = (same.value, same.low, same.high)
            return Estimate(*(None if x is None else offset + x * float(scale.sum()) for x in ends))
        value = float(kappas(self.found[both]) @ weights + constant)
        return interval(value, kappas(self.resampled[:, both]) @ weights + constant)


def kappas(means: Floats) -> Floats:
    """(..., G) kappas from (..., 2 G) means of `kappa_columns`; NaN where agreement by chance is certain."""
    same, chance = means[..., 0::2], means[..., 1::2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(1 - chance < _CERTAIN, np.nan, (same - chance) / (1 - chance))


def consistency(outcomes: Outcomes, members: Sequence[int]) -> Floats:
    """(N,): the share of pairs among the K predictions that are equal, ``sum_c n_ic (n_ic - 1) / (K (K - 1))``.

    Zhang 2019, sec. 4.1, over all pairs instead of one. NaN for fewer than two transforms.
    """
    n, k = len(outcomes), len(members)
    if k < 2:
        return np.full(n, np.nan)
    answers = np.sort(outcomes.top1[:, list(members)], axis=1)
    begins = np.concatenate([np.ones((n, 1), bool), answers[:, 1:] != answers[:, :-1]], axis=1)
    run = np.cumsum(begins.ravel()) - 1
    length = np.bincount(run)[run].reshape(n, k) if n else np.zeros((0, k))
    equal: Floats = (length - 1).sum(1) / (k * (k - 1))
    return equal


def steps(outcomes: Outcomes, chains: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Pairs of places that are one step apart; -1 is the untransformed image.

    With chains of names these are neighbours in a chain; without, whole shifts that differ by one pixel on one axis.
    """
    if chains:
        places = {transform.name: i for i, transform in enumerate(outcomes.transforms)} | {CLEAN: -1}
        return [(places[a], places[b]) for chain in chains for a, b in pairwise(chain)]
    offsets = {
        (t.dy, t.dx): i for i, t in enumerate(outcomes.transforms)
        if t.family == "translation" and t.on_grid and max(abs(t.dy), abs(t.dx)) == t.magnitude
    }  # fmt: skip
    if not offsets:
        return []
    offsets[0.0, 0.0] = -1
    return [
        (place, offsets[neighbour]) for (y, x), place in sorted(offsets.items())
        for neighbour in ((y + 1, x), (y, x + 1)) if neighbour in offsets
    ]  # fmt: skip


def step_changes(outcomes: Outcomes, pairs: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
    """Per image, the mean over steps: how often the prediction changes, and the change of the clean class's
    probability.

    Azulay & Weiss 2019, sec. 2: P(top-1 change) and the mean absolute change, for one step.
    """
    a, b = (np.array(side, dtype=np.intp) for side in zip(*pairs, strict=True))
    answers = np.concatenate([outcomes.top1, outcomes.top1_clean[:, None]], axis=1)
    sure = np.concatenate([outcomes.clean_class_probability, outcomes.confidence_clean[:, None]], axis=1)
    sure = sure.astype(np.float64)
    return (answers[:, a] != answers[:, b]).mean(1), np.abs(sure[:, a] - sure[:, b]).mean(1)


def wobble(outcomes: Outcomes, members: Sequence[int], bootstrap: Bootstrap) -> Estimate:
    """``max_g p - min_g p`` for the probability of the clean prediction, the untransformed image included."""
    kept = outcomes.clean_class_probability[:, list(members)].astype(np.float64)
    sure = np.concatenate([kept, outcomes.confidence_clean.astype(np.float64)[:, None]], axis=1)
    return mean(sure.max(1) - sure.min(1), bootstrap)
