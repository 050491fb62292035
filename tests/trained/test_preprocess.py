"""Pictures prepared as torchvision and timm prepare them, and what cannot be prepared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.trained.preprocess import Preprocess


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    random = np.random.default_rng(0)
    smooth = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height))
    return smooth.convert(mode)


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (500, 500), (227, 300), (60, 80)])
@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "efficientnet_b0"])
def test_pixels_are_torchvisions(name: str, size: tuple[int, int]) -> None:
    cnnscope.load("torchvision:alexnet")  # so that torchvision imports beside any torch
    from torchvision.models import get_model_weights

    transforms = get_model_weights(name).DEFAULT.transforms()
    preprocess = Preprocess.of((3, 224, 224), {
        "resize": transforms.resize_size[0], "mean": transforms.mean, "std": transforms.std,
        "interpolation": transforms.interpolation.value,
    })  # fmt: skip
    ours = preprocess.normalise(torch.from_numpy(preprocess.pixels(picture(*size)))[None])
    assert torch.allclose(ours[0], transforms(picture(*size)), atol=1e-5)


def test_a_margin_is_what_a_larger_crop_has() -> None:
    preprocess = Preprocess.of((3, 32, 32), {"resize": 48})
    resized = preprocess.resized(picture(100, 90))
    assert preprocess.room(resized) == 8
    wide = preprocess.cropped(resized, 8)
    assert wide.shape == (3, 48, 48)
    assert np.array_equal(wide[:, 8:-8, 8:-8], preprocess.cropped(resized))
    with pytest.raises(CnnscopeError, match="E454: preprocessing: the resized picture has no margin of 9 pixels"):
        preprocess.cropped(resized, 9)


@pytest.mark.parametrize("side", [43, 44, 45, 46, 47])
def test_every_margin_has_the_crop_in_its_middle(side: int) -> None:
    preprocess = Preprocess.of((3, 32, 32), {"resize": side})
    resized = preprocess.resized(picture(100, 90))
    plain = preprocess.cropped(resized)
    for margin in range(1, preprocess.room(resized) + 1):
        wide = preprocess.cropped(resized, margin)
        assert wide.shape == (3, 32 + 2 * margin, 32 + 2 * margin)
        assert np.array_equal(wide[:, margin:-margin, margin:-margin], plain)


def test_shown_undoes_normalise() -> None:
    preprocess = Preprocess.of((3, 8, 8), {"mean": [0.4, 0.5, 0.6], "std": 0.25})
    pixels = torch.from_numpy(preprocess.pixels(picture(8, 8)))[None]
    assert torch.allclose(preprocess.shown(preprocess.normalise(pixels)), pixels / 255, atol=1e-6)


def test_another_input_size_scales_the_resize() -> None:
    assert Preprocess.of((3, 112, 112), {"resize": 256, "crop": 224}).resize == 128
    assert Preprocess.of((3, 112, 112), {"resize": [256, 300], "crop": [224, 224]}).resize == (128, 150)


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        ((5, 8, 8), {}, "an input of 5 channels is no image"),
        ((3, 8, 8), {"std": 0}, "`std` is not positive"),
        ((3, 8, 8), {"mean": [1, 2]}, "`mean` has 2 values for 3 channels"),
        ((3, 8, 8), {"mean": float("nan")}, "`mean` has"),
        ((3, 32, 32), {"resize": 16}, "`resize` to 16 leaves less than the input, 32x32"),
        ((3, 8, 8), {"interpolation": "cubic"}, "there is no interpolation `cubic`"),
        ((3, 8, 8), {"border": "black"}, "there is no border `black`"),
        ((3, 8, 8), {"size": 3}, "there is no setting `size`"),
    ],
)
def test_settings_that_cannot_be(size: tuple[int, int, int], options: dict[str, object], message: str) -> None:
    with pytest.raises(CnnscopeError, match=f"E454: preprocessing: {message}"):
        Preprocess.of(size, options)
