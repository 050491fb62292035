"""Warps against independent code: rolls, index arithmetic, torch.rot90, scipy, torch's own affine grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from cnnscope.audits.protocol.protocol import Draw, Transform, mirror, rotate, shift, zoom
from cnnscope.audits.protocol.transforms import (
    canvas,
    grids,
    inverse,
    reach,
    sample,
    sample_each,
    sliceable,
    warp,
    window,
)

SIZE = (32, 32)
BLACK = torch.tensor([-1.0, -2.0, -3.0])
ON_GRID = [
    shift(3, -5), shift(0, 8), rotate(90), rotate(180), rotate(270), mirror("horizontal"), mirror("vertical"),
    Transform("rotation", 90, "deg", "both", dy=2, dx=-3, angle=90),
    Transform("flip", 0, "", "all", dy=-1, dx=4, angle=270, flip="horizontal"),
]  # fmt: skip
OFF_GRID = [
    shift(0.5, -0.25), rotate(30), rotate(-7), zoom(0.7), zoom(1.4),
    Transform("rotation", 20, "deg", "all", dy=2.5, dx=-3, zoom=1.2, angle=20, flip="vertical"),
]  # fmt: skip


def images(n: int = 2, side: int = 32, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def around(x: Tensor, margin: int = 40) -> Tensor:
    return canvas(x, SIZE, margin, "zero", torch.zeros(3))


def by_scipy(image: np.ndarray, t: Transform, size: tuple[int, int]) -> np.ndarray:
    """The middle of an image under a transform, from its definition: cos and sin in (row, column) coordinates."""
    angle = math.radians(t.angle)
    forward = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])  # counter-clockwise
    forward = t.zoom * forward @ np.diag([-1.0 if t.flip == "vertical" else 1, -1.0 if t.flip == "horizontal" else 1])
    back = np.linalg.inv(forward)
    middle, target = (np.array(image.shape) - 1) / 2, (np.array(size) - 1) / 2
    offset = middle - back @ (target + np.array([t.dy, t.dx]))
    return ndimage.affine_transform(image, back, offset, size, order=1, mode="grid-constant")


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (3, -5), (-8, 8), (31, 1)])
def test_whole_shifts_are_rolls_of_a_wrapped_canvas(dy: int, dx: int) -> None:
    x = images()
    wrapped = canvas(x, SIZE, 40, "circular", BLACK)
    assert torch.equal(window(wrapped, shift(dy, dx), SIZE), x.roll((dy, dx), (2, 3)))


def test_turns_and_mirrors_are_those_of_torch() -> None:
    x = images()
    for quarter in range(4):
        assert torch.equal(window(around(x), rotate(90 * quarter), SIZE), torch.rot90(x, quarter, (2, 3)))
    assert torch.equal(window(around(x), mirror("horizontal"), SIZE), x.flip(3))
    assert torch.equal(window(around(x), mirror("vertical"), SIZE), x.flip(2))


@pytest.mark.parametrize("t", ON_GRID, ids=lambda t: t.name)
def test_slices_and_samples_agree(t: Transform) -> None:
    x = around(images())
    assert sliceable(t, SIZE)
    exact, sampled = window(x, t, SIZE), sample(x, [t], SIZE)[0]
    assert (exact - sampled).abs().max() < 1e-4


@pytest.mark.parametrize("t", [*ON_GRID, *OFF_GRID], ids=lambda t: t.name)
def test_samples_are_those_of_scipy(t: Transform) -> None:
    x = around(images())
    expected = np.stack([by_scipy(plane.double().numpy(), t, SIZE) for plane in x.flatten(0, 1)]).reshape(2, 3, *SIZE)
    assert np.abs(sample(x, [t], SIZE)[0].numpy() - expected).max() < 1e-4


def test_a_rectangle_turns_about_its_centre() -> None:
    x = canvas(images(1, 32)[:, :, :20], (20, 32), 20, "zero", torch.zeros(3))
    exact = window(x, rotate(90), (20, 32))
    expected = by_scipy(x[0, 0].double().numpy(), rotate(90), (20, 32))
    assert np.abs(exact[0, 0].numpy() - expected).max() < 1e-6
    assert not sliceable(rotate(90), (21, 32))


def test_grids_are_those_of_torch() -> None:
    x = around(images(), 8)
    transforms = [*ON_GRID, *OFF_GRID]
    scale = SIZE[0] / x.shape[2]
    theta = torch.tensor(np.stack([np.c_[a * scale, 2 * b / x.shape[2]] for a, b in map(inverse, transforms)]))
    expected = functional.affine_grid(theta, [len(theta), 3, *SIZE], align_corners=False)
    assert (grids(transforms, SIZE, x) - expected).abs().max() < 1e-6


def test_each_image_under_a_transform_of_its_own() -> None:
    x = around(images())
    pair = [rotate(30), shift(0.5, 2)]
    together = sample(x, pair, SIZE)
    assert torch.equal(sample_each(x, pair, SIZE), torch.stack([together[0, 0], together[1, 1]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_stack_of_all_kinds(dtype: torch.dtype) -> None:
    x = around(images())
    slots = [shift(1, 2), rotate(30), [shift(1, 0), shift(0, 3)], zoom(0.8), [rotate(10), shift(0.5, 0)]]
    out = torch.empty(5, 2, *SIZE, 3, dtype=dtype).permute(0, 1, 4, 2, 3)  # channels last
    warp(out, x, slots)
    expected = [
        window(x, shift(1, 2), SIZE), sample(x, [rotate(30)], SIZE)[0],
        torch.cat([window(x[:1], shift(1, 0), SIZE), window(x[1:], shift(0, 3), SIZE)]),
        sample(x, [zoom(0.8)], SIZE)[0], sample_each(x, [rotate(10), shift(0.5, 0)], SIZE),
    ]  # fmt: skip
    assert torch.equal(out, torch.stack(expected).to(dtype))


@pytest.mark.parametrize(("border", "mode"), [("reflect", "reflect"), ("crop", "reflect"), ("circular", "wrap")])
@pytest.mark.parametrize("margin", [3, 31, 70])
def test_borders_are_those_of_numpy(border: str, mode: str, margin: int) -> None:
    x = images()
    around = ((0, 0), (0, 0), (margin, margin), (margin, margin))
    expected = np.pad(x.numpy(), around, mode=mode)  # type: ignore[call-overload]
    assert np.array_equal(canvas(x, SIZE, margin, border, BLACK).numpy(), expected)  # type: ignore[arg-type]


def test_fills_are_black_and_mean() -> None:
    x = images()
    black, mean = (canvas(x, SIZE, 2, border, BLACK) for border in ("zero", "mean"))  # type: ignore[arg-type]
    assert torch.equal(black[:, :, 2:-2, 2:-2], x)
    assert torch.equal(black[0, :, 0, 0], BLACK)
    assert mean[0, :, :2].abs().sum() == 0


def test_what_the_picture_has_is_shown_first() -> None:
    x = images(1, 40)
    assert torch.equal(canvas(x, SIZE, 4, "crop", BLACK, room=4), x)
    assert torch.equal(canvas(x, SIZE, 2, "crop", BLACK, room=4), x[:, :, 2:-2, 2:-2])
    mirrored = np.pad(x.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")
    assert np.array_equal(canvas(x, SIZE, 7, "crop", BLACK, room=9).numpy(), mirrored)
    assert torch.equal(canvas(x, SIZE, 2, "zero", BLACK)[:, :, 2:-2, 2:-2], x[:, :, 4:-4, 4:-4])


@pytest.mark.parametrize("t", [*ON_GRID, *OFF_GRID, zoom(0.4), rotate(45)], ids=lambda t: t.name)
def test_nothing_beyond_the_canvas_is_ever_read(t: Transform) -> None:
    margin = reach([t], SIZE)
    ones = torch.ones(1, 1, *(n + 2 * margin for n in SIZE))  # beyond its canvas the sampler reads 0
    assert (sample(ones, [t], SIZE) - 1).abs().max() < 1e-4
    if margin and sliceable(t, SIZE):
        assert window(ones, t, SIZE).shape == (1, 1, *SIZE)
    if margin > 1:
        smaller = torch.ones(1, 1, *(n + 2 * margin - 4 for n in SIZE))
        assert sample(smaller, [t], SIZE).min() < 0.99


def test_drawn_transforms_stay_within_reach() -> None:
    slot = Draw("rotation", 30, "deg", "any", (-4, 4), (-2, 2), (0.8, 1.2), (-30, 30), whole=False)
    corners = [Transform("rotation", 30, "deg", "x", y, x, z, a) for y in slot.dy for x in slot.dx
               for z in slot.zoom for a in (*slot.angle, 0)]  # fmt: skip
    assert reach([slot], SIZE) >= reach(corners, SIZE)
    whole = Draw("translation", 4, "px", "w", (-4, 3), (-2, 2))
    assert reach([whole], SIZE) == 4
