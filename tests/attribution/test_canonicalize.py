"""Canonical networks compute what the original does, to the last bit, and hide nothing from rules."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from attributed import architecture, image, seeded
from captum.attr import DeepLift, GuidedBackprop, Saliency
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

import cnnscope
from cnnscope.attribution.engine.canonicalize import canonicalize, layer_of
from cnnscope.attribution.engine.rules import function_calls
from cnnscope.nn.ops import role_of

NETWORKS = ("resnet18", "torchvision:squeezenet1_1", "torchvision:alexnet", "torchvision:mobilenet_v3_small",
            "torchvision:shufflenet_v2_x1_0", "torchvision:convnext_tiny", "timm:convnext_atto")  # fmt: skip
LARGER = ("torchvision:googlenet", "torchvision:densenet121", "torchvision:vgg11_bn", "torchvision:mobilenet_v2",
          "torchvision:efficientnet_b0", "torchvision:swin_t", "torchvision:vit_b_16", "timm:resnet18")  # fmt: skip


class Functional(nn.Module):
    """Everything that rules overlook: functions, methods, in place, one module called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(64, 3)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.conv1(x))
        z = self.conv2(y)
        z += y
        z = F.silu(self.act(z)).relu_()
        z = F.max_pool2d(F.gelu(z), 3, stride=2, padding=1)
        return self.fc(F.adaptive_avg_pool2d(torch.relu(z) * torch.sigmoid(z), 4).flatten(1))


def same_logits(module: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        assert torch.equal(module(x), canonicalize(module)(x))


@pytest.mark.parametrize("source", [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)])
def test_logits_are_the_same_to_the_last_bit(source: str) -> None:
    side = 224 if "vit" in source else 64
    module = architecture(source, side)
    same_logits(module, image(3, side, side))
    same_logits(module.float(), image(3, side, side).float())


def test_what_a_library_made_is_traced() -> None:
    make = cnnscope.load("torchvision:resnet18").extras.make
    assert make is not None
    same_logits(make().eval(), image(3, 64, 64).float())


def test_functions_become_modules_and_none_is_called_twice() -> None:
    module = seeded(Functional)
    network = canonicalize(module)
    same_logits(module, image(2, 8, 8))
    called = [network.get_submodule(node.target) for node in network.graph.nodes if node.op == "call_module"]
    kinds = [type(one).__name__ for one in called if role_of(one) == "activation"]
    assert kinds == ["ReLU6", "ReLU6", "SiLU", "ReLU", "GELU", "ReLU", "Sigmoid"]
    assert len(called) == len(set(map(id, called)))
    assert not any(getattr(one, "inplace", False) for one in called)
    assert [getattr(node.target, "__name__", node.target) for node in function_calls(network)] == ["flatten"]
    assert {"act", "act#2"} <= {layer_of(node) for node in network.graph.nodes}


@pytest.mark.parametrize(("function", "kind"), [
    (F.celu, "CELU"), (F.logsigmoid, "LogSigmoid"), (torch.selu, "SELU"),
    (lambda x: F.threshold(x, 0.1, 0.2), "Threshold"),
    (lambda x: F.gelu(x, approximate="tanh"), "GELU"), (lambda x: F.prelu(x, torch.tensor([0.3])), None),
])  # fmt: skip
def test_any_activation_called_as_a_function_becomes_its_module(function: Any, kind: str | None) -> None:
    class Called(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x).flatten(1)

    x, network = image(1, 6, 6).float(), canonicalize(Called())
    same_logits(Called(), x)
    called = [network.get_submodule(node.target) for node in network.graph.nodes if node.op == "call_module"]
    assert [type(one).__name__ for one in called] == ([] if kind is None else [kind])


def test_the_original_stays_as_it_is() -> None:
    module = seeded(Functional)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = canonicalize(module)
    network(image(2, 8, 8))
    assert module.act.inplace
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    shared = {parameter.data_ptr() for parameter in network.parameters()}
    assert shared == {parameter.data_ptr() for parameter in module.parameters()}


TIED = """\
cnnscope: 1
input: {shape: [4, 8, 8]}
layers:
  - conv: {out: 4, kernel: 3, pad: 1, name: c}
  - relu
  - reuse: c
  - relu
  - globalavgpool
  - flatten
"""


def test_a_layer_used_twice_keeps_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "tied.yaml"
    path.write_text(TIED)
    module = cnnscope.load(path).module().eval()
    network = canonicalize(module)
    same_logits(module, image(4, 8, 8).float())
    convolutions = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    assert len(convolutions) == 2
    assert len({one.weight.data_ptr() for one in convolutions}) == 1


def test_a_network_of_two_images_is_refused() -> None:
    with pytest.raises(cnnscope.CnnscopeError, match="E480: the network cannot be taken apart: it takes 2 inputs"):
        canonicalize(cnnscope.load("siamese").module().eval())


def test_python_that_cannot_be_traced_is_refused() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) if x.sum() > 0 else -x.flatten(1)

    with pytest.raises(cnnscope.CnnscopeError) as caught:
        canonicalize(Branching())
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E480"
    assert diagnostic.message == (
        "the network cannot be taken apart: symbolically traced variables cannot be used as inputs to control flow"
    )
    assert diagnostic.hint == "`integrated-gradients`, `smoothgrad` and `occlusion` take it as it is"


@pytest.fixture
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of captum about hooks and gradients it sets
        yield


class Hidden(nn.Module):
    """Its rectifiers are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4 * 9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1))


@pytest.mark.usefixtures("quiet")
def test_captum_sees_what_it_did_not() -> None:
    """captum's guided backpropagation is plain saliency on a functional ReLU (measured here too); then no more."""
    module, x = seeded(Hidden), image(1, 8, 8)
    plain = Saliency(module).attribute(x, target=1, abs=False)
    assert torch.equal(GuidedBackprop(module).attribute(x, target=1), plain)
    assert not torch.allclose(GuidedBackprop(canonicalize(module)).attribute(x, target=1), plain)


@pytest.mark.usefixtures("quiet")
def test_captum_completes_deeplift_after_a_pool() -> None:
    layers = (nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    module = seeded(lambda: nn.Sequential(*layers))
    x, baseline = image(1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    difference = (module(x) - module(baseline))[0, 1].item()

    def error(network: nn.Module) -> float:
        found = DeepLift(network).attribute(x, baseline, target=1).sum().item()
        return abs(found - difference) / abs(difference)

    assert error(canonicalize(module)) < 1e-12
    assert error(module) > 1e-3  # captum issue 1104
