"""Weights of ONNX models through whatever lies between them and their use: counted, shown and loaded.

Counts are those of the stored tensors; outputs are those of ONNX's reference implementation.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_cases import ints, weights

from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.sources.resolve import load

Array = np.ndarray[Any, Any]


@dataclass
class Net:
    """A model from ``x`` to ``y``, its stored tensors, and how many numbers of them are weights."""

    nodes: list[onnx.NodeProto]
    tensors: dict[str, Array]
    params: int
    shape: tuple[int, ...] = (1, 8)
    functions: list[onnx.FunctionProto] = field(default_factory=list)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.tensors.items()],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
        return helper.make_model(graph, opset_imports=opsets, functions=self.functions, ir_version=10)


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, output.split(), **attributes)


def square(*between: onnx.NodeProto, use: onnx.NodeProto | None = None, params: int = 64, **tensors: Array) -> Net:
    """A product with the square matrix ``w``, which the nodes ``between`` make from the stored ``w0``."""
    nodes = [*between, use or node("MatMul", "x w", "y")]
    return Net(nodes, {"w0": weights(8, 8), **tensors}, params)


def conv(*between: onnx.NodeProto, w0: Array | None = None, params: int = 288, **tensors: Array) -> Net:
    """A convolution with the kernel ``w`` (8, 4, 3, 3), which the nodes ``between`` make from the stored ``w0``."""
    stored = weights(8, 4, 3, 3) if w0 is None else w0
    return Net([*between, node("Conv", "x w", "y")], {"w0": stored, **tensors}, params, (1, 4, 6, 5))


def constant(array: Array, name: str = "w") -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))


def branches(*nodes: onnx.NodeProto) -> onnx.NodeProto:
    """An ``If`` whose condition is true; its branch has a weight of its own."""
    known = [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)]
    then = helper.make_graph(list(nodes), "t", [], known, [numpy_helper.from_array(weights(8, 8), "inner")])
    other = helper.make_graph([node("Relu", "x", "e")], "e", [], [helper.make_tensor_value_info("e", 1, None)])
    return helper.make_node("If", ["condition"], ["y"], then_branch=then, else_branch=other)


TWICE = [node("MatMul", "x w0", "a"), node("Transpose", "w0", "t"), node("MatMul", "a t", "y")]
FUNCTION = helper.make_function("mine", "Layer", ["a"], ["b"], [constant(weights(8, 8)), node("MatMul", "a w", "b")],
                                [helper.make_opsetid("", 21)])  # fmt: skip
NETS: dict[str, Net] = {
    "matmul": square(node("Identity", "w0", "w")),
    "matmul_cast": square(node("Cast", "w0", "h", to=TensorProto.DOUBLE), node("Cast", "h", "w", to=TensorProto.FLOAT)),
    "matmul_transposed": square(node("Transpose", "w0", "w")),
    "matmul_transposed_twice": square(node("Transpose", "w0", "t"), node("Transpose", "t", "w")),
    "matmul_reshaped": square(node("Reshape", "w0 s", "w"), w0=weights(64), s=ints(8, 8)),
    "matmul_squeezed": square(node("Squeeze", "w0 a", "w"), w0=weights(8, 1, 8), a=ints(1)),
    "gemm": square(node("Identity", "w0", "w"), use=node("Gemm", "x w", "y")),
    "gemm_transposed": square(node("Transpose", "w0", "w"), use=node("Gemm", "x w", "y", transB=1)),
    "gemm_identity": square(node("Identity", "w0", "w"), use=node("Gemm", "x w", "y", transB=1)),
    "straight_and_transposed": Net(TWICE, {"w0": weights(8, 8)}, 64),
    "shared": Net([node("MatMul", "x w0", "a"), node("MatMul", "a w0", "y")], {"w0": weights(8, 8)}, 64),
    "shared_and_transposed_back": Net([*TWICE[:2], node("Gemm", "a t", "y", transB=1)], {"w0": weights(8, 8)}, 64),
    "conv_constant": Net([constant(weights(8, 4, 3, 3)), node("Conv", "x w", "y")], {}, 288, (1, 4, 6, 5)),
    "conv_transposed": conv(node("Transpose", "w0", "w", perm=[3, 2, 0, 1]), w0=weights(3, 3, 4, 8)),
    "conv_sliced": conv(node("Slice", "w0 s e", "w"), w0=weights(12, 4, 3, 3), s=ints(2), e=ints(10), params=432),
    "conv_joined": conv(node("Concat", "w0 w1", "w", axis=0), w0=weights(3, 4, 3, 3), w1=weights(5, 4, 3, 3)),
    "conv_gathered": conv(node("Gather", "w0 i", "w", axis=1), i=ints(3, 2, 1, 0)),
    "conv_scaled": conv(node("Mul", "w0 s", "w"), s=np.array(0.5, np.float32)),
    "conv_weight_norm": conv(
        node("Mul", "w0 w0", "q"), node("ReduceSum", "q a", "n"), node("Sqrt", "n", "r"), node("Div", "w0 r", "u"),
        node("Mul", "u g", "w"), a=ints(1, 2, 3), g=weights(8, 1, 1, 1), params=296),
    "conv_added": conv(node("MatMul", "left right", "m"), node("Reshape", "m s", "d"), node("Add", "w0 d", "w"),
                       left=weights(8, 2), right=weights(2, 36), s=ints(8, 4, 3, 3), params=288 + 16 + 72),
    "conv_of_shape": Net(
        [node("ConstantOfShape", "s", "w", value=helper.make_tensor("v", 1, [1], [0.5])), node("Conv", "x w", "y")],
        {"s": ints(8, 4, 3, 3)}, 288, (1, 4, 6, 5)),
    "conv_half": conv(node("Cast", "w0", "w", to=TensorProto.FLOAT), w0=weights(8, 4, 3, 3).astype(np.float16)),
    "prelu_constant": Net([constant(weights(4, 1, 1)), node("PRelu", "x w", "y")], {}, 4, (1, 4, 6, 5)),
    "if_branch": Net([branches(node("MatMul", "x inner", "b"))], {"condition": np.array(True)}, 64),
    "if_branch_outer": Net([branches(node("MatMul", "x w0", "b"))], {"condition": np.array(True), "w0": weights(8, 8)},
                           64),
    "function": Net([helper.make_node("Layer", ["x"], ["y"], domain="mine")], {}, 64, functions=[FUNCTION]),
}  # fmt: skip


def written(net: Net, folder: Path) -> str:
    path = folder / "net.onnx"
    path.write_bytes(net.model().SerializeToString())
    return str(path)


@pytest.mark.parametrize("name", NETS)
def test_parameters_are_the_stored_numbers(name: str, tmp_path: Path) -> None:
    summary = summarize(load(written(NETS[name], tmp_path)).graph)
    assert summary.totals.params == NETS[name].params
    assert not summary.unsupported


@pytest.mark.parametrize("name", NETS)
def test_the_module_computes_what_the_reference_does(name: str, tmp_path: Path) -> None:
    import torch

    from cnnscope.trained.weighted import open_weighted

    net = NETS[name]
    module = open_weighted(load(written(net, tmp_path))).module
    x = np.random.default_rng(1).normal(size=net.shape).astype(np.float32)
    (y,) = ReferenceEvaluator(net.model()).run(None, {"x": x})
    found = module(torch.from_numpy(x)).numpy()
    assert np.abs(found - y).max() <= 1e-4 * np.abs(y).max()


def test_filters_of_a_kernel_behind_a_transpose(tmp_path: Path) -> None:
    """The views are loaded, not the stored order: a kernel stored with its channels last is turned."""
    net = NETS["conv_transposed"]
    model = load(written(net, tmp_path))
    assert model.extras.own is not None
    (kernel,) = model.extras.own().values()
    np.testing.assert_array_equal(kernel.numpy(), net.tensors["w0"].transpose(3, 2, 0, 1))


# -- bounds ----------------------------------------------------------------------------------------------------------


def refused(net: Net, folder: Path) -> str:
    with pytest.raises(CnnscopeError) as caught:
        load(written(net, folder))
    return caught.value.diagnostics[0].message


def test_a_shape_of_2_to_the_42_numbers(tmp_path: Path) -> None:
    doubled = [node("Concat", f"s{i} s{i}", f"s{i + 1}", axis=0) for i in range(40)]
    net = Net([*doubled, node("Reshape", "x s40", "y")], {"s0": ints(1, 8, 1, 1)}, 0)
    assert refused(net, tmp_path) == "layer `y`: `shape` of `Reshape` is a constant of 4,398,046,511,104 numbers"


def test_a_sum_of_itself_forty_times(tmp_path: Path) -> None:
    """Each step is computed once: 2^40 paths lead to the stored matrix."""
    doubled = [node("Add", f"w{i} w{i}", f"w{i + 1}") for i in range(40)]
    net = Net([*doubled, node("MatMul", "x w40", "y")], {"w0": weights(8, 8)}, 64)
    model = load(written(net, tmp_path))
    assert model.extras.own is not None
    (found,) = model.extras.own().values()
    np.testing.assert_allclose(found.numpy(), net.tensors["w0"].T * 2.0**40, rtol=1e-6)


def test_a_weight_too_large_to_make(tmp_path: Path) -> None:
    net = Net([node("Expand", "w0 s", "big"), node("ReduceSum", "big a", "w", keepdims=0), node("MatMul", "x w", "y")],
              {"w0": weights(8, 8), "s": ints(2**40, 8, 8), "a": ints(0)}, 64)  # fmt: skip
    model = load(written(net, tmp_path))
    assert summarize(model.graph).totals.params == 64
    assert model.extras.own is not None
    with pytest.raises(CnnscopeError, match=r"E448: .*the constant `big` has 70,368,744,177,664 elements"):
        model.extras.own()


@pytest.mark.parametrize("missing", [4, 1, 32 * 8])
def test_raw_data_that_is_too_short(missing: int, tmp_path: Path) -> None:
    proto = NETS["matmul"].model()
    (stored,) = proto.graph.initializer
    stored.raw_data = stored.raw_data[:-missing]
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    model = load(str(path))
    assert model.extras.own is not None
    with pytest.raises(CnnscopeError, match=r"E448: .*the constant `w0` cannot be read"):
        model.extras.own()


# -- files -----------------------------------------------------------------------------------------------------------

MEMORY = """
import sys
from cnnscope.sources.onnx import read_graph
graph = read_graph(sys.argv[1])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(sum(param.numel for param in graph.params.values()), peak)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says the peak of a process there")
@pytest.mark.parametrize("field", ["raw_data", "float_data", "node"])
def test_a_graph_is_read_without_its_weights(field: str, tmp_path: Path) -> None:
    """100 MB of zeros: reading the graph takes less memory than its weights, wherever they are stored."""
    size = (2**14, 1600)
    array = np.zeros(size, np.float32)
    stored = numpy_helper.from_array(array, "w")
    if field == "float_data":
        stored = TensorProto(name="w", dims=size, data_type=TensorProto.FLOAT, float_data=array.reshape(-1))
    in_node = [helper.make_node("Constant", [], ["w"], value=stored)]
    graph = helper.make_graph(
        [*(in_node if field == "node" else []), node("MatMul", "x w", "y")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [] if field == "node" else [stored],
    )  # fmt: skip
    path = tmp_path / "large.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    ran = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True)
    numel, kib = map(int, ran.stdout.split())
    assert numel == array.size
    assert kib < 250_000


@pytest.mark.parametrize("field", ["raw_data", "float_data"])
@pytest.mark.parametrize("linked", [False, True])
def test_large_tensors_are_loaded_from_their_place(field: str, linked: bool, tmp_path: Path) -> None:
    """Above 8 KiB the data stay in the file, which may be a link, as in the caches of model hubs."""
    array = np.random.default_rng(0).normal(size=(64, 70)).astype(np.float32)
    stored = numpy_helper.from_array(array, "w0")
    if field == "float_data":
        stored = TensorProto(name="w0", dims=array.shape, data_type=TensorProto.FLOAT, float_data=array.reshape(-1))
    proto = Net([node("MatMul", "x w0", "y")], {}, 0, (1, 64)).model()
    proto.graph.initializer.append(stored)
    path = tmp_path / ("blob" if linked else "net.onnx")
    path.write_bytes(proto.SerializeToString())
    if linked:
        (tmp_path / "net.onnx").symlink_to(path)
    model = load(str(tmp_path / "net.onnx"))
    assert model.extras.own is not None
    (weight,) = model.extras.own().values()
    np.testing.assert_array_equal(weight.numpy(), array.T)


@pytest.mark.parametrize("content", [b"\x0a\x80", b"\x3a\xff\xff\xff\xff\x0f" + bytes(99), bytes(9000), b"\x07" * 9000])
def test_what_is_no_message(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(CnnscopeError) as caught:
        load(str(path))
    assert caught.value.diagnostics[0].message == "`net.onnx` is damaged: it is no protobuf message, or breaks off"


def test_fifty_gigabytes_of_nothing(tmp_path: Path) -> None:
    """A sparse file, alone and as the data of a tensor: neither is read through."""
    path = tmp_path / "net.onnx"
    path.write_bytes(NETS["matmul"].model().SerializeToString())
    with path.open("r+b") as file:
        file.truncate(50 * 10**9)
    with pytest.raises(CnnscopeError, match=r"E441"):
        load(str(path))
