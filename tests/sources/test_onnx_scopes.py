"""Groups of layers in ONNX files: those that torch's modules have, whichever exporter wrote the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx import read_graph
from cnnscope.sources.onnx.build import build
from cnnscope.sources.torch.module import from_module


class Unit(nn.Module):
    """A convolution, its norm and its activation."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.act(self.norm(self.conv(x)))
        return result


class Split(nn.Module):
    """Modules in a list, and operations of its own between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Unit(channels, channels)
        self.rest = nn.ModuleList(nn.Sequential(Unit(channels // 2, channels // 2)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = list(self.first(x).chunk(2, 1))
        parts += [parts[0] + module(parts[-1]) for module in self.rest]
        return torch.cat(parts, 1)


class Nested(nn.Module):
    """Runs the modules of a `Sequential` one by one, as YOLO does, and heads from a list."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(Unit(3, 8), Split(8), nn.Sequential(Unit(16, 4), nn.MaxPool2d(2)))
        self.heads = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 2, 1), nn.Sigmoid()) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in self.model:
            x = module(x)
        return torch.cat([head(x).flatten(2) for head in self.heads], 2)


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_groups_are_the_modules_of_torch(dynamo: bool, tmp_path: Path) -> None:
    module, path = Nested().eval(), tmp_path / "nested.onnx"
    torch.onnx.export(module, (torch.zeros(1, 3, 8, 8),), str(path), dynamo=dynamo, verbose=False)
    expected, found = from_module(module, [InputSize((3, 8, 8))]), read_graph(path)
    assert set(found.scopes) == set(expected.scopes)
    assert set(found.scopes.values()) - set(expected.scopes.values()) <= {"group"}
    roots = {node.layer.partition(".")[0] for node in found.nodes if node.params}
    assert roots == {"model", "heads"}
    inside = [node.layer for node in found.nodes if node.op.tag in ("view", "add", "concat")]
    assert sum(layer.startswith("model.1.") for layer in inside) >= 4  # the parts, both sums, the join


def named(*names: str) -> Graph:
    values = ["x", *(f"v{i}" for i in range(1, len(names))), "y"]
    nodes = [helper.make_node("Relu", [values[i]], [values[i + 1]], name) for i, name in enumerate(names)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    return build(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))


def test_names_of_tensorflow_are_groups() -> None:
    graph = named("net/block1/conv/Relu", "net/block1/add", "net/block2/conv/Relu", "net/head/Relu")
    assert graph.scopes == {"net": "group", "net.block1": "group", "net.block2": "group"}
    assert [node.layer for node in graph.nodes] == ["net.block1.conv", "net.block1.add", "net.block2.conv", "net.head"]


@pytest.mark.parametrize(
    ("before", "after", "row"),
    [
        ("/a/b/conv/Relu", "/a/b/act/Relu", "a.b.Split_7"),
        ("/a/b/conv/Relu", "/a/c/conv/Relu", "a.Split_7"),
        ("/a/b/conv/Relu", "/d/c/conv/Relu", "Split_7"),
        ("/a/b/conv/Relu", "/a/b/conv/Relu_1", "a.b.conv"),
    ],
)
def test_a_node_without_a_place_is_where_its_neighbours_are(before: str, after: str, row: str) -> None:
    assert named("/a/x/Relu", "/a/b/x/Relu", before, "Split_7", after).nodes[3].layer == row


def test_files_without_scopes_have_no_groups() -> None:
    assert named("Relu_1", "Relu_2").scopes == {}


def test_a_path_longer_than_any_of_modules_is_no_path() -> None:
    """A hundred nodes would be in a hundred thousand groups."""
    graph = named(*(f"{'/'.join('a' * 1000)}/{i}/Relu" for i in range(100)))
    assert graph.scopes == {}
    assert len(graph.nodes) == 100
