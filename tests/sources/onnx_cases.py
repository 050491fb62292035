"""Models of one ONNX operator each, or of a few: every operator and attribute that cnnscope reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cnnscope.ir import Graph
from cnnscope.sources.onnx.build import build

Node = onnx.NodeProto


@dataclass
class Case:
    """A model of one input ``x``: its nodes (the last makes ``y``), constants by name, how many of them are weights."""

    nodes: Sequence[Node]
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    shape: tuple[int, ...] = (1, 4, 9, 7)
    params: int = 0
    buffers: int = 0
    opset: int = 20
    tags: tuple[str, ...] = ()
    dtype: int = TensorProto.FLOAT

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            list(self.nodes), "g", [helper.make_tensor_value_info("x", self.dtype, self.shape)],
            [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)

    def graph(self) -> Graph:
        return build(self.model())


def op(kind: str, *inputs: str, **attributes: Any) -> Case:
    return Case([helper.make_node(kind, ["x", *inputs], ["y"], **attributes)])


def weights(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(len(shape) + sum(shape)).uniform(0.1, 1, shape).astype(np.float32)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def with_(case: Case, **changed: Any) -> Case:
    for key, value in changed.items():
        setattr(case, key, value)
    return case


def conv(kernel: tuple[int, int] = (3, 3), out: int = 6, groups: int = 1, bias: bool = True, **attributes: Any) -> Case:
    if groups > 1:
        attributes["group"] = groups
    case = op("Conv", "w", *(["b"] if bias else []), **attributes)
    w = weights(out, 4 // groups, *kernel)
    constants = {"w": w} | ({"b": weights(out)} if bias else {})
    return with_(case, constants=constants, params=w.size + out * bias)


def upconv(kernel: tuple[int, int] = (3, 3), **attributes: Any) -> Case:
    case = op("ConvTranspose", "w", **attributes)
    w = weights(4, 5, *kernel)
    return with_(case, constants={"w": w}, params=w.size)


def resize(mode: str, scales: Sequence[float] = (), sizes: Sequence[int] = (), **attributes: Any) -> Case:
    constants = {"scales": np.array(scales, np.float32)} if scales else {"sizes": ints(*sizes)}
    inputs = ["", "scales"] if scales else ["", "", "sizes"]
    return with_(op("Resize", *inputs, mode=mode, **attributes), constants=constants)


WINDOWS: dict[str, Case] = {
    "conv": conv(),
    "conv_uneven": conv(pads=[2, 0, 0, 1], strides=[2, 1], bias=False),
    "conv_same_upper": conv((3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv_same_lower": conv((2, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv_valid": conv(auto_pad="VALID", strides=[3, 1], kernel_shape=[3, 3]),
    "conv_groups": conv(groups=2, dilations=[2, 1], pads=[2, 1, 2, 1]),
    "upconv": upconv(strides=[2, 2]),
    "upconv_pads": upconv(strides=[2, 2], pads=[1, 1, 1, 1]),
    "upconv_uneven": upconv(strides=[2, 2], pads=[0, 0, 1, 1]),
    "upconv_extra": upconv(strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    "upconv_output_shape_upper": upconv((4, 3), strides=[3, 2], output_shape=[27, 14], auto_pad="SAME_UPPER"),
    "upconv_dilated": upconv(dilations=[2, 1]),
    "maxpool": op("MaxPool", kernel_shape=[3, 3]),
    "maxpool_strides": op("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "maxpool_ceil": op("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "maxpool_dilated": op("MaxPool", kernel_shape=[3, 3], dilations=[2, 2], pads=[1, 1, 1, 1]),
    "maxpool_same": op("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    "averagepool": op("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "averagepool_counted": op("AveragePool", kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1),
    "averagepool_wide": op("AveragePool", kernel_shape=[2, 2], pads=[2, 2, 2, 2], count_include_pad=1),
    "averagepool_ceil": op("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "lppool": op("LpPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "globalaverage": op("GlobalAveragePool"),
    "globalmax": op("GlobalMaxPool"),
    "resize_floor": resize("nearest", (1, 1, 2, 3), coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    "resize_default": resize("nearest", (1, 1, 2, 2)),
    "resize_prefer_floor": resize("nearest", (1, 1, 3, 3), coordinate_transformation_mode="asymmetric"),
    "resize_ceil": resize("nearest", sizes=(1, 4, 12, 7), nearest_mode="ceil"),
    "resize_down": resize("nearest", sizes=(1, 4, 4, 3), nearest_mode="round_prefer_ceil"),
    "resize_linear": resize("linear", (1, 1, 2, 2)),
    "resize_linear_sizes": resize("linear", sizes=(1, 4, 13, 10)),
    "resize_corners": resize("linear", sizes=(1, 4, 13, 10), coordinate_transformation_mode="align_corners"),
    "resize_cubic": resize("cubic", (1, 1, 2, 2)),
    "pad": with_(op("Pad", "p"), constants={"p": ints(0, 0, 1, 0, 0, 0, 2, 1)}),
    "pad_reflect": with_(op("Pad", "p", mode="reflect"), constants={"p": ints(0, 0, 3, 0, 0, 0, 2, 1)}),
    "pad_edge": with_(op("Pad", "p", mode="edge"), constants={"p": ints(0, 0, 1, 0, 0, 0, 2, 1)}),
    "pad_wrap": with_(op("Pad", "p", mode="wrap"), constants={"p": ints(0, 0, 1, 0, 0, 0, 2, 1)}),
    "pad_axes": with_(op("Pad", "p", "", "a"), constants={"p": ints(2, 1), "a": ints(-2)}),
    "pad_channels": with_(op("Pad", "p"), constants={"p": ints(0, 1, 1, 0, 0, 0, 0, 0)}),
    "depth_to_space": with_(op("DepthToSpace", blocksize=2), shape=(1, 8, 4, 3)),
    "depth_to_space_crd": with_(op("DepthToSpace", blocksize=2, mode="CRD"), shape=(1, 8, 4, 3)),
    "space_to_depth": with_(op("SpaceToDepth", blocksize=2), shape=(1, 2, 6, 4)),
    "slice": with_(op("Slice", "s", "e", "a", "t"),
                   constants={"s": ints(1, 8), "e": ints(4, -100), "a": ints(1, 2), "t": ints(1, -2)}),
    "slice_ends": with_(op("Slice", "s", "e"), constants={"s": ints(0, 1, -5, 0), "e": ints(1, 3, 2**62, -1)}),
    "split": Case([helper.make_node("Split", ["x"], ["y", "z"], axis=2, num_outputs=2)]),
    "split_sizes": Case([helper.make_node("Split", ["x", "n"], ["z", "y"], axis=2)], {"n": ints(4, 5)}),
    "gather_list": with_(op("Gather", "i", axis=2), constants={"i": ints(7, 0, -2)}),
    "concat": Case([helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Concat", ["x", "r"], ["y"], axis=2)]),
    "tile": with_(op("Tile", "n"), constants={"n": ints(1, 1, 2, 1)}),
    "lrn": op("LRN", size=3),
    "reduce_columns": with_(op("ReduceMean", "a"), constants={"a": ints(3)}),
    "transposed_back": Case([
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MaxPool", ["t"], ["p"], kernel_shape=[1, 2]),
        helper.make_node("Transpose", ["p"], ["y"], perm=[0, 1, 3, 2]),
    ]),
}  # fmt: skip

OTHERS: dict[str, Case] = {
    **{kind.lower(): op(kind) for kind in (
        "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Mish", "Abs", "HardSwish", "LeakyRelu", "Elu", "Selu",
        "Gelu", "HardSigmoid", "Neg", "Exp", "Sqrt", "Erf", "Floor", "Softmax", "LogSoftmax", "Hardmax", "Identity",
        "ThresholdedRelu", "Celu", "Not",
    ) if kind != "Not"},
    "softmax_old": with_(op("Softmax", axis=1), opset=11),
    "clip": with_(op("Clip", "l", "h"), constants={"l": np.float32(0), "h": np.float32(6)}),
    "clip_attributes": with_(op("Clip", min=-1.0, max=2.0), opset=6),
    "dropout": op("Dropout"),
    "prelu": with_(op("PRelu", "s"), constants={"s": weights(4, 1, 1)}, params=4),
    "prelu_one": with_(op("PRelu", "s"), constants={"s": weights(1)}, params=1),
    "prelu_each": with_(op("PRelu", "s"), constants={"s": weights(9, 7)}, params=63),
    "batchnorm": with_(op("BatchNormalization", "s", "b", "m", "v"),
                       constants={k: weights(4) + i for i, k in enumerate("sbmv")}, params=8, buffers=8),
    "batchnorm_flat": with_(op("BatchNormalization", "s", "b", "m", "v"), shape=(1, 4),
                            constants={k: weights(4) + i for i, k in enumerate("sbmv")}, params=8, buffers=8),
    "layernorm": with_(op("LayerNormalization", "s", "b"), constants={"s": weights(7), "b": weights(7)}, params=14),
    "layernorm_three": with_(op("LayerNormalization", "s", axis=1), constants={"s": weights(4, 9, 7)}, params=252),
    "instancenorm": with_(op("InstanceNormalization", "s", "b"), params=8,
                          constants={"s": weights(4), "b": weights(4)}),
    "groupnorm": with_(op("GroupNormalization", "s", "b", num_groups=2), opset=21,
                       constants={"s": weights(4), "b": weights(4)}, params=8),
    "meanvariance": op("MeanVarianceNormalization"),
    "lpnormalization": op("LpNormalization", axis=1),
    "add_bias": with_(op("Add", "b"), constants={"b": weights(4, 1, 1)}, params=4),
    "add_number": with_(op("Add", "b"), constants={"b": np.float32(2)}),
    "stretched": with_(op("Mul", "b"), constants={"b": weights(2, 4, 9, 7)}, params=504),
    "div": with_(op("Div", "b"), constants={"b": weights(7)}, params=7),
    "square": Case([helper.make_node("Mul", ["x", "x"], ["y"])]),
    "sum": Case([helper.make_node("Sum", ["x", "x", "x"], ["y"])]),
    "greater": with_(op("Greater", "b"), constants={"b": np.float32(0.5)}),
    "where": Case([helper.make_node("Greater", ["x", "b"], ["c"]), helper.make_node("Where", ["c", "x", "b"], ["y"])],
                  {"b": np.array(0.5, np.float32)}),
    "cast": op("Cast", to=TensorProto.INT32),
    "matmul": with_(op("MatMul", "w"), constants={"w": weights(7, 5)}, params=35),
    "matmul_left": Case([helper.make_node("MatMul", ["w", "x"], ["y"])], {"w": weights(3, 9)}, params=27),
    "matmul_both": Case([helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
                         helper.make_node("MatMul", ["x", "t"], ["y"])]),
    "gemm": with_(op("Gemm", "w", "b", transB=1), shape=(1, 6), constants={"w": weights(5, 6), "b": weights(5)},
                  params=35),
    "gemm_plain": with_(op("Gemm", "w"), shape=(1, 6), constants={"w": weights(6, 5)}, params=30),
    "gemm_scaled": with_(op("Gemm", "w", "b", alpha=0.5, beta=2.0), shape=(1, 6),
                         constants={"w": weights(6, 5), "b": weights(1, 5)}, params=35),
    "gemm_transposed": with_(op("Gemm", "w", transA=1), shape=(6, 1), constants={"w": weights(6, 5)}, params=30),
    "einsum": with_(op("Einsum", "w", equation="nchw,cd->nhdw"), constants={"w": weights(4, 5)}, params=20),
    "einsum_batch": Case([helper.make_node("Einsum", ["x", "x"], ["y"], equation="nchw,nchv->ncwv")]),
    "flatten": op("Flatten"),
    "flatten_two": op("Flatten", axis=2),
    "reshape": with_(op("Reshape", "s"), constants={"s": ints(0, 2, -1, 7)}),
    "squeeze": with_(op("Squeeze", "a"), constants={"a": ints(0)}, shape=(1, 1, 5, 3)),
    "squeeze_all": with_(op("Squeeze"), shape=(1, 4, 1, 7)),
    "unsqueeze": with_(op("Unsqueeze", "a"), constants={"a": ints(-1, 1)}),
    "unsqueeze_attribute": with_(op("Unsqueeze", axes=[2]), opset=11),
    "transpose": op("Transpose"),
    "expand": with_(op("Expand", "s"), constants={"s": ints(3, 1, 4, 9, 7)}),
    "gather": with_(op("Gather", "i", axis=1), constants={"i": np.array(2, np.int64)}),
    "gather_matrix": with_(op("Gather", "i", axis=3), constants={"i": np.array([[0, 1], [6, 2]], np.int64)}),
    "embedding": Case([helper.make_node("Gather", ["w", "x"], ["y"])], {"w": weights(10, 3)}, (1, 6), 30,
                      dtype=TensorProto.INT64),
    "reduce_mean": with_(op("ReduceMean", "a", keepdims=0), constants={"a": ints(2, 3)}),
    "reduce_attribute": with_(op("ReduceMean", axes=[-1]), opset=13),
    "reduce_all": op("ReduceMax"),
    "reduce_nothing": op("ReduceSum", noop_with_empty_axes=1),
    "argmax": op("ArgMax", axis=1, keepdims=0),
    "cumsum": with_(op("CumSum", "a"), constants={"a": np.array(2, np.int64)}),
    "lstm": with_(op("LSTM", "w", "r", "b", hidden_size=5), shape=(6, 1, 3), params=4 * 5 * (3 + 5 + 2),
                  constants={"w": weights(1, 20, 3), "r": weights(1, 20, 5), "b": weights(1, 40)}),
    "gru": with_(op("GRU", "w", "r", hidden_size=5), shape=(6, 1, 3), params=3 * 5 * (3 + 5),
                 constants={"w": weights(1, 15, 3), "r": weights(1, 15, 5)}),
    "shape_chain": Case([
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "zeros"], ["n1"]),
        helper.make_node("Slice", ["s", "two", "four"], ["hw"]),
        helper.make_node("ReduceProd", ["hw"], ["area"], keepdims=1),
        helper.make_node("Concat", ["n1", "minus", "area"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ], {"zero": np.array(0, np.int64), "zeros": ints(0), "two": ints(2), "four": ints(4), "minus": ints(-1)}),
    "constant_node": Case([
        helper.make_node("Constant", [], ["s"], value_ints=[1, -1]), helper.make_node("Reshape", ["x", "s"], ["y"]),
    ]),
    "weight_transposed": Case([
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["x", "t"], ["y"]),
    ], {"w": weights(5, 7)}, params=35),
    "weight_reshaped": Case([
        helper.make_node("Reshape", ["w", "s"], ["k"]), helper.make_node("Conv", ["x", "k"], ["y"]),
    ], {"w": weights(24), "s": ints(6, 4, 1, 1)}, params=24),
    "weight_standardised": Case([
        helper.make_node("Sub", ["w", "m"], ["k"]), helper.make_node("Conv", ["x", "k"], ["y"]),
    ], {"w": weights(6, 4, 1, 1), "m": weights(6, 1, 1, 1)}, params=30),
    "if_constant": Case([
        helper.make_node("If", ["c"], ["y"],
            then_branch=helper.make_graph([helper.make_node("Relu", ["x"], ["a"])], "t", [],
                [helper.make_tensor_value_info("a", TensorProto.FLOAT, None)]),
            else_branch=helper.make_graph([helper.make_node("Flatten", ["x"], ["b"])], "e", [],
                [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)])),
    ], {"c": np.array(False)}),
}  # fmt: skip
CASES = WINDOWS | OTHERS
