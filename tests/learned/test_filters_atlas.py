"""The atlas: one scale for all filters of a layer, grey where weights are 0, every filter in its place."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cnnscope.errors import CnnscopeError
from cnnscope.learned.filters.atlas import caption, draw
from cnnscope.learned.filters.mosaic import Panel, tiles_of
from cnnscope.render.filters import ChanceFigures, FilteredLayer, FilterRow

SHAPES = [(1, 1, 5, 5), (6, 1, 5, 5), (64, 3, 7, 7), (256, 1, 3, 3), (400, 1, 3, 3), (16, 6, 5, 5), (128, 64, 3, 3),
          (40, 300, 3, 3), (16, 32, 1, 1), (300, 500, 1, 1), (128, 1, 1, 80), (8, 2, 1, 3), (3, 4, 16, 16)]  # fmt: skip


def panel(weights: NDArray[Any], order: list[int] | None = None, dead: tuple[int, ...] = ()) -> Panel:
    rows = tuple(
        FilterRow(i, 1.0, None, None, None, None, None, None, "Sobel x", 0.9, 0.001 if i % 2 else 0.7, None, None, None,
                  i in dead if dead else None)
        for i in order or range(len(weights))
    )  # fmt: skip
    shape = weights.shape
    layer = FilteredLayer(
        name="conv1", kind="conv", shape=shape, groups=1, largest=float(np.abs(weights).max()),  # type: ignore[arg-type]
        chance=ChanceFigures(), dead=len(dead) if dead else None, rows=rows,
    )  # fmt: skip
    return Panel(layer, weights, shape[1] == 3)


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layers_of_every_shape_are_drawn(shape: tuple[int, int, int, int]) -> None:
    content = draw([panel(noise(*shape))], "title", "png")
    with Image.open(io.BytesIO(content)) as image:
        assert image.width == 9 * 160
        assert image.height <= 9.5 * 160


def test_a_tile_is_the_weights_on_the_layers_scale() -> None:
    weights = noise(6, 1, 5, 5)
    tiles = tiles_of(panel(weights, order=[3, 1, 5, 0, 2, 4]))
    for row, (left, top, right, bottom) in zip(tiles.rows, tiles.places, strict=True):
        tile = tiles.mosaic[top:bottom, left:right]
        step = tile.shape[0] // 5
        expected = weights[row.index, 0] / (2 * np.abs(weights).max()) + 0.5
        np.testing.assert_allclose(tile[step // 2 :: step, step // 2 :: step], expected, atol=1e-6)
    inside = sum((right - left) * (bottom - top) for left, top, right, bottom in tiles.places)
    assert np.isfinite(tiles.mosaic).sum() == inside


def test_colours_and_rows_of_channels_are_on_that_scale_too() -> None:
    for weights in (noise(8, 3, 4, 4), noise(5, 7, 3, 3), noise(9, 12, 1, 1)):
        tiles = tiles_of(panel(weights))
        values = tiles.mosaic[np.isfinite(tiles.mosaic)]
        largest = np.abs(weights).max()
        drawn = np.unique(values)
        np.testing.assert_allclose(drawn, np.unique((weights / (2 * largest) + 0.5).astype(np.float32)), atol=1e-6)


def test_a_dead_filter_looks_dead_and_zero_is_mid_grey() -> None:
    weights = noise(4, 1, 3, 3)
    weights[2] *= 1e-4
    tiles = tiles_of(panel(weights))
    left, top, right, bottom = tiles.places[2]
    np.testing.assert_allclose(tiles.mosaic[top:bottom, left:right], 0.5, atol=1e-3)
    content = draw([panel(np.zeros((4, 1, 3, 3), np.float32))], "zeros", "png")
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    grey = colours[counts.argsort()[-2]]
    assert abs(int(grey[0]) - 127.5) < 1
    assert len(set(grey.tolist())) == 1


def test_what_is_left_out_is_said() -> None:
    assert tiles_of(panel(noise(40, 300, 3, 3))).left_out == "64 of 300 input channels shown"
    both = "256 of 300 filters shown, 256 of 500 input channels shown"
    assert tiles_of(panel(noise(300, 500, 1, 1))).left_out == both
    assert tiles_of(panel(noise(64, 64, 3, 3))).left_out == ""
    assert tiles_of(panel(noise(2100, 1, 3, 3))).left_out == "2048 of 2100 filters shown"


def test_dead_filters_are_marked() -> None:
    weights = noise(4, 1, 3, 3)
    plain, marked = (draw([panel(weights, dead=dead)], "t", "svg").decode() for dead in ((9,), (2,)))
    assert "#d55e00" in marked.lower()
    assert "#d55e00" not in plain.lower()


def test_the_same_layers_give_the_same_bytes() -> None:
    panels = [panel(noise(6, 3, 5, 5)), panel(noise(4, 6, 3, 3))]
    for form in ("png", "svg", "pdf"):
        assert draw(panels, "title", form) == draw(panels, "title", form)


def test_another_format_is_refused() -> None:
    with pytest.raises(CnnscopeError, match="E604"):
        draw([panel(noise(4, 1, 3, 3))], "title", "bmp")


@pytest.mark.parametrize("kernel", [(1, 5), (1, 80), (5, 1)])
def test_rows_of_flat_and_of_narrow_kernels_have_room_for_their_numbers(kernel: tuple[int, int]) -> None:
    tiles = tiles_of(panel(noise(6, 2, *kernel)))
    scale = tiles.mosaic.shape[1] / tiles.inches[1]
    _, top, _, bottom = tiles.places[0]
    assert (bottom - top) / scale > (0.1 if kernel != (1, 80) else 0.03)
    assert tiles.inches[1] <= 7.7 + 0.35


@pytest.mark.parametrize(
    ("nearest", "similarity", "p", "text"),
    [
        ("Sobel x", 0.9, 0.001, "Sobel x .90"),
        ("Gabor 22.5 deg 5 px odd", 0.651, 0.049, "Gabor 22\u00b0 .65"),
        ("identity", 1.0, 0.001, "identity 1.00"),
        ("Sobel x", 0.4, 0.05, "none near"),
        (None, None, None, ""),
    ],
)
def test_a_caption_names_the_nearest_kernel_with_its_cosine(
    nearest: str | None, similarity: float | None, p: float | None, text: str
) -> None:
    row = FilterRow(0, 1.0, None, None, None, None, None, None, nearest, similarity, p, None, None, None, None)
    assert caption(row) == text
