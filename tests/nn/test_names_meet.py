"""Names that meet: layers, weights, inputs and what torch calls its own: each network is built and exported right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

import cnnscope
from cnnscope.nn.build import build
from cnnscope.nn.export.onnx_file import write_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


class WeightsAreInputAndOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input, self.sigmoid = (nn.Parameter(torch.rand(3, 4, 4)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x * self.input + self.sigmoid)


class WeightsAreFunctions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu, self.mul, self.add = (nn.Parameter(torch.rand(3, 4, 4)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x * self.relu + self.mul) + self.add


class NamesOfTorch(nn.Module):
    """``val_0`` and ``pad_1`` are what torch calls constants and second results."""

    def __init__(self) -> None:
        super().__init__()
        self.val_0, self.conv2d = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.val_1 = nn.Parameter(torch.rand(3, 6, 6))
        self.clone, self.pad_1, self.pad = nn.ZeroPad2d(1), nn.ZeroPad2d(1), nn.ReflectionPad2d(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.val_0(x)
        return F.pad(y, (1, 1, 1, 1)) + self.val_1, self.pad(self.pad_1(self.clone(self.conv2d(y))))


class LayersAreNumbered(nn.Module):
    """Exported, a ``Softplus`` is many nodes, which are numbered as the next layers are here."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.act_2, self.act_3 = nn.Softplus(), nn.ReLU(), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act_3(self.act_2(self.act(x) - 0.5))
        return out


NETWORKS = [WeightsAreInputAndOutput, WeightsAreFunctions, NamesOfTorch, LayersAreNumbered]


def numbers(outputs: Any) -> list[Any]:
    outputs = list(outputs.values()) if isinstance(outputs, dict) else outputs
    return [t.detach().numpy() for t in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def assert_same(found: list[Any], wanted: list[Any]) -> None:
    assert len(found) == len(wanted)
    assert all(abs(a - b).max() < 1e-5 for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("make", NETWORKS)
def test_names_that_meet(make: Any, tmp_path: Path) -> None:
    module, x = make().eval(), torch.rand(1, 3, 4, 4)
    wanted = numbers(module(x))
    graph = cnnscope.load(module, input=(3, 4, 4)).graph
    network = build(graph)
    network.load_state_dict(module.state_dict())
    assert_same(numbers(network.eval()(x)), wanted)
    write_onnx(graph, tmp_path / "net.onnx", module.state_dict())
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    (given,) = model.graph.input
    assert_same(onnx.reference.ReferenceEvaluator(model).run(None, {given.name: x.numpy()}), wanted)
    assert {tensor.name for tensor in model.graph.initializer} >= set(module.state_dict())
