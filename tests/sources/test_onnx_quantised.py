"""Networks that ONNX Runtime quantised, in each of its formats, against the float networks they were made from.

The counts are those of the float file; weights are equal up to half a step of their quantisation; types and bytes are
those of the tensors in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import cnnscope
from cnnscope.analysis.summary import Summary, summarize
from cnnscope.sources.onnx import read_graph
from cnnscope.sources.onnx.build import ROUNDED
from cnnscope.sources.resolve import load

pytest.importorskip("onnxruntime.quantization")

SIZES = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "b2": (8,), "w3": (10, 8), "b3": (10,), "w4": (10, 6)}
PARAMS = 958
FORMATS = [f"{kind} {each}" for kind in ("qdq", "operators", "dynamic") for each in ("per tensor", "per channel")]


def float_model() -> onnx.ModelProto:
    """Convolutions, a sum, a join, a product, a pool, two linear layers."""
    draw = np.random.default_rng(0)
    tensors = [numpy_helper.from_array(draw.normal(0, 0.2, size).astype(np.float32), name)
               for name, size in SIZES.items()]  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4), node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2", "b2"], ["c2"], pads=[1] * 4), node("Add", ["c2", "p1"], ["a"]),
        node("Concat", ["a", "p1"], ["k"], axis=1), node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["m"]),
        node("GlobalAveragePool", ["m"], ["g"]), node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["h"], transB=1), node("MatMul", ["h", "w4"], ["y"]),
    ]  # fmt: skip
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
              for name, shape in (("x", [1, 3, 8, 8]), ("y", [1, 6]), ("k", [1, 16, 4, 4]))]  # fmt: skip
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def quantised(model: Path, kind: str, target: Path) -> Path:
    """Writes the quantised model as ONNX Runtime does, with scales from four random images."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    form, _, each = kind.partition(" ")
    options: dict[str, Any] = {"per_channel": each == "per channel", "weight_type": QuantType.QInt8}
    if form == "dynamic":
        quantize_dynamic(model, target, **options)
        return target
    (given,) = onnx.load(str(model), load_external_data=False).graph.input
    shape = [dim.dim_value or 1 for dim in given.type.tensor_type.shape.dim]
    draw = np.random.default_rng(0)

    class Images(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        left = 2

        def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
            self.left -= 1
            return {given.name: draw.normal(size=shape).astype(np.float32)} if self.left >= 0 else None

    forms = {"qdq": QuantFormat.QDQ, "operators": QuantFormat.QOperator}
    quantize_static(model, target, Images(), quant_format=forms[form], **options)
    return target


def bits(packed: bool, folder: Path) -> Path:
    """The last matrix with 4 bits a weight: in blocks with an operator of its own, or as a tensor of that type."""
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    form = {} if packed else {"quant_format": QuantFormat.QDQ}
    made = MatMulNBitsQuantizer(float_model(), block_size=16, is_symmetric=packed, bits=4, **form)
    made.process()
    made.model.save_model_to_file(str(folder / "bits.onnx"), False)
    return folder / "bits.onnx"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    onnx.save(float_model(), str(tmp_path / "float.onnx"))
    return tmp_path / "float.onnx"


def stored(path: Path) -> Summary:
    return summarize(read_graph(path))


@pytest.mark.parametrize("kind", FORMATS)
def test_as_many_parameters_as_the_float_file(kind: str, network: Path, tmp_path: Path) -> None:
    plain, found = stored(network), stored(quantised(network, kind, tmp_path / "q.onnx"))
    assert plain.totals.params == found.totals.params == PARAMS
    assert found.totals.macs == plain.totals.macs
    assert not found.unsupported
    assert not found.uncounted
    assert found.stored == {"int8": 932, "float32" if kind.startswith("dynamic") else "int32": 26}
    assert found.totals.param_bytes == 932 + 26 * 4


@pytest.mark.parametrize("kind", FORMATS)
def test_weights_are_the_float_ones_up_to_half_a_step(kind: str, network: Path, tmp_path: Path) -> None:
    """The loaded kernels and matrices, largest first, beside those of the float file. Products of integers alone
    (`ConvInteger`) are scaled later, so they are compared by their direction.
    """
    states = [load(str(path)).extras.own for path in (network, quantised(network, kind, tmp_path / "q.onnx"))]
    assert all(state is not None for state in states)
    pairs = [[tensor.numpy() for tensor in state().values() if tensor.ndim > 1] for state in states if state]
    compared = 0
    for plain in pairs[0]:
        for found in pairs[1]:
            if plain.shape != found.shape:
                continue
            flat, other = plain.reshape(-1), found.reshape(-1)
            if kind == "dynamic per tensor" or (kind.startswith("dynamic") and plain.ndim == 4):
                other = other * (flat @ other) / (other @ other)
            elif kind.startswith("dynamic"):
                other = (found * (plain * found).sum(1, keepdims=True) / (found**2).sum(1, keepdims=True)).reshape(-1)
            assert np.abs(flat - other).max() < np.abs(flat).max() / 100
            compared += 1
    assert compared == 4


@pytest.mark.parametrize("kind", FORMATS[:4])
def test_values_between_layers_have_the_type_they_are_rounded_to(kind: str, network: Path, tmp_path: Path) -> None:
    graph = read_graph(quantised(network, kind, tmp_path / "q.onnx"))
    assert {node.output.dtype for node in graph.nodes if node.name not in graph.outputs} in ({"int8"}, {"uint8"})
    assert {graph.value(name).dtype for name in graph.outputs} == {"float32"}
    assert load(str(tmp_path / "q.onnx")).notes == (ROUNDED,)


@pytest.mark.parametrize("packed", [True, False])
def test_four_bits_a_weight(packed: bool, network: Path, tmp_path: Path) -> None:
    found = stored(bits(packed, tmp_path))
    assert found.totals.params == PARAMS
    assert found.stored == {"float32": PARAMS - 60, "uint4": 60}
    assert found.totals.param_bytes == (PARAMS - 60) * 4 + 30


def test_four_bits_a_weight_unpacked(tmp_path: Path) -> None:
    """Every element is within half a step of its block's own scale, a fifteenth of the range from -8 to 7."""
    plain = float_model()
    (matrix,) = [numpy_helper.to_array(t) for t in plain.graph.initializer if t.name == "w4"]
    own = load(str(bits(True, tmp_path))).extras.own
    assert own is not None
    (found,) = [tensor.numpy() for tensor in own().values() if tensor.shape == (6, 10)]
    step = np.abs(matrix).max(0) / 8
    assert (np.abs(found.T - matrix) <= step * 1.01).all()
    assert np.abs(found.T - matrix).max() > 0


@pytest.mark.filterwarnings("ignore")
def test_a_squeezenet(tmp_path: Path, torchvision: Any) -> None:
    """As torch exports it and ONNX Runtime quantises it, at a small size."""
    import torch

    torch.manual_seed(0)
    module = torchvision.models.squeezenet1_1(weights=None).eval()
    for parameter in module.parameters():  # equal biases are stored once
        parameter.data.uniform_(-0.1, 0.1)
    path = tmp_path / "float.onnx"
    torch.onnx.export(module, (torch.zeros(1, 3, 64, 64),), path, dynamo=False)
    count = sum(parameter.numel() for parameter in module.parameters())
    assert stored(path).totals.params == count == 1_235_496
    for kind in ("qdq per channel", "operators per tensor", "dynamic per tensor"):
        found = stored(quantised(path, kind, tmp_path / "q.onnx"))
        assert (found.totals.params, found.totals.macs) == (count, stored(path).totals.macs), kind
        assert not found.uncounted


# -- by hand ---------------------------------------------------------------------------------------------------------


def test_the_line_of_types_and_bytes(tmp_path: Path) -> None:
    """A kernel (8, 4, 3, 3) of integers with a bias of 18 more numbers: 314 = 296 + 18."""
    from cnnscope.render.numbers import stored as line

    assert line({"int8": 296, "int32": 18}) == "int8 296, int32 18x4"
    assert line({"float32": 898, "uint4": 60}) == "float32 898x4, uint4 60/2"


def test_a_dequantised_kernel_is_what_the_reference_makes(tmp_path: Path) -> None:
    """Scales and zero points for each channel, of unsigned integers; the file's own shape and type."""
    draw = np.random.default_rng(3)
    tensors = {
        "w": draw.integers(0, 255, (4, 3, 3, 3)).astype(np.uint8),
        "s": draw.uniform(0.1, 1, 4).astype(np.float32),
        "z": draw.integers(0, 255, 4).astype(np.uint8),
    }
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["f"], axis=0),
             helper.make_node("Conv", ["x", "f"], ["y"])]  # fmt: skip
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("y", 1, None)],
                              [numpy_helper.from_array(array, name) for name, array in tensors.items()])  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    path = tmp_path / "q.onnx"
    onnx.save(proto, str(path))
    assert stored(path).stored == {"uint8": 108}
    own = load(str(path)).extras.own
    assert own is not None
    (kernel,) = own().values()
    proto.graph.output.append(helper.make_tensor_value_info("f", 1, None))
    (expected,) = ReferenceEvaluator(proto).run(["f"], {"x": np.zeros((1, 3, 8, 8), np.float32)})
    np.testing.assert_array_equal(kernel.numpy(), expected)


def test_parameters_are_lower_bounds_where_an_operator_is_unknown(tmp_path: Path) -> None:
    """It may have weights among its integers: nobody says so."""
    from cnnscope.api import load as open_model

    node = helper.make_node("Secret", ["x", "w"], ["y"], "secret", domain="mine")
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("y", 1, [1, 3, 8, 8])],
                              [numpy_helper.from_array(np.ones((4, 3, 3, 3), np.int8), "w")])  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    path = tmp_path / "secret.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets), str(path))
    assert stored(path).uncounted == ("secret",)
    model = open_model(str(path))
    assert "parameters   >= 0 = >= 0 B" in str(model.summary())
    assert ">= 0 parameters" in repr(model)


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_of_a_quantised_table_are_an_embedding(axis: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    table = draw.integers(-100, 100, (10, 4)).astype(np.int8)
    scales, points = draw.random(4).astype(np.float32), draw.integers(-9, 9, 4).astype(np.int8)
    held = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(scales if axis else scales[0], "scale"),
            numpy_helper.from_array(points if axis else points[0], "point")]  # fmt: skip
    nodes = [helper.make_node("Gather", ["table", "places"], ["rows"]),
             helper.make_node("DequantizeLinear", ["rows", "scale", "point"], ["y"], axis=2 * axis)]  # fmt: skip
    values = [helper.make_tensor_value_info("places", TensorProto.INT64, [1, 3]),
              helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4])]  # fmt: skip
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], held)
    path = tmp_path / "table.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    places = np.array([[1, 9, 0]])
    network = cnnscope.load(path)
    assert summarize(network.graph).totals.params == 40
    made = network.weighted().module(torch.from_numpy(places))
    np.testing.assert_allclose(
        made.detach().numpy(), ReferenceEvaluator(str(path)).run(None, {"places": places})[0], rtol=1e-6
    )
