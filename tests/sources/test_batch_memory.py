"""What depends on no image is needed once for a whole batch; torch at two batch sizes decides what grows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from cnnscope.analysis.cost import live_bytes, node_costs
from cnnscope.analysis.summary import summarize
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module
from cnnscope.training.cost import memory

SHAPE = (8, 6, 6)


class Standardised(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019), by functions that keep or make leading axes of one element."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.reshape(1, self.out_channels, -1)
        weight = (weight - weight.mean(2, keepdim=True)) / (weight.std(2, keepdim=True) + 1e-5)
        return functional.conv2d(x, weight.reshape_as(self.weight), self.bias, padding=1)


class Positions(nn.Module):
    """A table of sines that every pass computes anew, and a bias that is computed from a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        table = torch.arange(36.0).reshape(1, 1, 6, 6).sin() * self.scale.exp()
        return x * table.sigmoid()


class Unregistered(nn.Module):
    """A weight that the module does not know of."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = [torch.ones(4, 8, 1, 1)]

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weights[0] * 2)


class Filled(nn.Module):
    """Values of the images are written into a tensor that began as a constant: it has to grow."""

    def forward(self, x: Tensor) -> Tensor:
        held = torch.zeros_like(x)
        held[:, :4].add_(x[:, 4:])
        return held + 1


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "weight_norm": lambda: parametrizations.weight_norm(nn.Conv2d(8, 16, 3, padding=1)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Conv2d(8, 16, 3, padding=1)),
    "standardised": lambda: Standardised(8, 16, 3),
    "positions": Positions,
    "unregistered": Unregistered,
}


class Made(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, without types
    """Adds up the bytes of new tensors that a run makes from any input."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and not func.is_view and not func._schema.is_mutable:
            self.total += out.numel() * out.element_size()
        return out


def made(module: nn.Module, batch: int) -> int:
    x = torch.zeros(batch, *SHAPE)
    with torch.inference_mode(), Made() as run:
        module(x)
    return run.total


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_grow_by_what_torch_makes_more(name: str) -> None:
    module = NETWORKS[name]().eval()
    graph = from_module(module, [InputSize(SHAPE)])
    one, four = (summarize(graph, batch=batch).totals.activation_bytes for batch in (1, 4))
    assert four - one == made(module, 4) - made(module, 1)


def test_a_constant_into_which_images_are_written_grows() -> None:
    graph = from_module(Filled(), [InputSize(SHAPE)])
    one, four = (node_costs(graph, batch=batch)["constant"].activation_bytes for batch in (1, 4))
    assert (one, four) == (8 * 6 * 6 * 4, 4 * 8 * 6 * 6 * 4)


def test_a_normalised_weight_is_there_once() -> None:
    graph = from_module(nn.Sequential(parametrizations.weight_norm(nn.Conv2d(64, 64, 3, padding=1))),
                        [InputSize((64, 4, 4))])  # fmt: skip
    found = summarize(graph, batch=32)
    maps, weights = 32 * 64 * 4 * 4 * 4, 2 * 64 * 64 * 9 * 4
    assert found.totals.activation_bytes == maps + weights
    assert max(live_bytes(graph, batch=32).values()) == found.peak_activation_bytes


def test_training_keeps_a_computed_weight_once() -> None:
    graph = from_module(NETWORKS["weight_norm"]().train(), [InputSize(SHAPE)])
    one, two, three = (memory(graph, batch) for batch in (1, 2, 3))
    assert one.kept - (two.kept - one.kept) > 0  # what does not grow: the weights
    assert three.kept - two.kept == two.kept - one.kept == 8 * 6 * 6 * 4  # the input of the convolution
    assert three.peak - two.peak == two.peak - one.peak


def test_the_work_of_computing_weights_is_a_part_of_its_own() -> None:
    graph = from_module(NETWORKS["weight_norm"](), [InputSize(SHAPE)])
    once = summarize(graph).per_pass
    assert (once.macs, once.flops) == (0, 4 * 16 * 8 * 9)  # to square, to add up, to divide, to scale
    assert summarize(from_module(nn.Conv2d(8, 4, 3), [InputSize(SHAPE)])).per_pass.flops == 0


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(0).relu(),
        lambda x: x.mean((0, 2, 3), keepdim=True) * 2,
        lambda x: x.flatten(2).transpose(1, 2).sum(0).t().sigmoid(),
        lambda x: x.flatten(1).t() @ x.flatten(1),
        lambda x: x.amax(0).exp(),
    ],
)
@pytest.mark.parametrize("batch", [1, 4])
def test_what_was_summed_over_the_batch_is_there_once(function: Callable[[Tensor], Tensor], batch: int) -> None:
    class Summed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    with warnings.catch_warnings(action="ignore"):
        graph = from_module(Summed(), [InputSize(SHAPE)])
    last = node_costs(graph, batch=batch)[graph.outputs[0]]
    assert last.activation_bytes == 4 * function(torch.rand(batch, *SHAPE)).numel()
