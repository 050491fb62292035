"""Small classifiers whose behaviour under movements is known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import cnnscope
from cnnscope.trained.network import TrainedNetwork


def trained(module: nn.Module, size: Sequence[int] = (3, 32, 32)) -> TrainedNetwork:
    """A module with its own weights as a network."""
    return cnnscope.load(module, input=tuple(size)).trained(device="cpu")


def seeded(module: nn.Module, gain: float = 1.0) -> nn.Module:
    """The same with weights drawn from a seed, large enough for answers to differ between images."""
    random = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 16
        parameter.data = torch.randn(parameter.shape, generator=random) * gain / fan**0.5
        if parameter.ndim == 4:
            parameter.data -= parameter.mean((1, 2, 3), keepdim=True)  # no answer to brightness alone
        elif parameter.ndim == 1:
            parameter.data.zero_()
    return module.eval()


def circular(stride: int = 2) -> nn.Module:
    """Wrapped convolutions of total stride ``stride`` squared, pooled globally: multiples of it change nothing."""
    return seeded(nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=stride, padding=1, padding_mode="circular"), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=stride, padding=1, padding_mode="circular"), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    ), gain=2)  # fmt: skip


def flattened() -> nn.Module:
    """The same body with a dense layer on all positions: no guarantee."""
    return seeded(nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, padding_mode="circular"), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 16 * 16, 10),
    ))  # fmt: skip


def plain() -> nn.Module:
    """Zero padding, a stride, global pooling."""
    return seeded(nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10, bias=False),
    ), gain=4)  # fmt: skip


class QuarterTurns(nn.Module):
    """The mean of a network over the four quarter turns of its input: invariant to them."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return sum(self.body(x.rot90(k, (2, 3))) for k in range(4)) / 4  # type: ignore[return-value]


class AdaptivePolyphase(nn.Module):
    """Subsampling by 2 on the grid of the largest norm (Chaman & Dokmanic 2021, APS), convolutions wrapped."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")
        self.second = nn.Conv2d(8, 16, 3, padding=1, padding_mode="circular")
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = largest_phase(self.first(x).relu())
        x = largest_phase(self.second(x).relu())
        return self.head(x.mean((2, 3)))


def largest_phase(x: Tensor) -> Tensor:
    """(N, C, H / 2, W / 2): of the four subsampled maps the one of the largest norm, image by image."""
    phases = torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
    best = phases.flatten(2).norm(dim=2).argmax(1)
    return phases[torch.arange(len(x)), best]
