"""The frequencies to which a filter responds: orientation and its coherence, peak frequency and bandwidth.

A filter's power at a frequency is the sum over its input channels of the squared magnitude of their Fourier transforms,
on a polar grid up to half a cycle per pixel, so that all directions have the same range. It follows exactly
from the autocorrelation (Wiener-Khinchin): P(f) = sum_d A(d) cos(2 pi f d).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.render.kernels import Pass

Filters = NDArray[np.floating[Any]]
"""(filters, channels, height, width)."""
Figures = NDArray[np.float64]
"""(filters,); NaN where a filter has no such figure."""

_ANGLES = 72
_RADII = 48
_NYQUIST = 0.5
_FINE = 1024
_CHUNK = 2_000_000


@dataclass(frozen=True, eq=False)
class Band:
    """For each filter: ``frequency`` of the peak in cycles a pixel, ``octaves`` between the half-amplitude points.

    ``kind`` is ``low-pass``, ``high-pass`` or ``all-pass`` where the amplitude does not fall to a half below the peak,
    above it, or on either side; then ``octaves`` is NaN, and without a peak ``frequency``. Filters of zeros have kind
    None.
    """

    frequency: Figures
    octaves: Figures
    kind: tuple[Pass | None, ...]


def orientation(filters: Filters) -> tuple[Figures, Figures]:
    """Degrees of the stripes, [0, 180) anticlockwise from the horizontal; coherence from 0 (any direction) to 1 (one).

    z = sum P(f) exp(2 i t) / sum P(f) over the frequencies f of the filter without its mean, t being the angle of the
    stripes of f; orientation is half the angle of z, coherence its size. Both NaN for a filter without an oriented
    part: one row, one column, a constant.
    Source: Bigün & Granlund 1987, "Optimal orientation detection of linear symmetry", in the frequency domain.
    """
    if min(filters.shape[2:]) == 1:
        nothing = np.full(len(filters), np.nan)
        return nothing, nothing
    angles = np.arange(_ANGLES) * pi / _ANGLES
    radii = (np.arange(_RADII) + 0.5) * _NYQUIST / _RADII
    correlations = autocorrelation(filters, without_mean=True)
    by_angle = _at(correlations, angles, radii) @ radii
    total = by_angle.sum(axis=1)
    flat = correlations[:, 0, 0] <= 1e-12 * np.square(filters, dtype=np.float64).sum(axis=(1, 2, 3))
    z = (by_angle @ np.exp(2j * angles)) / np.where(flat, 1.0, total)
    degrees = np.degrees(np.angle(z)) / 2 % 180
    return np.where(flat | (np.abs(z) < 1e-9), np.nan, degrees), np.where(flat, np.nan, np.abs(z))


def band(filters: Filters) -> Band:
    """Peak and half-amplitude bandwidth along the direction of the peak (De Valois et al. 1982, octaves)."""
    angles = np.arange(_ANGLES) * pi / _ANGLES
    if filters.shape[2] == 1:
        angles = np.array([pi / 2])  # stripes of a row of pixels stand
    elif filters.shape[3] == 1:
        angles = np.array([0.0])
    radii = np.linspace(0.0, _NYQUIST, _RADII + 1)
    correlations = autocorrelation(filters)
    power = _at(correlations, angles, radii)
    strongest = power.reshape(len(power), -1).argmax(axis=1) // len(radii)
    fine = np.linspace(0.0, _NYQUIST, _FINE + 1)
    slices = [_along(one, angles[best], fine) for one, best in zip(correlations, strongest, strict=True)]
    bands = [_band(along, fine) for along in slices]
    return Band(np.array([b[0] for b in bands]), np.array([b[1] for b in bands]), tuple(b[2] for b in bands))


def _band(power: NDArray[np.float64], radii: NDArray[np.float64]) -> tuple[float, float, Pass | None]:
    peak = int(power.argmax())
    if power[peak] <= 0:
        return np.nan, np.nan, None
    below = np.flatnonzero(power < power[peak] / 4)  # half the amplitude is a quarter of the power
    low, high = below[below < peak], below[below > peak]
    if len(low) and len(high):
        return radii[peak], float(np.log2(radii[high[0]] / radii[low[-1] + 1])), "band-pass"
    if not len(low) and not len(high):
        return np.nan, np.nan, "all-pass"
    return radii[peak], np.nan, "high-pass" if len(low) else "low-pass"


def autocorrelation(filters: Filters, *, without_mean: bool = False) -> NDArray[np.float64]:
    """(filters, 2 height - 1, 2 width - 1) summed over channels, displacement 0 first."""
    height, width = filters.shape[2:]
    size = (2 * height - 1, 2 * width - 1)
    step = max(1, _CHUNK // (filters.shape[1] * size[0] * size[1]))
    parts = []
    for start in range(0, len(filters), step):
        some = filters[start : start + step].astype(np.float64)
        if without_mean:
            some -= some.mean(axis=(2, 3), keepdims=True)
        spectrum = np.fft.rfft2(some, s=size)
        parts.append(np.fft.irfft2((np.abs(spectrum) ** 2).sum(axis=1), s=size))
    return np.concatenate(parts)


def _at(
    correlations: NDArray[np.float64], angles: NDArray[np.float64], radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(filters, angles, radii) power; the wave of stripes at angle t runs along (x, y) = (sin t, cos t), y down."""
    rows, columns = correlations.shape[1:]
    y, x = np.fft.fftfreq(rows, 1 / rows), np.fft.fftfreq(columns, 1 / columns)
    along = np.sin(angles)[:, None, None] * x + np.cos(angles)[:, None, None] * y[:, None]
    waves = np.cos(2 * pi * radii[:, None] * along.reshape(len(angles), 1, -1))
    power = np.tensordot(correlations.reshape(len(correlations), -1), waves, axes=([1], [2]))
    return np.maximum(power, 0.0)


def _along(correlation: NDArray[np.float64], angle: float, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """(radii,) power, as `_at` has it: a wave in one direction is a product of a wave down and one across."""
    rows, columns = correlation.shape
    down = np.exp(2j * pi * np.outer(radii * np.cos(angle), np.fft.fftfreq(rows, 1 / rows)))
    across = np.exp(2j * pi * np.outer(radii * np.sin(angle), np.fft.fftfreq(columns, 1 / columns)))
    power: NDArray[np.complex128] = np.einsum("rx,rx->r", down @ correlation, across)
    return np.maximum(power.real, 0.0)
