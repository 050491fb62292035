"""Rank correlations: against scipy, and what chance gives against a loop over all shifts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from cnnscope.trust.ranks import chance, ranks, spearman

GENERATOR = np.random.default_rng(0)
MAPS = {
    "different": GENERATOR.normal(size=(2, 7, 9)),
    "ties": GENERATOR.integers(0, 4, (2, 7, 9)).astype(float),
    "mostly zero": GENERATOR.normal(size=(2, 7, 9)) * (GENERATOR.random((2, 7, 9)) < 0.2),
    "two values": (GENERATOR.random((2, 7, 9)) < 0.3).astype(float),
}


@pytest.mark.parametrize("name", MAPS)
def test_correlations_are_those_of_scipy(name: str) -> None:
    a, b = MAPS[name]
    assert np.array_equal(ranks(a).ravel() + 1, rankdata(a))
    assert spearman(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-12)
    assert spearman(a, np.exp(a)) == pytest.approx(1, abs=1e-12)
    assert spearman(a, -a) == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("name", MAPS)
def test_chance_is_the_quantile_over_all_shifts(name: str) -> None:
    a, b = MAPS[name]
    shifted = [
        abs(spearmanr(a.ravel(), np.roll(b, (dy, dx), (0, 1)).ravel()).statistic) for dy in range(7) for dx in range(9)
    ]
    assert chance(a, b) == pytest.approx(np.quantile(shifted, 0.95), abs=1e-12)


def test_smooth_maps_correlate_more_by_chance() -> None:
    noise = GENERATOR.normal(size=(2, 64, 64))
    smooth = np.stack([np.real(np.fft.ifft2(np.fft.fft2(one) * (np.add.outer(k := np.minimum(np.arange(64), 64 -
                       np.arange(64)), k) < 6))) for one in noise])  # fmt: skip
    assert chance(*smooth) > 5 * chance(*noise)
    assert chance(*noise) < 0.05


def test_maps_without_order_have_no_correlation() -> None:
    flat = np.ones((3, 3))
    assert spearman(flat, np.arange(9.0).reshape(3, 3)) is None
    assert chance(np.arange(9.0).reshape(3, 3), flat) is None
    assert spearman(np.array([]), np.array([])) is None
