"""Many images through a network, as many at a time as memory allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


def fitting(batch: int, run: Callable[[int], T]) -> T:
    """``run(batch)``; where memory does not suffice, again with half the batch. One image that does not fit raises."""
    while True:
        try:
            return run(batch)
        except RuntimeError as error:
            if batch == 1 or not _out_of_memory(error):
                raise
        batch //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _out_of_memory(error: RuntimeError) -> bool:
    """torch has a class of its own for GPUs only."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def scores(module: nn.Module, x: Tensor, target: int, batch: int) -> Tensor:
    """(N,) scores of one class for (N, C, H, W), without gradients."""

    def run(batch: int) -> Tensor:
        with torch.no_grad():
            return torch.cat([module(part).flatten(1)[:, target] for part in torch.split(x, batch)])

    return fitting(batch, run)


def noise(n: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """(n, C, H, W) normal noise like an image (1, C, H, W), one image after the other: the same in any batches."""
    return torch.stack([torch.randn(like.shape[1:], generator=generator) for _ in range(n)]).to(like)
