"""Networks of torchvision and timm compute the same when they are built and written again; the slow tests are all."""

from __future__ import annotations

import pytest
import torch
from sweeps import sweep
from torch import Tensor, nn

import cnnscope
from cnnscope.nn.build import build
from cnnscope.nn.export.pytorch import pytorch_source
from tests.nn.exported import run
from tests.nn.networks import outcome, timm_network, torchvision_names, torchvision_network
from tests.sources.test_torch_timm import MODELS

PARTS = 16


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", sweep(["vit_b_32", "swin_t", "convnext_tiny", "swin_v2_t"], ["swin_t"]))
def test_networks_with_parameters_of_their_own(name: str) -> None:
    found = outcome(*torchvision_network(name))
    assert found.built == "equal"
    assert found.written == "equal" or name == "swin_v2_t"


@pytest.mark.slow
@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("part", range(PARTS))
def test_every_network(part: int) -> None:
    """None is wrong: it is equal, or refused by the name of an op."""
    networks = [(name, torchvision_network) for name in torchvision_names()] + [(name, timm_network) for name in MODELS]
    found = {name: outcome(*make(name)) for name, make in networks[part::PARTS]}
    assert [name for name, ended in found.items() if ended.built.startswith("wrong")] == []
    assert [name for name, ended in found.items() if ended.written.startswith("wrong")] == []


class Scaled(nn.Module):
    """A parameter, a stored table, a table that is not stored, a constant, weights of a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 4)
        self.gamma = nn.Parameter(torch.rand(3, 1, 1))
        self.frozen = nn.Parameter(torch.rand(3, 1, 1), requires_grad=False)
        self.register_buffer("mean", torch.rand(3, 1, 1))
        self.register_buffer("places", torch.randperm(3))
        self.register_buffer("mask", torch.rand(8, 8), persistent=False)
        self.table = nn.Parameter(torch.rand(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = (x - self.mean) * self.gamma + self.frozen + self.mask + torch.arange(64.0).view(8, 8).sin()
        y = y + self.table[self.places][:, None]
        return nn.functional.linear(y, self.inner.weight, self.inner.bias)


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 3, 1), Scaled(), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.conv(x)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [Scaled, Around])
def test_tensors_of_modules_are_attributes_of_classes(make: type[nn.Module]) -> None:
    module = make().eval()
    graph = cnnscope.load(module, input=(3, 8, 8)).graph
    file = run(pytorch_source(graph))()
    for network in (file, build(graph)):
        assert {k: (t.shape, t.requires_grad) for k, t in network.named_parameters()} == {
            k: (t.shape, t.requires_grad) for k, t in module.named_parameters()
        }
        assert network.state_dict().keys() == module.state_dict().keys()
        table = next(t for key, t in network.named_buffers() if key.endswith("places"))
        assert torch.equal(table, next(t for key, t in module.named_buffers() if key.endswith("places")))
        network.load_state_dict(module.state_dict())
        x = torch.rand(2, 3, 8, 8)
        torch.testing.assert_close(network.eval()(x), module(x))
