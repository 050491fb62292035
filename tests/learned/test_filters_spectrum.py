"""Orientation, peak and bandwidth: gratings of known angle, closed forms, and numpy's Fourier transform."""

from __future__ import annotations

from math import log2, pi, radians
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnscope.learned.filters.kernels import classic
from cnnscope.learned.filters.spectrum import autocorrelation, band, orientation


def grating(n: int, angle: float, wavelength: float, phase: float = 0.4, spread: float | None = None) -> NDArray[Any]:
    """(n, n) stripes that run at ``angle`` degrees anticlockwise, under a round window."""
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    across = x * np.sin(radians(angle)) + y * np.cos(radians(angle))
    window = np.exp(-(x**2 + y**2) / (2 * (spread or n / 5) ** 2))
    return window * np.cos(2 * pi * across / wavelength + phase)


def apart(a: float, b: float) -> float:
    """Degrees between two directions, which repeat after 180."""
    return abs((a - b + 90) % 180 - 90)


@pytest.mark.parametrize("angle", [0, 10, 30, 45, 60, 90, 110, 135, 170])
@pytest.mark.parametrize(("n", "wavelength"), [(7, 3.5), (11, 4.0), (15, 5.0)])
def test_gratings_of_known_angle(n: int, wavelength: float, angle: int) -> None:
    (found,), (coherence,) = orientation(grating(n, angle, wavelength)[None, None])
    assert apart(found, angle) < 1.5
    assert coherence > 0.6
    (frequency,) = band(grating(n, angle, wavelength)[None, None]).frequency
    assert frequency == pytest.approx(1 / wavelength, abs=0.02)


def test_a_drawn_line_has_its_angle() -> None:
    rising = np.fliplr(np.eye(7))
    assert orientation(np.stack([rising, np.eye(7)])[:, None])[0] == pytest.approx([45.0, 135.0])


def test_colour_does_not_matter_nor_sign_nor_size() -> None:
    stripes = grating(9, 30, 4)
    filters = np.stack([np.stack([stripes * a, stripes * b, stripes * c]) for a, b, c in ((1, 1, 1), (-3, 0.1, 2))])
    degrees, coherence = orientation(filters)
    assert degrees[0] == pytest.approx(degrees[1])
    assert coherence[0] == pytest.approx(coherence[1])


def test_what_has_no_direction() -> None:
    bank = {kernel.name: kernel.weights for kernel in classic(5, 5)}
    names = ("Gaussian", "Laplacian", "box blur", "identity")
    round_ones = np.stack([*(bank[name] for name in names), np.zeros((5, 5))])
    assert np.isnan(orientation(round_ones[:, None])[0]).all()
    for shape in ((1, 5), (5, 1), (1, 1)):
        assert np.isnan(np.concatenate(orientation(np.ones((2, 3, *shape))))).all()


def test_power_is_the_squared_fourier_transform() -> None:
    filters = np.random.default_rng(2).standard_normal((4, 3, 5, 7))
    correlations = autocorrelation(filters)
    for one, correlation in zip(filters, correlations, strict=True):
        for fy, fx in ((0.0, 0.0), (0.13, 0.31), (-0.4, 0.2)):
            y, x = np.mgrid[:5, :7]
            direct = sum(abs((kernel * np.exp(-2j * pi * (fy * y + fx * x))).sum()) ** 2 for kernel in one)
            dy, dx = np.meshgrid(np.fft.fftfreq(9, 1 / 9), np.fft.fftfreq(13, 1 / 13), indexing="ij")
            assert (correlation * np.cos(2 * pi * (fy * dy + fx * dx))).sum() == pytest.approx(direct)


def test_sobels_bandwidth_in_closed_form() -> None:
    """1 0 -1 has the amplitude 2 sin(2 pi f): half of its peak at 1/12 and 5/12 cycles a pixel."""
    found = band(np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])[None, None])
    assert found.frequency[0] == pytest.approx(0.25, abs=1e-3)
    assert found.octaves[0] == pytest.approx(log2(5), abs=0.02)
    assert found.kind == ("band-pass",)


def test_a_gabor_function_of_0_56_wavelengths_has_one_octave() -> None:
    """Petkov & Kruizinga 1997, section 2: s = 0.56 wavelengths is a half-amplitude bandwidth of one octave."""
    found = band(grating(31, 30, 5.0, phase=0.0, spread=0.56 * 5.0)[None, None])
    assert found.octaves[0] == pytest.approx(1.0, abs=0.03)


def test_peaks_are_those_of_a_padded_transform() -> None:
    noise = np.random.default_rng(4).standard_normal((6, 1, 2, 7, 7))
    for i, filters in enumerate(noise):
        filters = grating(7, 25 * i, 3 + i / 3, phase=i) + 0.2 * filters
        power = (np.abs(np.fft.fft2(filters, s=(256, 256))) ** 2).sum(axis=(0, 1))
        fy, fx = np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256), indexing="ij")
        radius = np.hypot(fy, fx)
        power[radius > 0.5] = 0
        expected = radius[np.unravel_index(power.argmax(), power.shape)]
        assert band(filters).frequency[0] == pytest.approx(expected, abs=0.012)


def test_open_ends_are_named() -> None:
    bank = {kernel.name: kernel.weights for kernel in classic(3, 3)}
    filters = np.stack([bank["Gaussian"], bank["Laplacian"], bank["identity"], np.zeros((3, 3))])[:, None]
    found = band(filters)
    assert found.kind == ("low-pass", "high-pass", "all-pass", None)
    assert np.isnan(found.octaves).all()
    assert found.frequency[:2] == pytest.approx([0.0, 0.5])
    row = np.array([1.0, 0, -1])
    lying, standing = band(row[None, None, None]).octaves[0], band(row[None, None, :, None]).octaves[0]
    assert lying == standing == pytest.approx(2.32, abs=0.02)
