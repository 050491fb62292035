"""Models as torch's exporters write them, against torch's own counts, ONNX's shape inference and the torch source.

``data/make_onnx.py`` wrote the fixtures (torch 2.13.0, torchvision 0.29.2): whole torchvision models without their
weights, which are external data that is not there, and what torch counts of them.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest

from cnnscope.analysis.summary import Row, summarize
from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx import read_graph
from cnnscope.sources.onnx.build import read
from cnnscope.sources.onnx.values import DTYPES
from cnnscope.sources.torch.module import from_module

EXPORTS = Path(__file__).parent / "data" / "exports"
COUNTS: dict[str, dict[str, Any]] = json.loads((EXPORTS / "exports.json").read_text())


def path_of(name: str, folder: Path) -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(gzip.decompress((EXPORTS / f"{name}.onnx.gz").read_bytes()))
    return path


@pytest.mark.parametrize("name", COUNTS)
def test_totals_are_those_torch_counts(name: str, tmp_path: Path) -> None:
    """With the weights in a file that is not there; batch norms folded into convolutions leave their bias."""
    expected = COUNTS[name]
    summary = summarize(read_graph(path_of(name, tmp_path)))
    plain = expected["norms"] == "plain"
    assert summary.totals.params == expected["params" if plain else "folded"]
    assert summary.totals.buffers == (expected["statistics"] if plain else 0)
    assert summary.totals.macs == expected["macs"]
    assert not summary.unsupported


def inferred(model: onnx.ModelProto) -> dict[str, tuple[tuple[int, ...], str]]:
    """Every value of which ONNX's shape inference knows all extents, at batch 1."""
    for info in model.graph.input:
        info.type.tensor_type.shape.dim[0].dim_value = 1
    names = {number: dtype for number, dtype in DTYPES.items() if dtype in ("float32", "int64", "bool")}
    found = {}
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    for info in (*graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        if tensor.elem_type in names and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            found[info.name] = tuple(dim.dim_value for dim in tensor.shape.dim), names[tensor.elem_type]
    return found


@pytest.mark.parametrize("name", COUNTS)
def test_every_shape_is_the_one_onnx_infers(name: str, tmp_path: Path) -> None:
    model = onnx.load(str(path_of(name, tmp_path)), load_external_data=False)
    reader = read(model)
    inputs = {info.name: reader.builder.inputs[info.name] for info in model.graph.input}
    shapes = inferred(model)
    compared = 0
    for value, operand in reader.env.items():
        stated = shapes.get(value)
        if value not in inputs and stated is not None:
            found = reader.builder.values[operand] if isinstance(operand, str) else operand
            assert (found.shape, found.dtype) == stated, value
            compared += 1
    assert compared >= 49


def rows(graph: Graph) -> dict[str, Row]:
    return {row.name: row for row in summarize(graph).rows}


@pytest.mark.parametrize("name", ["densenet121_script", "mobilenet_v3_small_script", "resnet18_dynamo"])
def test_rows_have_the_names_and_fields_of_the_modules(name: str, tmp_path: Path, torchvision: ModuleType) -> None:
    """Convolutions and linear layers under their modules' names, with the receptive fields of the torch source."""
    import torch

    exported = rows(read_graph(path_of(name, tmp_path)))
    with torch.device("meta"):
        module = getattr(torchvision.models, name.rpartition("_")[0])(weights=None).eval()
    traced = rows(from_module(module, [InputSize((3, 224, 224))]))
    products = [row for row in traced.values() if row.cost.macs]
    assert len(products) > 20
    for row in products:
        twin = exported[row.name]
        assert (twin.op, twin.output and twin.output.shape) == (row.op, row.output and row.output.shape), row.name
        assert twin.cost.macs == row.cost.macs, row.name
        assert twin.receptive_field is not None
        assert row.receptive_field is not None
        assert twin.receptive_field.maps == row.receptive_field.maps, row.name


# -- exported here and now -------------------------------------------------------------------------------------------


def small_net() -> Any:
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
            self.norm = nn.GroupNorm(2, 4)
            self.act = nn.PReLU(4)

        def forward(self, x: Any) -> Any:
            return self.act(self.norm(self.up(x)))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.Hardswish())
            self.block = Block()
            self.pool = nn.AvgPool2d(3, 2, 1, ceil_mode=True)
            self.head = nn.Linear(4, 5)

        def forward(self, x: Any) -> Any:
            y = self.pool(self.block(self.stem(x)))
            y = nn.functional.interpolate(y, scale_factor=2, mode="bilinear")
            return self.head(y.mean((2, 3)))

    return Net()


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_a_module_exported_and_read_back(dynamo: bool, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    module = small_net().eval()
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            tensor.data.uniform_(0.1, 1)
    path = tmp_path / "net.onnx"
    options: dict[str, Any] = {"dynamo": True, "verbose": False} if dynamo else {"dynamo": False}
    torch.onnx.export(module, (torch.zeros(1, 3, 10, 12),), path, **options)
    summary = summarize(read_graph(path))
    traced = summarize(from_module(module, [InputSize((3, 10, 12))]))
    assert summary.totals.macs == traced.totals.macs
    assert summary.totals.params == traced.totals.params - 6  # the batch norm is folded: its bias is the convolution's
    names = {row.name for row in summary.rows}
    assert {"stem.0", "block.up", "head"} <= names
    last = summary.rows[-1]
    assert (last.name, last.output and last.output.features) == ("head", (5,))


def table_net() -> Any:
    """Tables of an interpolation, divisors of pools and tensors in the code, beside a scale and a buffer of its own."""
    import torch
    from torch import nn

    class Tables(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.scale = nn.Parameter(torch.rand(4, 1, 1))
            self.register_buffer("mean", torch.rand(1, 4, 1, 1))
            self.head = nn.Linear(4, 5)

        def forward(self, x: Any) -> Any:
            y = self.conv(x) * self.scale - self.mean
            y = nn.functional.interpolate(y, scale_factor=1.7, mode="bilinear", align_corners=True)
            y = nn.functional.adaptive_avg_pool2d(y, (5, 5)) if self.uneven else y
            y = y + torch.linspace(0, 1, y.shape[2])[:, None] + torch.arange(float(y.shape[3]))
            return self.head((y * torch.tensor([1.0, 2, 3, 4]).view(4, 1, 1)).mean((2, 3)))

    return Tables()


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_tensors_in_the_code_are_no_parameters(dynamo: bool, tmp_path: Path) -> None:
    """Everything in the state dict counts, and nothing else."""
    import torch

    module = table_net().eval()
    module.uneven = dynamo  # the older exporter refuses such pools
    path = tmp_path / "net.onnx"
    options: dict[str, Any] = {"dynamo": True, "verbose": False} if dynamo else {"dynamo": False}
    torch.onnx.export(module, (torch.zeros(1, 3, 12, 11),), path, **options)
    totals = summarize(read_graph(path)).totals
    assert totals.params + totals.buffers == sum(tensor.numel() for tensor in module.state_dict().values())
