"""Figures beside chance: p-values are uniform where there is nothing, tiny where something was planted."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnscope.learned.filters import figures
from cnnscope.learned.filters.figures import figure, redundant, similar
from cnnscope.learned.filters.kernels import classic, gabor, sobel_x

SMALLEST = 1 / (1 + figures.DRAWS)


def noise(*shape: int, seed: int = 11) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Kolmogorov-Smirnov: the largest gap between two empirical distributions."""
    at = np.concatenate([a, b])
    below = (np.searchsorted(np.sort(sample), at, side="right") / len(sample) for sample in (a, b))
    return float(np.abs(np.subtract(*below)).max())


def limit(n: int, m: int) -> float:
    """What the distance of samples of one distribution exceeds once in a thousand times."""
    return 1.95 * sqrt((n + m) / (n * m))


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 5, 5), (16, 3, 3)], ids=str)
def test_p_values_of_noise_are_uniform(shape: tuple[int, int, int]) -> None:
    found = figure(noise(500, *shape))
    uniform = (np.arange(20_000) + 0.5) / 20_000
    for values in (found.similarity_p, found.coherence_p):
        assert distance(values, uniform) < limit(500, figures.DRAWS)


def test_the_p_value_of_a_twin_is_uniform_too() -> None:
    found = np.array([redundant(layer)[1][0] for layer in noise(300, 8, 2, 3, 3, seed=7)])
    chosen = figures.p_values(found, figures.of_largest_cosine(7, 18))
    assert distance(chosen, (np.arange(20_000) + 0.5) / 20_000) < limit(300, figures.DRAWS)


def test_that_test_can_fail() -> None:
    smooth = noise(300, 1, 5, 5) + 2 * gabor(5, 5, 45, 3.3, "odd")
    assert distance(figure(smooth).similarity_p, np.linspace(0, 1, 20_000)) > limit(300, figures.DRAWS)


@pytest.mark.parametrize(("others", "size"), [(1, 9), (15, 27), (63, 2)])
def test_chance_of_a_twin_is_that_of_drawn_filters(others: int, size: int) -> None:
    directions = noise(1500, others + 1, size, seed=3)
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    brute = np.abs(np.einsum("nd,nkd->nk", directions[:, 0], directions[:, 1:])).max(axis=1)
    assert distance(figures.of_largest_cosine(others, size), brute) < limit(1500, figures.DRAWS)


def test_p_counts_what_is_at_least_as_large() -> None:
    drawn = np.array([0.1, 0.2, 0.2, 0.9])
    found = figures.p_values(np.array([0.05, 0.2, 0.91, np.nan]), drawn)
    np.testing.assert_array_equal(found, [1.0, 4 / 5, 1 / 5, np.nan])


@pytest.mark.parametrize("size", [3, 5, 7, 11])
def test_a_planted_sobel_is_found(size: int) -> None:
    layer = noise(8, 3, size, size)
    layer[5] = np.array([1.0, -0.5, 2.0])[:, None, None] * sobel_x(size, size)
    found = figure(layer)
    assert found.bank[found.nearest[5]] == "Sobel x"
    assert found.similarity[5] == pytest.approx(1.0)
    assert found.similarity_p[5] == SMALLEST
    assert found.orientation[5] == pytest.approx(90.0)


def test_every_kernel_is_nearest_to_itself_whatever_its_sign() -> None:
    for size in ((3, 3), (5, 5), (4, 4), (1, 3)):
        bank = classic(*size)
        nearest, cosines = similar(np.stack([-0.3 * kernel.weights for kernel in bank])[:, None])
        assert nearest.tolist() == list(range(len(bank)))
        np.testing.assert_allclose(cosines, 1.0)


def test_similarity_is_the_best_over_weights_of_channels() -> None:
    layer = noise(5, 4, 3, 3)
    index, cosines = similar(layer)
    for one, best, cosine in zip(layer, index, cosines, strict=True):
        found = []
        for kernel in classic(3, 3):
            basis = np.kron(np.eye(4), kernel.weights.reshape(-1, 1))  # the kernel on each channel alone
            mix = basis @ np.linalg.lstsq(basis, one.ravel(), rcond=None)[0]
            found.append(float(mix @ one.ravel() / np.linalg.norm(mix) / np.linalg.norm(one)))
        assert cosine == pytest.approx(max(found))
        assert best == int(np.argmax(found))


def test_twins_by_brute_force() -> None:
    layer = noise(7, 2, 3, 3)
    layer[4] = -2 * layer[1]
    twin, cosine = redundant(layer)
    flat = layer.reshape(7, -1)
    for i in range(7):
        others = {
            j: abs(float(flat[i] @ flat[j])) / float(np.linalg.norm(flat[i]) * np.linalg.norm(flat[j]))
            for j in range(7) if j != i
        }  # fmt: skip
        assert twin[i] == max(others, key=others.__getitem__)
        assert cosine[i] == pytest.approx(max(others.values()))
    assert (twin[1], twin[4]) == (4, 1)


def test_filters_of_zeros_have_a_norm_and_nothing_else() -> None:
    layer = noise(4, 2, 5, 5)
    layer[2] = 0
    found = figure(layer)
    assert found.norm[2] == 0
    assert (found.nearest[2], found.twin[2]) == (-1, -1)
    assert 2 not in found.twin
    for values in (found.orientation, found.coherence_p, found.similarity_p, found.redundancy, found.redundancy_p):
        assert np.isnan(values[2])
        assert np.isfinite(values[[0, 1, 3]]).all()


def test_1x1_kernels_have_twins_alone() -> None:
    found = figure(noise(6, 4, 1, 1))
    assert np.isnan(found.similarity).all()
    assert np.isnan(found.orientation).all()
    assert found.band is None
    assert np.isfinite(found.redundancy_p).all()
    assert np.isnan(figure(noise(6, 1, 1, 1)).redundancy).all()
    assert np.isnan(figure(noise(1, 3, 3, 3)).redundancy).all()


def test_no_gabor_on_3x3() -> None:
    assert not any(name.startswith("Gabor") for name in figure(noise(3, 1, 3, 3)).bank)
    assert sum(name.startswith("Gabor") for name in figure(noise(3, 1, 5, 5)).bank) == 8 * 3 * 2
