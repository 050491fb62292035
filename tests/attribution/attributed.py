"""Networks to attribute: small ones made here, and real architectures with weights that leave no part of them idle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import cnnscope
from cnnscope.attribution.contract import Question


@dataclass(frozen=True)
class Plain:
    """The least that `attribute` takes."""

    module: nn.Module

    def logits(self, x: Tensor) -> Tensor:
        return self.module(x).flatten(1)


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module in eval mode and float64, its weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval().double().requires_grad_(False)


def architecture(source: str, side: int = 64) -> nn.Module:
    """A real architecture in float64: as cnnscope builds it, or the library's own where it does not.

    Norms get statistics, factors and shifts of every sign, so that scores depend on the image in all layers.
    """
    model = cnnscope.load(source, input=(3, side, side))
    try:
        module = model.module()
    except cnnscope.CnnscopeError:
        assert model.extras.make is not None
        module = model.extras.make()
    return stirred(module.eval().double().requires_grad_(False))


def stirred(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            shape = child.running_mean.shape
            child.running_mean.copy_(torch.randn(shape, generator=generator) * 0.1)
            child.running_var.copy_(torch.rand(shape, generator=generator) * 0.5 + 0.2)
            if child.weight is not None:
                sign = torch.where(torch.rand(shape, generator=generator) < 0.2, -1.0, 1.0)
                child.weight.copy_(sign * (torch.rand(shape, generator=generator) + 0.5))
                child.bias.copy_(torch.randn(shape, generator=generator) * 0.1)
    return module


def image(*shape: int, seed: int = 0) -> Tensor:
    """(1, C, H, W) in float64."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def question(module: nn.Module, x: Tensor, target: int = 1) -> Question:
    return Question(module, x, target, torch.zeros_like(x))
