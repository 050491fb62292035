"""Figures of a layer's filters, each beside the figures that random filters reach by chance.

A filter reads ``channels`` input channels: its weights are (channels, height, width).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.learned.filters.kernels import classic
from cnnscope.learned.filters.spectrum import Band, Figures, Filters, band, orientation

Indices = NDArray[np.int64]

_CHUNK = 8_000_000
"""Projections in memory at a time."""


@dataclass(frozen=True, eq=False)
class Chance:
    """(draws,) figures of random filters of the layer's shape; empty where such filters have no such figure."""

    coherence: Figures
    similarity: Figures
    redundancy: Figures


@dataclass(frozen=True, eq=False)
class Figured:
    """(filters,) of each figure, NaN where a filter has none.

    ``norm`` is Euclidean. ``orientation`` in degrees, ``coherence`` and ``band`` are as in `spectrum`. ``similarity``
    is to the kernel ``nearest`` in ``bank`` (names), ``redundancy`` to the filter ``twin``; both indices are -1 where
    there is none.
    """

    norm: Figures
    orientation: Figures
    coherence: Figures
    coherence_p: Figures
    band: Band | None
    bank: tuple[str, ...]
    nearest: Indices
    similarity: Figures
    similarity_p: Figures
    twin: Indices
    redundancy: Figures
    redundancy_p: Figures
    chance: Chance


def figure(filters: Filters) -> Figured:
    """All figures of (filters, channels, height, width) weights, which must be finite."""
    count, channels, height, width = filters.shape
    pointlike = height * width == 1
    coherence_chance, similarity_chance = _chance(channels, height, width)
    chance = Chance(coherence_chance, similarity_chance, _redundancy_chance(count - 1, channels * height * width))
    nothing = np.full(count, np.nan)
    degrees, coherence = (nothing, nothing) if pointlike else orientation(filters)
    nearest, similarity = similar(filters)
    twin, redundancy = redundant(filters)
    return Figured(
        norm=norms(filters),
        orientation=degrees, coherence=coherence, coherence_p=p_values(coherence, chance.coherence),
        band=None if pointlike else band(filters), bank=tuple(kernel.name for kernel in classic(height, width)),
        nearest=nearest, similarity=similarity, similarity_p=p_values(similarity, chance.similarity),
        twin=twin, redundancy=redundancy, redundancy_p=p_values(redundancy, chance.redundancy), chance=chance,
    )  # fmt: skip


def norms(filters: Filters) -> Figures:
    """(filters,) Euclidean norms."""
    return np.asarray(np.sqrt(np.square(filters, dtype=np.float64).sum(axis=(1, 2, 3))))


def similar(filters: Filters) -> tuple[Indices, Figures]:
    """The nearest classic kernel of each filter, by its index in `classic`, and its absolute cosine with it.

    Of a filter with several channels it is the cosine with the kernel times the best weight per channel:
    ||W k|| / (||W|| ||k||) for the (channels, pixels) matrix W of its weights; with one channel that is |cos(w, k)|.
    -1 and NaN for 1x1 and for zeros.
    """
    bank = classic(*filters.shape[2:])
    lengths = norms(filters)
    if not bank:
        return np.full(len(filters), -1), np.full(len(filters), np.nan)
    units = np.stack([(kernel.weights / np.linalg.norm(kernel.weights)).ravel() for kernel in bank], axis=1)
    step = max(1, _CHUNK // (filters.shape[1] * max(units.shape)))
    parts = []
    for start in range(0, len(filters), step):
        some = filters[start : start + step].astype(np.float64)
        parts.append(np.sqrt(np.square(some.reshape(*some.shape[:2], -1) @ units).sum(axis=1)))
    cosines = np.concatenate(parts)
    best = cosines.argmax(axis=1)
    zero = lengths == 0
    value = np.minimum(cosines.max(axis=1) / np.where(zero, 1.0, lengths), 1.0)
    return np.where(zero, -1, best), np.where(zero, np.nan, value)


def redundant(filters: Filters) -> tuple[Indices, Figures]:
    """For each filter the nearest other filter of the layer, and their absolute cosine; -1 and NaN where there is none.

    A filter of a single weight has none, since any two of them are parallel; nor has a filter of zeros.
    """
    count, size = len(filters), int(np.prod(filters.shape[1:]))
    lengths = norms(filters)
    alive = np.flatnonzero(lengths > 0)
    twin, value = np.full(count, -1), np.full(count, np.nan)
    if len(alive) < 2 or size == 1:
        return twin, value
    units = filters[alive].reshape(len(alive), size) / lengths[alive, None]
    step = max(1, _CHUNK // len(alive))
    for start in range(0, len(alive), step):
        rows = np.arange(start, min(start + step, len(alive)))
        cosines = np.abs(units[rows] @ units.T)
        cosines[np.arange(len(rows)), rows] = -1.0
        best = cosines.argmax(axis=1)
        twin[alive[rows]] = alive[best]
        value[alive[rows]] = np.minimum(cosines[np.arange(len(rows)), best], 1.0)
    return twin, value


@lru_cache(maxsize=32)
def _chance(channels: int, height: int, width: int) -> tuple[Figures, Figures]:
    """Coherence and similarity of random filters."""
    if height * width == 1:
        return np.empty(0), np.empty(0)
    found: list[tuple[Any, Any]] = []
    for filters in random_filters((channels, height, width)):
        coherence = np.empty(0) if min(height, width) == 1 else orientation(filters)[1]
        found.append((coherence, similar(filters)[1]))
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


@lru_cache(maxsize=32)
def _redundancy_chance(others: int, size: int) -> Figures:
    return np.empty(0) if others < 1 or size == 1 else of_largest_cosine(others, size)


DRAWS = 999
"""Random kernels in a null distribution: the smallest p-value is 1 / 1000."""
SEED = 0
_CHUNK = 4_000_000
"""Weights drawn at a time."""


def p_values(found: Figures, null: Figures) -> Figures:
    """(n,) p-values: (1 + how many of ``null`` are at least as large) / (1 + the size of ``null``); NaN for NaN.

    Source: Davison & Hinkley 1997, "Bootstrap Methods and their Application", section 4.2.
    """
    larger = len(null) - np.searchsorted(np.sort(null), found, side="left")
    return np.where(np.isnan(found), np.nan, (1 + larger) / (1 + len(null)))


def random_filters(shape: tuple[int, int, int], draws: int = DRAWS) -> Iterator[NDArray[np.float64]]:
    """(n, channels, height, width) batches of Gaussian noise from a fixed seed, ``draws`` filters in all."""
    generator = np.random.default_rng(SEED)
    step = max(1, _CHUNK // prod(shape))
    for start in range(0, draws, step):
        yield generator.standard_normal((min(step, draws - start), *shape))


def of_largest_cosine(others: int, dimensions: int, draws: int = DRAWS) -> Figures:
    """(draws,) the largest absolute cosine between one random direction and ``others`` more.

    Directions are uniform, so the first may be an axis: the cosine of the rest with it is g / sqrt(g^2 + c), with
    g standard normal and c chi-squared with ``dimensions`` - 1 degrees of freedom.
    """
    generator = np.random.default_rng(SEED)
    step = max(1, _CHUNK // others)
    largest = []
    for start in range(0, draws, step):
        size = (min(step, draws - start), others)
        squared = generator.standard_normal(size) ** 2
        largest.append(np.sqrt((squared / (squared + generator.chisquare(dimensions - 1, size))).max(axis=1)))
    return np.concatenate(largest)


def known(value: float, digits: int, period: float | None = None) -> float | None:
    """A figure, rounded, an angle modulo its period; None for NaN."""
    if np.isnan(value):
        return None
    rounded = round(float(value), digits)
    return rounded % period if period else rounded
