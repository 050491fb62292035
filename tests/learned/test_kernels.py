"""Designed kernels: as textbooks print them, and by what defines each."""

from __future__ import annotations

import cmath
import io
from math import cos, pi, radians, sin

import numpy as np
import pytest
from PIL import Image

from cnnscope.learned.filters import gallery
from cnnscope.learned.filters.gallery import respond
from cnnscope.learned.filters.kernels import classic, gabor, gabors, gaussian, laplacian, own, sobel_x

SIZES = [(2, 2), (3, 3), (4, 4), (5, 5), (7, 7), (11, 11), (1, 3), (3, 1), (1, 2), (3, 5), (6, 3)]
PRINTED = {  # the lectures' slides "Examples of convolutional filters"; sharpening as in Gonzalez & Woods
    "Sobel x": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "Sobel y": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "box blur": [[1 / 9] * 3] * 3,
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "Laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "Gaussian": [[1 / 16, 2 / 16, 1 / 16], [2 / 16, 4 / 16, 2 / 16], [1 / 16, 2 / 16, 1 / 16]],
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
}


def test_those_of_three_are_as_printed() -> None:
    found = {kernel.name: kernel.weights for kernel in classic(3, 3)}
    assert found.keys() == PRINTED.keys()
    for name, weights in PRINTED.items():
        np.testing.assert_allclose(found[name], weights, atol=1e-15)


def test_larger_sobels_are_those_of_opencv() -> None:
    """`cv2.getDerivKernels(1, 0, n)` as its documentation and tests have them, up to its sign."""
    np.testing.assert_array_equal(sobel_x(5, 5), np.outer([1, 4, 6, 4, 1], [1, 2, 0, -2, -1]))
    np.testing.assert_array_equal(sobel_x(7, 7), np.outer([1, 6, 15, 20, 15, 6, 1], [1, 4, 5, 0, -5, -4, -1]))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_blurs_keep_plain_areas_and_edges_ignore_them(size: tuple[int, int]) -> None:
    bank = classic(*size)
    assert bank
    for kernel in bank:
        assert kernel.weights.shape == size
        assert kernel.weights.sum() == pytest.approx(1.0 if kernel.family == "smooth" else 0.0, abs=1e-9), kernel.name


@pytest.mark.parametrize("n", [3, 5, 7, 11])
def test_a_laplacian_measures_curvature_alone(n: int) -> None:
    y, x = np.mgrid[:40, :40].astype(float)
    inside = slice(n, -n)
    slope = respond(laplacian(n, n), 2 * x - 3 * y)[inside, inside]
    bowl = respond(laplacian(n, n), x**2 + y**2)[inside, inside]
    np.testing.assert_allclose(slope, 0, atol=1e-9)
    np.testing.assert_allclose(bowl, bowl[0, 0])
    assert bowl[0, 0] > 0
    assert laplacian(n, n).min() == pytest.approx(-4)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 11])
def test_a_gaussian_has_the_variance_it_states(n: int) -> None:
    across = gaussian(n, n).sum(axis=0)
    at = np.arange(n) - (n - 1) / 2
    assert (across * at**2).sum() == pytest.approx((n - 1) / 4)


@pytest.mark.parametrize("phase", ["odd", "even"])
@pytest.mark.parametrize("angle", [0.0, 22.5, 45.0, 90.0, 112.5])
def test_a_gabor_function_answers_most_to_gratings_of_its_angle(angle: float, phase: str) -> None:
    kernel = gabor(15, 15, angle, 5.0, phase)
    at = np.arange(15) - 7.0

    def answer(degrees: float) -> float:  # the Fourier transform, term by term
        fx, fy = sin(radians(degrees)) / 5, cos(radians(degrees)) / 5
        terms = (kernel[i, j] * cmath.exp(-2j * pi * (fx * at[j] + fy * at[i])) for i in range(15) for j in range(15))
        return abs(sum(terms))

    assert max(np.arange(0, 180, 4.5), key=answer) == angle
    assert abs(kernel.sum()) < 1e-9
    assert np.abs(kernel).max() == 1.0


def test_where_a_kernel_cannot_be_there_is_none() -> None:
    assert classic(1, 1) == ()
    assert gabors(3, 3) == gabors(4, 7) == ()
    assert not {"identity", "sharpen"} & {kernel.name for kernel in classic(4, 4)}
    assert [kernel.name for kernel in classic(1, 2)] == ["Sobel x", "Gaussian", "box blur"]


def test_names_are_unique() -> None:
    for size in SIZES:
        names = [kernel.name for kernel in classic(*size)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("size", [(3, 3), (2, 4), (5, 1)], ids=str)
def test_responses_are_those_of_torch(size: tuple[int, int]) -> None:
    import torch
    from torch.nn.functional import conv2d, pad

    generator = np.random.default_rng(3)
    image, kernel = generator.random((9, 13)), generator.standard_normal(size)
    top, left = size[0] // 2, size[1] // 2
    x = torch.from_numpy(image)[None, None]
    framed = pad(x, (left, size[1] - 1 - left, top, size[0] - 1 - top), mode="replicate")
    expected = conv2d(framed, torch.from_numpy(kernel)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(respond(kernel, image), expected, atol=1e-12)


def test_a_blur_of_a_plain_image_is_the_image_and_an_edge_of_it_nothing() -> None:
    plain = np.full((12, 10), 0.25)
    for kernel in classic(5, 5):
        expected = plain if kernel.family == "smooth" else np.zeros_like(plain)
        np.testing.assert_allclose(respond(kernel.weights, plain), expected, atol=1e-9)


def test_pictures_are_drawn_and_the_same_twice() -> None:
    image = np.random.default_rng(0).random((20, 30))
    drawn = []
    for size in ((5, 5), (1, 3), (1, 3)):
        kernels = classic(*size)
        chosen = [kernels[i] for i in gallery.shown(kernels)]
        made = [respond(kernel.weights, image) for kernel in chosen]
        drawn.append(gallery.draw(chosen, made, image, "title", "png"))
    assert all(content.startswith(b"\x89PNG") for content in drawn)
    assert drawn[0] != drawn[1] == drawn[2]
    names = [classic(7, 7)[i].name for i in gallery.shown(classic(7, 7))]
    assert sum(name.startswith("Gabor") for name in names) == 4


def test_a_kernel_of_zeros_is_drawn_too() -> None:
    kernel, image = own(np.zeros((3, 3))), np.zeros((4, 4))
    assert gallery.draw([kernel], [respond(kernel.weights, image)], image, "nothing", "svg").startswith(b"<?xml")


def levels(name: str, image: np.ndarray) -> tuple[int, int, int]:
    """How many pixels of a kernel's picture are full blue, full red, and black; the tile of the weights has some."""
    kernel = next(one for one in classic(3, 3) if one.name == name)
    content = gallery.draw([kernel], [respond(kernel.weights, image)], image, "title", "png")
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return (int(((blue > 70) & (red < 40)).sum()), int(((red > 80) & (green < 40)).sum()),
            int((pixels.max(-1) < 5).sum()))  # fmt: skip


@pytest.mark.parametrize("contrast", [1.0, 0.1, 0.001])
def test_a_weak_response_is_as_visible_as_a_strong_one(contrast: float) -> None:
    image = np.full((20, 20), 0.5)
    plain = levels("Laplacian", image), levels("box blur", image)
    image[:, 10:] += contrast / 2
    laplacian, blur = levels("Laplacian", image), levels("box blur", image)
    assert laplacian[0] > plain[0][0] + 1000
    assert laplacian[1] > plain[0][1] + 1000
    assert blur[2] > plain[1][2] + 10000
