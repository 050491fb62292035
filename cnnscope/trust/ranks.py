"""Rank correlation of maps, and how much of it chance gives maps as smooth as these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CERTAIN = 0.95


def ranks(values: NDArray[np.floating]) -> Floats:
    """Ranks from 0, of the shape of ``values``; equal values share the mean of theirs."""
    _, place, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Floats = (last - (counts + 1) / 2)[place].reshape(values.shape)
    return shared


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Spearman's rank correlation: Pearson's of the ranks, ties included. None where a map is the same everywhere."""
    p, q = _standard(a), _standard(b)
    return None if p is None or q is None else float(np.clip((p * q).sum(), -1, 1))


def chance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """The magnitude that Spearman's correlation of (H, W) maps keeps under in `CERTAIN` of all shifts against each
    other, on a torus: what maps that have nothing to do with each other but are just as smooth come to.

    All H W correlations at once, by the Fourier transform. None where a map is the same everywhere.
    """
    p, q = _standard(a), _standard(b)
    if p is None or q is None:
        return None
    found = np.fft.irfft2(np.fft.rfft2(p) * np.fft.rfft2(q).conj(), s=p.shape)
    return float(min(np.quantile(np.abs(found), CERTAIN), 1.0))


def mean(values: Sequence[float | None]) -> float | None:
    """Of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _standard(values: NDArray[np.floating]) -> Floats | None:
    """Ranks about 0 of length 1; None where all are equal, or there are none."""
    if values.size == 0:
        return None
    found = ranks(values)
    found -= found.mean()
    length = np.sqrt((found**2).sum())
    return None if length == 0 else found / length
