"""95 % intervals: of shares in closed form, of other figures by resampling images; differences of two samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 1_000
FEW = 30
"""Resampling is trusted only if at least this many images differ from the rest."""
_PRIOR = 4
"""Fictitious images of maximal variance that are added when the effective sample size is estimated."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; None means unknown."""

    value: float | None
    low: float | None
    high: float | None

    def rounded(self) -> Estimate:
        """To six decimals: more is noise of the resampling, which differs from machine to machine."""
        return Estimate(*(None if end is None else round(end, 6) for end in (self.value, self.low, self.high)))


UNKNOWN = Estimate(None, None, None)


def quantile(tail: float) -> float:
    """The quantile z of the normal distribution with probability ``tail`` outside of -z to z."""
    return NormalDist().inv_cdf(1 - tail / 2)


def wilson(p: float, n: float, tail: float = 1 - CONFIDENCE) -> tuple[float, float]:
    """Score interval of a share ``p`` of ``n`` (Wilson 1927, eq. 9; Brown, Cai & DasGupta 2001, sec. 3.1.1)."""
    z = quantile(tail)
    middle = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def share(values: Floats, tail: float = 1 - CONFIDENCE) -> Estimate:
    """The mean of one value from 0 to 1 per image, with its Wilson interval; NaN is unknown and left out.

    The interval uses the effective sample size: the number of images if values are 0 or 1. If each value is an average
    of several outcomes, an image counts for more (design effect, Kish 1965), never for less. The effect is measured on
    the images that are not unanimous, and on four more that count once each.
    """
    known = values[~np.isnan(values)]
    n = len(known)
    if n == 0:
        return UNKNOWN
    p = float(known.mean())
    low, high = wilson(min(max(p, 0.0), 1.0), n / _design_effect(known, p), tail)
    return Estimate(p, min(low, p), max(high, p))


def _design_effect(values: Floats, p: float) -> float:
    """The variance between images divided by that of single outcomes, at most 1."""
    single = p * (1 - p)
    if single <= 0:
        return 1.0
    varied = min(int((values < 1).sum()), int((values > 0).sum()))
    return min(1.0, (varied * float(values.var()) / single + _PRIOR) / (varied + _PRIOR))


def few(values: Floats) -> bool:
    """Whether too few images differ from the others for resampling to be trusted."""
    known = values[~np.isnan(values)]
    return min(int((known < 1).sum()), int((known > 0).sum())) < FEW


@dataclass(frozen=True)
class Bootstrap:
    """1,000 resamples of ``n`` images, the same for all estimates (Efron & Tibshirani 1993, ch. 6).

    Whole images are drawn, with everything that was measured of them.
    """

    n: int
    seed: int = 0

    @cached_property
    def counts(self) -> NDArray[np.uint8]:
        """(1000, n): how often each image was drawn; multinomial, as counts of ``n`` draws with replacement."""
        rng = np.random.Generator(np.random.Philox(self.seed))
        counts = np.empty((RESAMPLES, self.n), np.uint8)
        for row in counts:
            row[:] = np.bincount(rng.integers(self.n, size=self.n), minlength=self.n)
        return counts

    def means(self, values: Floats) -> Floats:
        """(1000, S) means of (n, S) values over the images of each resample.

        Computed in single precision, which is much finer than the intervals; double takes three times as long.
        """
        single = np.ascontiguousarray(values, np.float32)
        blocks = (self.counts[i : i + 100].astype(np.float32) @ single for i in range(0, RESAMPLES, 100))
        return np.concatenate(list(blocks)).astype(np.float64) / self.n

    def estimate(self, values: Floats, statistic: Callable[[Floats], Floats]) -> Estimate:
        """Percentile interval of ``statistic``, a function of means (..., S) -> (...) of (n, S) values."""
        if self.n == 0:
            return UNKNOWN
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(statistic(values.mean(0)))
            return interval(value, statistic(self.means(values)))


def interval(value: float, resampled: Floats) -> Estimate:
    """The estimate of a figure from its values in resamples; resamples in which it is undefined are left out."""
    if not np.isfinite(value):
        return UNKNOWN
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled[np.isfinite(resampled)], [tail, 100 - tail])
    return Estimate(value, min(float(low), value), max(float(high), value))


def paired_difference(values: Floats) -> Estimate:
    """The mean of one difference from -1 to 1 an image; NaN is left out.

    The difference is the share gained minus the share lost. Their two intervals are combined with their correlation by
    MOVER (Zou & Donner 2008, eq. 8; Newcombe 1998b has the case of independent shares). If no image differs, the
    interval is 0 to 0.
    """
    known = values[~np.isnan(values)]
    if not known.any():
        return Estimate(0.0, 0.0, 0.0) if len(known) else UNKNOWN
    gained, lost = np.clip(known, 0, None), np.clip(-known, 0, None)
    both = gained.std() * lost.std()
    correlation = float(((gained * lost).mean() - gained.mean() * lost.mean()) / both) if both > 0 else 0.0
    return _mover(share(lost), share(gained), correlation)


def independent_difference(a: Estimate, b: Estimate) -> Estimate:
    """The difference ``b - a`` of two shares, measured on different images (Newcombe 1998b, method 10)."""
    return _mover(a, b, 0.0)


def _mover(a: Estimate, b: Estimate, correlation: float) -> Estimate:
    if a.value is None or a.low is None or a.high is None or b.value is None or b.low is None or b.high is None:
        return UNKNOWN

    def reach(x: float, y: float) -> float:
        return sqrt(max(x * x + y * y - 2 * correlation * x * y, 0.0))

    value = b.value - a.value
    low = value - reach(b.value - b.low, a.high - a.value)
    high = value + reach(b.high - b.value, a.value - a.low)
    return Estimate(value, max(low, -1.0), min(high, 1.0))


def mcnemar(values: Floats) -> float | None:
    """Two-sided exact p-value of McNemar's test (1947) for one difference of -1, 0 or 1 per image; None for other
    values.

    It is the probability of gains and losses at least as unequal as these if both were equally frequent.
    """
    known = values[~np.isnan(values)]
    if len(known) == 0 or not np.isin(known, (-1.0, 0.0, 1.0)).all():
        return None
    gains, losses = int((known > 0).sum()), int((known < 0).sum())
    n, least = gains + losses, np.arange(min(gains, losses))
    ways = np.concatenate([[0.0], np.cumsum(np.log(n - least) - np.log(least + 1))])  # log C(n, i)
    return min(1.0, 2 * float(np.exp(ways - n * log(2)).sum()))
