"""Networks of torchvision and timm compute the same when they are built and written again."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from sweeps import sweep
from torch import Tensor, nn

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.nn.build import build
from cnnscope.nn.export.pytorch import pytorch_source
from tests.nn.exported import run
from tests.nn.networks import outcome, timm_network, torchvision_network

FAMILIES = (
    ("alexnet", torchvision_network), ("squeezenet1_1", torchvision_network), ("googlenet", torchvision_network),
    ("mobilenet_v3_small", torchvision_network), ("mnasnet0_5", torchvision_network),
    ("shufflenet_v2_x0_5", torchvision_network), ("regnet_y_400mf", torchvision_network),
    ("densenet121", torchvision_network), ("resnet18", torchvision_network), ("efficientnet_b0", torchvision_network),
    ("coat_lite_tiny", timm_network), ("cpubone_nano", timm_network), ("deit_tiny_patch16_224", timm_network),
    ("efficientnet_cc_b0_4e", timm_network), ("efficientvit_b0", timm_network), ("efficientvit_m2", timm_network),
    ("gcvit_xxtiny", timm_network), ("ghostnet_050", timm_network), ("halonet26t", timm_network),
    ("lcnet_035", timm_network), ("levit_conv_128s", timm_network), ("pvt_v2_b0", timm_network),
    ("starnet_s1", timm_network), ("volo_d1_224", timm_network), ("xcit_nano_12_p16_224", timm_network),
)  # fmt: skip
"""One network of each kind; the program `networks.py` takes them all."""


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", sweep(["vit_b_32", "swin_t", "convnext_tiny", "swin_v2_t"], ["swin_t"]))
def test_networks_with_parameters_of_their_own(name: str) -> None:
    found = outcome(*torchvision_network(name))
    assert found.built == "equal"
    assert found.written == "equal" or name == "swin_v2_t"


@pytest.mark.slow
@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(("name", "make"), FAMILIES)
def test_networks_of_many_families(name: str, make: Callable[[str], tuple[nn.Module, tuple[int, ...]]]) -> None:
    """None is wrong: it is equal, or refused by the name of an op."""
    found = outcome(*make(name))
    assert found.built == "equal" or re.match(r"refused: .*`\w+`", found.built)
    assert found.written == "equal" or found.written.startswith("refused: ")


class Scaled(nn.Module):
    """A parameter, a stored table, a table that is not stored, a constant, weights of a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 4)
        self.gamma = nn.Parameter(torch.rand(3, 1, 1))
        self.frozen = nn.Parameter(torch.rand(3, 1, 1), requires_grad=False)
        self.register_buffer("mean", torch.rand(3, 1, 1))
        self.register_buffer("basis", torch.rand(8, 8))
        self.register_buffer("places", torch.randperm(3))
        self.register_buffer("mask", torch.rand(8, 8), persistent=False)
        self.table = nn.Parameter(torch.rand(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = (x - self.mean) * self.gamma + self.frozen + self.mask + torch.arange(64.0).view(8, 8).sin()
        y = y + self.table[self.places][:, None] @ self.basis
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


class PerImage(nn.Module):
    """A convolution with a kernel of each image: images become groups of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.routing = nn.Linear(3, 3 * 3 * 9)

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.routing(x.mean((2, 3))).view(-1, 3, 3, 3)
        y = nn.functional.conv2d(x.reshape(1, -1, 8, 8), kernels, padding=1, groups=len(x))
        return y.view(len(x), -1, 8, 8)


class Assigned(nn.Module):
    """Writes to parts of a map."""

    def forward(self, x: Tensor) -> Tensor:
        z = x.clone()
        z[:, :2] = x[:, 1:] * 2
        z[:, :, 1::2] = 1 - x[:, :, ::2]
        z[:, 0, 3] = x.mean((1, 2))
        return z


def test_kernels_of_each_image_are_refused() -> None:
    graph = cnnscope.load(PerImage(), input=(3, 8, 8)).graph
    for make in (build, pytorch_source):
        with pytest.raises(CnnscopeError) as caught:
            make(graph)
        (diagnostic,) = caught.value.diagnostics
        said = [diagnostic.message, *(note.message for note in diagnostic.notes)]
        assert any("is `conv`" in text and text.endswith("without its operand `groups`") for text in said), said


@pytest.mark.parametrize("batch", [1, 2])
def test_slices_that_are_written_to_are_built(batch: int) -> None:
    module = Assigned()
    graph = cnnscope.load(module, input=(3, 8, 8)).graph
    assert "overwrite" in {node.op.tag for node in graph.nodes}
    x = torch.rand(batch, 3, 8, 8)
    for network in (build(graph), run(pytorch_source(graph))()):
        torch.testing.assert_close(network(x), module(x))


class Masked(nn.Module):
    """A mask that its constructor puts beside its weights, and that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.register_buffer("mask", torch.ones(8, 8, device=self.conv.weight.device).tril(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.mask


def test_masks_of_factories_have_their_numbers() -> None:
    model = cnnscope.load(Masked, input=(3, 8, 8))
    assert model.graph.params["mask"].data is None
    module, x = Masked(), torch.rand(2, 3, 8, 8)
    for network in (model.module(), run(str(model.export("pytorch")))()):
        network.load_state_dict(module.state_dict())
        torch.testing.assert_close(network(x), module(x))
