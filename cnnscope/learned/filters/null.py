"""What chance gives: figures of random kernels, and how often one of them is at least as large as what was found."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.typing import NDArray

Figures = NDArray[np.float64]
"""(n,) of a figure, one a kernel."""

DRAWS = 999
"""Random kernels a null distribution has: the smallest p-value is 1 / 1000."""
SEED = 0
_CHUNK = 4_000_000
"""Weights drawn at a time."""


def p_values(found: Figures, null: Figures) -> Figures:
    """(n,) of (1 + how many of ``null`` are at least as large) / (1 + how many there are); NaN stays NaN.

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
    """(draws,) of the largest absolute cosine between one random direction and ``others`` more.

    Directions are uniform, so the one may be the first axis: the cosine of the rest with it is g / sqrt(g^2 + c), with
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
