"""Networks and images small enough to check by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import cnnscope
from cnnscope.trained.network import TrainedNetwork


def trained(module: nn.Module, size: tuple[int, int, int], **options: Any) -> TrainedNetwork:
    """A torch module as a network that reads pixels from 0 to 1."""
    return cnnscope.load(module, input=size).trained(device="cpu", preprocess={"mean": 0.0, "std": 1.0}, **options)


def padded(seed: int = 0) -> nn.Sequential:
    """Strides, padding, dilation; smooth, so that every pixel of a field matters."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(4, 5, 3, padding=2, dilation=2), nn.Tanh(),
        nn.AvgPool2d(2), nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip


def rectified(seed: int = 0) -> nn.Sequential:
    """Convolution, ReLU, maxima, convolution, ReLU: what Zeiler and Fergus turn round."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip


def made(module: nn.Module, size: tuple[int, int, int]) -> nn.Module:
    """The module with its lazy layers settled."""
    module(torch.zeros(1, *size))
    return module


def folder(path: Path, pixels: np.ndarray) -> Path:
    """(N, H, W) grey images as files in the order of their numbers."""
    path.mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(path / f"{i:03d}.png")
    return path
