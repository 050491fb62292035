"""Designed kernels of any size, with which learned filters are compared.

All are written for cross-correlation, as networks compute it: ``y[i] = sum_k w[k] x[i + k]``, nothing is flipped.
Angles are those of the stripes or edges to which a kernel responds, in degrees anticlockwise from the horizontal as the
picture is seen: 0 is horizontal, 90 vertical, 45 rises to the right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import comb, cos, pi, radians, sin
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float64]
"""(height, width)."""

SMALLEST_GABOR = 5
"""On 3x3 a Gabor function has as many free parameters as there are weights: a bank of them fits white noise."""
_ORIENTATIONS = tuple(22.5 * i for i in range(8))
_CYCLES = (1.0, 1.5, 2.0, 3.0)
"""Periods across the kernel; those shorter than `_SHORTEST` pixels are left out."""
_SHORTEST = 2.5
_PHASES = {"odd": "edges", "even": "lines"}


@dataclass(frozen=True, eq=False)
class Kernel:
    """A named kernel. ``family`` is ``smooth`` if its weights add up to 1, else ``edge`` (0 for designed ones)."""

    name: str
    weights: Grid
    about: str
    family: Literal["smooth", "edge"]


@cache
def classic(height: int, width: int) -> tuple[Kernel, ...]:
    """Every designed kernel that exists at this size; none for 1x1.

    Identity and sharpening need a middle, so both sides are odd; an edge needs two pixels, the Laplacian three, a Gabor
    function `SMALLEST_GABOR`.
    """
    if height * width == 1:
        return ()
    return (*_plain(height, width), *gabors(height, width))


def _plain(height: int, width: int) -> Iterator[Kernel]:
    if width > 1:
        yield Kernel("Sobel x", sobel_x(height, width), "responds to vertical edges", "edge")
    if height > 1:
        yield Kernel("Sobel y", sobel_x(width, height).T.copy(), "responds to horizontal edges", "edge")
    yield Kernel("Gaussian", gaussian(height, width), "blurs, near pixels count more", "smooth")
    if max(height, width) > 2:
        yield Kernel("Laplacian", laplacian(height, width), "responds to spots and to edges of any direction", "edge")
    if height % 2 and width % 2:
        yield Kernel("sharpen", sharpen(height, width), "adds what a blur would take away", "smooth")
    yield Kernel("box blur", box(height, width), "blurs, all pixels count alike", "smooth")
    if height % 2 and width % 2:
        yield Kernel("identity", identity(height, width), "changes nothing", "smooth")


def gabors(height: int, width: int) -> tuple[Kernel, ...]:
    """Gabor functions of 8 orientations, up to 4 wavelengths and 2 phases; none below 5x5."""
    side = min(height, width)
    if side < SMALLEST_GABOR:
        return ()
    wavelengths = [side / cycles for cycles in _CYCLES if side / cycles >= _SHORTEST]
    return tuple(
        Kernel(f"Gabor {angle:g} deg {wavelength:.3g} px {phase}", gabor(height, width, angle, wavelength, phase),
               f"responds to {_PHASES[phase]} at {angle:g} degrees, {wavelength:.3g} pixels apart", "edge")
        for wavelength in wavelengths for phase in _PHASES for angle in _ORIENTATIONS
    )  # fmt: skip


def own(weights: Grid) -> Kernel:
    """A kernel that the user gave."""
    keeps = abs(float(weights.sum()) - 1) < 1e-9
    return Kernel("own", weights, "as given", "smooth" if keeps else "edge")


def binomial(n: int) -> NDArray[np.float64]:
    """(n,) row of Pascal's triangle, the discrete Gaussian of variance (n - 1) / 4: 1 2 1, 1 4 6 4 1."""
    return np.array([comb(n - 1, k) for k in range(n)], np.float64)


def derivative(n: int) -> NDArray[np.float64]:
    """(n,) difference of a smoothed signal, positive where it is brighter on the left: 1 -1, 1 0 -1, 1 2 0 -2 -1."""
    return np.convolve(binomial(n - 1), [1.0, -1.0])


def sobel_x(height: int, width: int) -> Grid:
    """(height, width) vertical edge detector: `binomial` down, `derivative` across.

    3x3: 1 0 -1; 2 0 -2; 1 0 -1. Positive where it is brighter on the left.
    Source: Sobel & Feldman 1968, in Duda & Hart 1973, "Pattern Classification and Scene Analysis", section 7.3.
    """
    return np.outer(binomial(height), derivative(width))


def gaussian(height: int, width: int) -> Grid:
    """(height, width) binomial blur, standard deviation sqrt(n - 1) / 2 pixels an axis; adds up to 1.

    Source: Burt & Adelson 1983, "The Laplacian pyramid as a compact image code", section on the generating kernel.
    """
    blur: Grid = np.outer(binomial(height), binomial(width))
    blur /= blur.sum()
    return blur


def laplacian(height: int, width: int) -> Grid:
    """(height, width) second differences along both axes of a blurred image; adds up to 0, its lowest weight is -4.

    3x3: 0 1 0; 1 -4 1; 0 1 0. Larger ones are that stencil after a `gaussian` of n - 2.
    Source: Gonzalez & Woods, "Digital Image Processing", section on the second derivative; the blur: Marr & Hildreth
    1980, "Theory of edge detection".
    """
    tall, wide = height > 2, width > 2
    blur = gaussian(height - 2 if tall else height, width - 2 if wide else width)
    framed = np.pad(blur, ((2, 2) if tall else (0, 0), (2, 2) if wide else (0, 0)))
    inner = slice(1, -1)
    result = np.zeros((height, width))
    columns = framed[:, inner] if wide else framed
    rows = framed[inner] if tall else framed
    if tall:
        result += columns[:-2] - 2 * columns[inner] + columns[2:]
    if wide:
        result += rows[:, :-2] - 2 * rows[:, inner] + rows[:, 2:]
    result *= -4 / result.min()
    return result


def sharpen(height: int, width: int) -> Grid:
    """(height, width) `identity` minus `laplacian`: 0 -1 0; -1 5 -1; 0 -1 0. Adds up to 1: plain areas do not change.

    Source: Gonzalez & Woods, "Digital Image Processing", section on sharpening with the Laplacian.
    """
    return identity(height, width) - laplacian(height, width)


def box(height: int, width: int) -> Grid:
    """(height, width) mean of the window: every weight is 1 / (height * width)."""
    return np.full((height, width), 1 / (height * width))


def identity(height: int, width: int) -> Grid:
    """(height, width) 1 in the middle, 0 elsewhere."""
    result = np.zeros((height, width))
    result[height // 2, width // 2] = 1.0
    return result


def gabor(height: int, width: int, angle: float, wavelength: float, phase: str) -> Grid:
    """(height, width) Gabor function without a mean, its largest absolute weight 1.

    exp(-(u^2 + v^2 / 4) / (2 s^2)) * cos(2 pi u / wavelength) for ``even`` phase, sin for ``odd``; u runs across the
    stripes, v along them, ``angle`` is theirs in degrees. s is 0.56 wavelengths, a bandwidth of one octave, but at most
    a quarter of the kernel, so that the envelope lies inside.
    Source: Daugman 1985, "Uncertainty relation for resolution in space, spatial frequency, and orientation optimized by
    two-dimensional visual cortical filters"; s and the aspect of 1/2: Petkov & Kruizinga 1997, section 2.
    """
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    theta = radians(angle)
    across, along = x * sin(theta) + y * cos(theta), x * cos(theta) - y * sin(theta)
    spread = min(0.56 * wavelength, min(height, width) / 4)
    envelope = np.exp(-(across**2 + along**2 / 4) / (2 * spread**2))
    carrier = np.cos if phase == "even" else np.sin
    wave = envelope * carrier(2 * pi * across / wavelength)
    wave -= envelope * (wave.sum() / envelope.sum())
    wave /= np.abs(wave).max()
    return np.where(np.abs(wave) < 1e-12, 0.0, wave)
