"""What one unit computes, against what a torch forward hook sees there."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import cnnscope
from cnnscope.errors import CnnscopeError


class Kinds(nn.Module):
    """A layer of every kind that can be worked out, with uneven settings."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
        self.grouped = nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False)
        self.deep = nn.Conv2d(6, 12, 3, padding=1, groups=6)
        self.mirrored = nn.Conv2d(12, 4, 3, padding=2, padding_mode="reflect")
        self.around = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.up = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, dilation=1, groups=2)
        self.spread = nn.ConvTranspose2d(6, 3, 2, stride=3, dilation=2, bias=False)
        self.largest = nn.MaxPool2d(3, 2, 1)
        self.overlapping = nn.MaxPool2d(2, 1, dilation=2)
        self.mean = nn.AvgPool2d(3, 2, 1, ceil_mode=True)
        self.inner = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.flat = nn.Flatten()
        self.dense = nn.LazyLinear(5)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


LAYERS = [
    "plain", "grouped", "deep", "mirrored", "around", "up", "spread", "largest", "overlapping", "mean", "inner", "dense"
]  # fmt: skip


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    found = Kinds().eval()
    found(torch.zeros(1, 3, 12, 11))
    return found


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 11, 3), np.uint8)
    path = tmp_path_factory.mktemp("unit") / "noise.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("name", LAYERS)
def test_the_sum_is_what_the_network_computes_there(module: nn.Module, picture: Path, name: str) -> None:
    """Corners, where padding is met, and places inside; the value from a hook of the test's own."""
    caught: list[Tensor] = []
    handle = getattr(module, name).register_forward_hook(lambda _, args, output: caught.append(output[0].double()))
    pixels = torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        module(pixels)
    handle.remove()
    (output,) = caught
    model = cnnscope.load(module, input=(3, 12, 11))
    ends = [sorted({0, size // 2, size - 1}) for size in output.shape]
    for index in list(itertools.product(*ends))[::2]:
        found = model.unit_values(name, index, picture)
        assert found.value == pytest.approx(float(output[index]), rel=1e-5, abs=1e-6)
        assert found.total == pytest.approx(float(output[index]), rel=1e-5, abs=1e-5)
        sums = sum(one.sum for one in found.channels) + (found.bias or 0)
        if "pool" not in found.operation:
            assert found.total == pytest.approx(sums)


def test_the_inputs_are_the_pixels_at_the_named_places(module: nn.Module, picture: Path) -> None:
    found = cnnscope.load(module, input=(3, 12, 11)).unit_values("plain", (1, 3, 4), picture)
    pixels = np.array(Image.open(picture)) / 255
    for one in found.channels:
        assert one.weights is not None
        np.testing.assert_allclose(one.weights, module.plain.weight[1, one.channel].detach().ravel())  # type: ignore[union-attr,operator,index]
        for value, place, inside in zip(one.window, one.places, one.inside, strict=True):
            assert place is not None
            assert inside
            assert value == pytest.approx(pixels[place][one.channel], abs=1e-6)


def test_no_image(module: nn.Module) -> None:
    with pytest.raises(CnnscopeError, match="there is no image to look at"):
        cnnscope.load(module, input=(3, 12, 11)).unit_values("plain", (0, 0, 0))
