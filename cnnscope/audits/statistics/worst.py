"""Worst cases: of all images, of each image, and of k transforms picked at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.statistics.intervals import CONFIDENCE, Bootstrap, Estimate, Floats, share
from cnnscope.audits.statistics.metrics import agrees, mean

K = 10
"""Of how many transforms the worst is taken: Engstrom et al. 2019, sec. 4."""


@dataclass(frozen=True, slots=True)
class WorstTransform:
    """The one transform under which most predictions change. Its interval holds for all transforms at once."""

    name: str
    agreement: Estimate
    """its interval holds for all transforms at once"""


def worst_transform(outcomes: Outcomes, members: Sequence[int]) -> WorstTransform | None:
    """The transform with the lowest agreement; intervals at 95 % for all K together (Bonferroni). None without images.

    Picked after the fact, so its own interval would promise too much.
    """
    if not len(outcomes) or not members:
        return None
    kept = agrees(outcomes, members)
    worst = int(kept.mean(0).argmin())
    estimate = share(kept[:, worst].astype(np.float64), (1 - CONFIDENCE) / len(members))
    return WorstTransform(outcomes.transforms[members[worst]].name, estimate)


def always(outcomes: Outcomes, members: Sequence[int]) -> Floats:
    """(N,) whether every transform leaves the prediction as it is: agreement at each image's own worst transform."""
    return np.asarray(agrees(outcomes, members).all(1), dtype=np.float64)


def always_right(outcomes: Outcomes, members: Sequence[int]) -> Floats:
    """(N,) whether the prediction is right for the image as it is and under every transform; NaN without a label."""
    right = (outcomes.top1[:, list(members)] == outcomes.label[:, None]).all(1)
    right &= outcomes.top1_clean == outcomes.label
    return np.asarray(np.where(outcomes.label >= 0, right, np.nan), dtype=np.float64)


def survival(successes: NDArray[np.intp], of: int, k: int) -> Floats:
    """(N,) ``C(m, k) / C(K, k)``: how probably k transforms drawn from K without repeats are all among the m good ones.

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
