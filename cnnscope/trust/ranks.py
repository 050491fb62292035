"""Rank correlation of maps, and the correlation that unrelated maps of the same smoothness reach by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CERTAIN = 0.95


def ranks(values: NDArray[np.floating]) -> Floats:
    """Ranks from 0, in the shape of ``values``; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Floats = (last - (counts + 1) / 2)[place].reshape(values.shape)
    return shared


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Spearman's rank correlation: Pearson's of the ranks, ties included. None where a map is the same everywhere."""
    p, q = _standard(a), _standard(b)
    return None if p is None or q is None else float(np.clip((p * q).sum(), -1, 1))


def chance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """The `CERTAIN` quantile of the magnitudes of Spearman's correlation over all shifts of one (H, W) map against the
    other, on a torus. Shifted maps are as smooth as these but unrelated.

    The Fourier transform computes all H W correlations at once. None where a map is the same everywhere.
    """
    p, q = _standard(a), _standard(b)
    if p is None or q is None:
        return None
    found = np.fft.irfft2(np.fft.rfft2(p) * np.fft.rfft2(q).conj(), s=p.shape)
    return float(min(np.quantile(np.abs(found), CERTAIN), 1.0))


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _standard(values: NDArray[np.floating]) -> Floats | None:
    """Ranks with mean 0 and Euclidean length 1; None where all values are equal or there are none."""
    if values.size == 0:
        return None
    found = ranks(values)
    found -= found.mean()
    length = np.sqrt((found**2).sum())
    return None if length == 0 else found / length
