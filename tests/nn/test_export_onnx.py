"""ONNX files: valid, named like the graph, computing what the graph computes, and read back as the same network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cnnscope import spec
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Param
from cnnscope.nn.build import build
from cnnscope.nn.export import onnx_file
from cnnscope.nn.export.onnx_file import write_onnx
from cnnscope.sources import zoo
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.resolve import load
from cnnscope.sources.torch.module import from_module

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

SMALL = """{cnnscope: 1, name: small, input: {shape: [3, 8, 8]}, layers: [
    {conv: {out: 4, kernel: 3, bias: false, norm: batch, act: relu, name: stem}},
    {residual: {layers: [{conv: {out: 4, kernel: 3, pad: 1, norm: batch, name: a}}], act: relu}},
    {depthwise: {kernel: 3, stride: 2, name: dw}}, globalavgpool, flatten, {linear: {out: 5, name: fc}}]}"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Any, dict[str, torch.Tensor], Path]:
    """A network with norms, its file, its weights, and where the file is."""
    graph = spec.load("small.yaml", text=SMALL).graph
    network = build(graph, seed=1)
    network(torch.rand(8, 3, 8, 8))  # moves the running statistics
    weights = network.state_dict()
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    write_onnx(graph, path, weights)
    return graph, onnx.load(path), weights, path


def test_the_file_is_valid(small: tuple[Graph, Any, Any, Path]) -> None:
    _, model, _, path = small
    onnx.checker.check_model(model, full_check=True)
    assert [file.name for file in path.parent.iterdir()] == ["small.onnx"]


def test_nodes_are_called_like_layers(small: tuple[Graph, Any, Any, Path]) -> None:
    graph, model, _, _ = small
    assert [node.name for node in model.graph.node] == [node.name for node in graph.nodes]
    assert [node.op_type for node in model.graph.node][:3] == ["Conv", "BatchNormalization", "Relu"]
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == list(graph.outputs)


def test_weights_are_called_like_the_graphs(small: tuple[Graph, Any, Any, Path]) -> None:
    graph, model, weights, _ = small
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    wanted = {key for key in graph.params if not key.endswith("num_batches_tracked")}
    assert wanted == {name for name, array in stored.items() if array.dtype == np.float32}
    assert all(np.array_equal(stored[key], weights[key].numpy()) for key in wanted)


def test_nothing_of_this_machine_is_in_the_file(small: tuple[Graph, Any, Any, Path]) -> None:
    content = small[3].read_bytes()
    assert b".py" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_it_computes_the_same(small: tuple[Graph, Any, dict[str, torch.Tensor], Path]) -> None:
    from onnx.reference import ReferenceEvaluator

    graph, model, weights, _ = small
    network = build(graph)
    network.load_state_dict(weights)
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        expected = network.eval()(x).numpy()
    (found,) = ReferenceEvaluator(model).run(None, {"input": x.numpy()})
    assert np.allclose(found, expected, atol=1e-6)
    assert expected.std() > 0


def facts(graph: Graph) -> tuple[object, ...]:
    totals = summarize(graph).totals
    return totals.params, totals.macs, [theoretical(graph)[name] for name in graph.outputs]


def assert_round_trip(graph: Graph, path: Path) -> None:
    write_onnx(graph, path)
    assert facts(load(str(path)).graph) == facts(graph)


@pytest.mark.parametrize("name", ["lenet5", "keras-cnn"])
def test_read_back_as_the_same_network(name: str, tmp_path: Path) -> None:
    assert_round_trip(spec.load(zoo.path(name)).graph, tmp_path / "net.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "mobilenet_v2", "squeezenet1_0", "unet", "efficientnet_b0", "siamese"]
)
def test_read_back_as_the_same_network_large(name: str, tmp_path: Path) -> None:
    assert_round_trip(spec.load(zoo.path(name)).graph, tmp_path / "net.onnx")


# -- what is refused ---------------------------------------------------------------------------------------------------


def refused(graph: Graph, path: Path) -> tuple[str, str, str | None]:
    with pytest.raises(CnnscopeError) as caught:
        write_onnx(graph, path)
    (diagnostic,) = caught.value.diagnostics
    assert not list(path.parent.iterdir())
    return diagnostic.code, diagnostic.message, diagnostic.hint


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    graph = spec.load("small.yaml", text=SMALL).graph
    assert refused(graph, tmp_path / "x.onnx") == ("E414", "needs onnx-ir: pip install 'cnnscope[onnx]'", None)


def test_the_layer_that_torch_cannot_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = onnx_file._program

    def without_norms(graph: Graph, *rest: Any) -> Any:
        if any(node.op.tag == "batchnorm" for node in graph.nodes):
            raise RuntimeError("step 3 of 3 failed\nmore") from ValueError("no function for norms\nmore")
        return program(graph, *rest)

    monkeypatch.setattr(onnx_file, "_program", without_norms)
    graph = spec.load("small.yaml", text=SMALL).graph
    first = next(node.name for node in graph.nodes if node.op.tag == "batchnorm")
    what = f"torch cannot export `{first}` (`batchnorm`) of `small` to ONNX: no function for norms"
    assert refused(graph, tmp_path / "x.onnx") == ("E427", what, None)


def test_more_weights_than_a_file_holds(tmp_path: Path) -> None:
    graph = spec.load("small.yaml", text=SMALL).graph
    huge = Graph("huge", graph.inputs, graph.nodes, graph.outputs, {**graph.params, "more": Param((2**30,))})
    code, message, _ = refused(huge, tmp_path / "x.onnx")
    size = sum(param.nbytes for param in huge.params.values())
    assert (code, message) == ("E427", f"`huge` has {size:,} bytes of weights; an ONNX file holds 2 GiB")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    graph = spec.load("small.yaml", text=SMALL).graph
    folder = tmp_path / "x.onnx"
    folder.mkdir()
    with pytest.raises(CnnscopeError, match=r"E405: cannot write `.*x\.onnx`"):
        write_onnx(graph, folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_pools_with_a_divisor_of_their_own_are_refused(tmp_path: Path) -> None:
    graph = from_module(torch.nn.AvgPool2d(2, divisor_override=3), [InputSize((3, 8, 8))])
    with pytest.raises(CnnscopeError) as caught:
        write_onnx(graph, tmp_path / "pool.onnx")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "`avgpool` is `avgpool` with a `divisor`, which torch leaves out of ONNX files"
    assert not (tmp_path / "pool.onnx").exists()


class Carried(torch.nn.Module):
    """Operands beyond the arguments of a layer type, and a slice that is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.softplus = torch.nn.Softplus(beta=2, threshold=0.5)
        self.weight, self.bias = torch.nn.Parameter(torch.rand(192, 4)), torch.nn.Parameter(torch.rand(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.add(self.softplus(x), x, alpha=0.3)
        z = x.clone()
        z[:, :2] = x[:, 1:] * 2
        y = torch.addmm(self.bias, z.flatten(1), self.weight, beta=0.5, alpha=2)
        return y.softmax(1, dtype=torch.float64).float()


def test_operands_beyond_a_layers_arguments_are_in_the_file(tmp_path: Path) -> None:
    runtime, module, x = pytest.importorskip("onnxruntime"), Carried(), torch.rand(1, 3, 8, 8)
    path = tmp_path / "carried.onnx"
    write_onnx(from_module(module, [InputSize((3, 8, 8))]), path, module.state_dict())
    session = runtime.InferenceSession(path)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), module(x).detach())
