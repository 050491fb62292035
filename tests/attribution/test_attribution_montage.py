"""Montages: shared scales, honest colours, the same bytes twice."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cnnscope.attribution.montage import Tile, coloured, grey, montage, scale_limits
from cnnscope.errors import CnnscopeError

IMAGE = np.linspace(0, 1, 64).reshape(8, 8)
VALUES = np.random.default_rng(0).normal(size=(8, 8))


def tile(scale: str = "a", factor: float = 1.0, signed: bool = True) -> Tile:
    values = factor * (VALUES if signed else np.abs(VALUES))
    return Tile(IMAGE, "Method", ("target 3, p = 0.981, baseline zero", "a note"), values, signed, scale)


def test_tiles_of_one_scale_share_their_limit() -> None:
    limits = scale_limits([tile(), tile(factor=10.0), tile("b", 0.1), Tile(IMAGE, "image")])
    assert limits["a"] == pytest.approx(np.quantile(np.abs([VALUES, 10 * VALUES]), 0.995))
    assert limits["b"] == pytest.approx(np.quantile(np.abs(0.1 * VALUES), 0.995))
    assert set(limits) == {"a", "b"}
    assert scale_limits([tile(factor=0.0)]) == {"a": 1.0}
    lonely = np.zeros((100, 100))
    lonely[0, 0] = 3.0
    assert scale_limits([replace(tile(), values=lonely)]) == {"a": 3.0}


def test_zero_is_the_image_itself_and_signs_are_told_apart() -> None:
    values = np.zeros((8, 8))
    values[0, 0], values[0, 1] = 1.0, -1.0
    colours = coloured(replace(tile(), values=values), 1.0)
    assert np.array_equal(colours[1:], np.repeat(grey(IMAGE)[1:, :, None], 3, 2))
    red, blue = colours[0, 0], colours[0, 1]
    assert red[0] > 2 * red[2]
    assert blue[2] > 2 * blue[0]
    half = coloured(replace(tile(), values=values / 2), 1.0)
    assert np.abs(half[0, 0] - grey(IMAGE)[0, 0]).sum() < np.abs(red - grey(IMAGE)[0, 0]).sum()


def test_colour_images_lie_below_as_luma() -> None:
    colour = np.zeros((2, 2, 3))
    colour[0, 0] = 1.0, 0.0, 0.0
    assert grey(colour)[0, 0] == pytest.approx(0.4 + 0.6 * 0.299)
    assert grey(colour)[1, 1] == pytest.approx(0.4)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_pictures_are_the_same_on_a_second_run(kind: str) -> None:
    rows = [[Tile(IMAGE, "image"), tile(), tile("b", signed=False)]]
    assert montage(rows, "Title", kind) == montage(rows, "Title", kind)


def test_a_long_row_is_broken_and_several_stay_apart() -> None:
    def size(rows: list[list[Tile]]) -> tuple[int, int]:
        return Image.open(io.BytesIO(montage(rows, "Title", "png"))).size

    one, nine, two = size([[tile()] * 3]), size([[tile()] * 9]), size([[tile()] * 7, [tile()] * 7])
    assert nine[0] < 2 * one[0]
    assert nine[1] > 1.5 * one[1]
    assert two[0] > 2 * one[0]
    picture = Image.open(io.BytesIO(montage([[tile()]], "Title", "png")))
    assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_a_tile_of_zeros_is_drawn_and_says_so() -> None:
    drawn = montage([[Tile(IMAGE, "image"), tile(factor=0.0)]], "Title", "svg")
    assert drawn.startswith(b"<?xml")
    assert drawn != montage([[Tile(IMAGE, "image"), tile()]], "Title", "svg")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(CnnscopeError, match="E604: no picture format is called `bmp`"):
        montage([[tile()]], "Title", "bmp")
