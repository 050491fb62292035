"""Receptive fields of videos (T, C, H, W) whose frames go through a two-dimensional network; autograd is the oracle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.receptive_field.exact.boxes import exact
from cnnscope.analysis.receptive_field.exact.support import touched
from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module

SHAPE = (6, 3, 12, 10)


class Frames(nn.Module):
    """A convolution and a pool on every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 4, 3), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.pool(self.conv(x.flatten(0, 1)))
        return result


class Channels(nn.Module):
    """The same on (C, T, H, W): here axis 1 has the channels, as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = Frames()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.frames(x.transpose(1, 2))
        return result


class Sound(nn.Module):
    """Pieces (T, C, length), each through a one-dimensional network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 5, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c, length = x.shape
        result: Tensor = self.conv((x - 0.5).reshape(n * t, c, length))
        return result


class Recurrent(nn.Module):
    """A CNN-LSTM: a vector for each frame, then a network over time."""

    def __init__(self) -> None:
        super().__init__()
        self.frames, self.lstm = Frames(), nn.LSTM(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.frames(x.flatten(0, 1).unsqueeze(0)).mean((2, 3)).view(x.shape[0], x.shape[1], 4)
        result: Tensor = self.lstm(y)[0]
        return result


NETWORKS: Mapping[str, tuple[nn.Module, tuple[int, ...], str, tuple[int, ...], tuple[int, ...]]] = {
    "frames": (Frames(), SHAPE, "conv", (3, 4), (1, 3, 3)),
    "pooled frames": (Frames(), SHAPE, "pool", (2, 1), (1, 4, 4)),
    "channels first": (Channels(), (3, 6, 12, 10), "frames.pool", (2, 1), (1, 4, 4)),
    "pieces of sound": (Sound(), (6, 3, 20), "conv", (3,), (1, 5)),
    "before an LSTM": (Recurrent(), SHAPE, "frames.pool", (2, 1), (1, 4, 4)),
}
"""Module, input, layer, a unit of it, and the size of its field: time, then the axes of a frame."""


def read(module: nn.Module, shape: tuple[int, ...]) -> Graph:
    return from_module(module, [InputSize(shape)])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_unit_sees_its_window_in_its_frame(name: str) -> None:
    module, shape, layer, _, size = NETWORKS[name]
    graph = read(module, shape)
    field = theoretical(graph)[layer]
    assert field.size == size
    assert field.via == ()


def pixels(module: nn.Module, shape: tuple[int, ...], layer: str, unit: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The pixels with a gradient from the unit of the first frame, over all its channels."""
    kept: list[Tensor] = []
    handle = module.get_submodule(layer).register_forward_hook(lambda m, args, out: kept.append(out))
    x = torch.rand(1, *shape, requires_grad=True)
    module.eval()(x)
    handle.remove()
    kept[0][(0, slice(None), *unit)].sum().backward()
    assert x.grad is not None
    seen: npt.NDArray[np.bool_] = x.grad[0].abs().sum(0 if shape[0] == 3 else 1).numpy() > 0
    return seen


@pytest.mark.parametrize("name", NETWORKS)
def test_the_exact_field_is_autograds(name: str) -> None:
    module, shape, layer, unit, _ = NETWORKS[name]
    graph = read(module, shape)
    seen = pixels(module, shape, layer, unit)
    where = np.argwhere(seen)
    expected = list(zip(where.min(0).tolist(), where.max(0).tolist(), strict=True))
    assert [tuple(map(int, ends)) for ends in exact(graph, [layer]).box(layer, unit)] == expected
    assert touched(graph, layer, unit)["input"].tolist() == seen.tolist()
