"""Edits of ONNX files, torchvision and timm: equal to the module that was built so, or refused."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from edited import edit, run, totals
from torch import nn

import cnnscope
from cnnscope.edits import Change, Scale
from cnnscope.ir import Graph
from cnnscope.sources.torch.user_code import import_with_operators

SIZE = (3, 16, 16)


class Residual(nn.Module):
    def __init__(self, width: int = 8, inner: int = 12, last: int = 16, stride: int = 2) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, width, 3, stride, 1)
        self.b = nn.Conv2d(width, inner, 3, 1, 1)
        self.c = nn.Conv2d(inner, width, 3, 1, 1)
        self.d = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.e = nn.Conv2d(width, last, 1)
        side = 16 // stride // 4
        self.fc = nn.Linear(last * side * side, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.a(x))
        x = self.e(self.d(x + self.c(torch.relu(self.b(x)))))
        result: torch.Tensor = self.fc(torch.flatten(nn.functional.max_pool2d(x, 4), 1))
        return result


class Untrained(nn.Module):
    """Norms whose weights are equal, so that an exporter stores them once."""

    def __init__(self, first: int = 8, second: int = 8) -> None:
        super().__init__()
        self.a, self.m = nn.Conv2d(3, first, 3, bias=False), nn.BatchNorm2d(first)
        self.b, self.n = nn.Conv2d(first, second, 3, bias=False), nn.BatchNorm2d(second)
        self.c = nn.Conv2d(second, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.m(torch.relu(self.a(x)))
        result: torch.Tensor = self.c(self.n(torch.relu(self.b(x))))
        return result


class Tied(nn.Module):
    """One convolution that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.b(torch.relu(self.b(self.a(x))))
        return result


class Shuffled(nn.Module):
    """A layer that reads a map which operations between layers have made."""

    def __init__(self, kernel: int = 3, width: int = 8, dilation: int = 1) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, width, 3, padding=1)
        self.b = nn.Conv2d(width, 4, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        n, c, h, w = x.shape
        result: torch.Tensor = self.b(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))
        return result


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[nn.Module], Graph]:
    def graph(module: nn.Module) -> Graph:
        path: Path = tmp_path_factory.mktemp("onnx") / "net.onnx"
        torch.onnx.export(module.eval(), (torch.zeros(1, *SIZE),), path, dynamo=False)
        return cnnscope.load(str(path)).graph

    return graph


def built(module: nn.Module) -> tuple[int, int]:
    return totals(cnnscope.load(module, input=SIZE).graph)


@pytest.mark.filterwarnings("ignore")
def test_edited_onnx_is_the_module_that_was_built_so(exported: Callable[[nn.Module], Graph]) -> None:
    graph = exported(Residual())
    cases: tuple[tuple[str | Change, nn.Module], ...] = (
        ("a.out=10", Residual(10)), ("b.out=20", Residual(inner=20)), ("e.out=24", Residual(last=24)),
        ("a.stride=1", Residual(stride=1)), (Scale(0.5, 1), Residual(4, 6, 8)), (Scale(2), Residual(16, 24, 32)),
    )  # fmt: skip
    for change, module in cases:
        found = edit(graph, change).graph
        run(found)
        assert totals(found) == built(module), change


def test_layers_behind_traced_operations_take_arguments_for_all_axes() -> None:
    graph = cnnscope.load(Shuffled(), input=SIZE).graph
    assert graph.values(graph.node("b"))[0].kind == "tensor"
    for change, module in (
        ("b.kernel=5", Shuffled(5)), ("b.kernel=[5, 5]", Shuffled(5)), ("b.dilation=2", Shuffled(dilation=2)),
        ("a.out=12", Shuffled(width=12)),
    ):  # fmt: skip
        found = edit(graph, change).graph
        run(found)
        assert totals(found) == built(module), change
        assert found.node("b").output == cnnscope.load(module, input=SIZE).graph.node("b").output
    for change in ("b=blurpool", "after=b:maxpool{kernel: 2}", "after=reshape:maxpool{kernel: 2}"):
        run(edit(graph, change).graph)


@pytest.mark.filterwarnings("ignore")
def test_weights_that_only_look_shared_are_untied(exported: Callable[[nn.Module], Graph]) -> None:
    graph = exported(Untrained())
    assert {"m.weight"} == {node.params["weight"] for node in graph.nodes if node.op.tag == "batchnorm"}
    for change, module in (("a.out=12", Untrained(12)), ("b.out=12", Untrained(8, 12))):
        found = edit(graph, change).graph
        run(found)
        assert totals(found) == built(module), change


@pytest.mark.filterwarnings("ignore")
def test_weights_that_are_shared_stay_so(exported: Callable[[nn.Module], Graph]) -> None:
    graph = exported(Tied())
    with pytest.raises(cnnscope.CnnscopeError, match=r"E304: layers share `b.weight`, which would have to be 8x12x3x3"):
        edit(graph, "a.out=12")


CONVS = [("layer2.0.conv2", 128, 96), ("layer2.0.downsample.{}", 64, 96), ("layer3.0.conv1", 96, 256),
         ("layer3.0.downsample.{}", 96, 256)]  # fmt: skip
INNER = [("layer2.0.conv1", 64, 40), ("layer2.0.conv2", 40, 128)]
LIBRARIES = [
    ("torchvision:resnet18", "layer2.0.conv1.out=40", INNER, ["layer2.0.bn1"]),
    ("torchvision:resnet18", "layer2.0.conv2.out=96",
     [*CONVS, ("layer2.1.conv1", 96, 128), ("layer2.1.conv2", 128, 96)],
     ["layer2.0.bn2", "layer2.0.downsample.1", "layer2.1.bn2"]),
    ("timm:resnet10t", "layer2.0.conv1.out=40", INNER, ["layer2.0.bn1"]),
    ("timm:resnet10t", "layer2.0.conv2.out=96", CONVS, ["layer2.0.bn2", "layer2.0.downsample.2"]),
]  # fmt: skip


def library(source: str) -> nn.Module:
    if source.startswith("timm"):
        made: nn.Module = import_with_operators(lambda: import_module("timm")).create_model(source[5:])
        return made
    network: nn.Module = import_with_operators(lambda: import_module("torchvision.models")).resnet18(weights=None)
    return network


def replaced(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, layer)


@pytest.mark.parametrize(("source", "change", "convs", "norms"), LIBRARIES)
def test_edited_library_networks_are_the_modules_that_were_changed_by_hand(
    source: str, change: str, convs: list[tuple[str, int, int]], norms: list[str]
) -> None:
    network = library(source)
    for name, into, out in convs:
        where = name.format("1" if source.startswith("timm") else "0")
        old = network.get_submodule(where)
        assert isinstance(old, nn.Conv2d)
        replaced(network, where, nn.Conv2d(into, out, old.kernel_size, old.stride, old.padding, bias=False))  # type: ignore[arg-type]  # pairs
    for name in norms:
        replaced(network, name, nn.BatchNorm2d(int(change[-2:])))
    graph = cnnscope.load(source, input=(3, 64, 64)).graph
    found = edit(graph, change).graph
    run(found)
    assert totals(found) == totals(cnnscope.load(network, input=(3, 64, 64)).graph)
    with pytest.raises(cnnscope.CnnscopeError, match=r"E491: `layer3.0.add` cannot join"):
        edit(graph, "layer3.0.conv1.stride=1")
