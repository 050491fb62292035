"""What an author stated and numbers lose is kept with the node, as far as each source can tell."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from cnnscope.ir import Graph, Intent
from cnnscope.ir.graph import NO_INTENT
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.keras.build import build as build_keras
from cnnscope.sources.keras.config import read_network
from cnnscope.sources.onnx.build import build as build_onnx
from cnnscope.sources.torch.module import from_module
from cnnscope.spec import load


def stated(graph: Graph) -> dict[str, Intent]:
    return {node.name: node.intent for node in graph.nodes if node.intent != NO_INTENT}


# -- specs -------------------------------------------------------------------------------------------------------------

SPEC = """
cnnscope: 1
input: {shape: [3, 17, 17]}
layers:
  - conv: {name: a, out: 4, kernel: 3, stride: 2, pad: same, norm: batch, act: relu}
  - conv: {name: b, out: 4, kernel: 3, pad: half}
  - maxpool: {name: c, kernel: 2, pad: valid}
  - depthwise: {name: d, kernel: 3, pad: full}
  - conv: {name: e, out: 4, kernel: 3, pad: 1}
  - upsample: {name: f, like: a}
  - upsample: {name: g, scale: 2}
  - crop: {name: h, like: c}
"""


def test_specs_keep_words_for_padding_and_whose_size_is_taken() -> None:
    graph = load("net.yaml", text=SPEC).graph
    assert stated(graph) == {
        "a.conv": Intent(pad="same"), "b": Intent(pad="half"), "c": Intent(pad="valid"), "d": Intent(pad="full"),
        "f": Intent(like="a.act"), "h": Intent(like="c"),
    }  # fmt: skip


def test_repeated_blocks_keep_it_too_and_intents_do_not_tell_graphs_apart() -> None:
    text = """
cnnscope: 1
input: {shape: [3, 8, 8]}
blocks: {b: {layers: [conv: {out: 3, kernel: 3, pad: %s}]}}
layers: [use: {block: b, repeat: 2}]
"""
    half = load("net.yaml", text=text % "half").graph
    assert [node.intent.pad for node in half.nodes] == ["half", "half"]
    numbers = load("net.yaml", text=text % "1   ").graph
    assert [node.intent for node in numbers.nodes] == [NO_INTENT, NO_INTENT]
    assert numbers == half


# -- torch -------------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 4, 3, padding="same")
        self.valid = nn.Conv2d(4, 4, 3, padding="valid")
        self.numbers = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.same(x)
        z = self.numbers(self.valid(y))
        like = functional.interpolate(z, size=y.shape[2:])
        computed = functional.interpolate(z, size=(y.shape[2] // 2, y.size(3) * 2))
        fixed = functional.interpolate(z, size=(12, 12), mode="bilinear")
        twice = functional.interpolate(z, scale_factor=2)
        b, c, h, w = like.shape
        windows = like.view(b, c, h // 2, 2, w // 2, 2)
        numbers = like.reshape(1, 64, 4)
        rest = twice.view(twice.size(0), -1)
        return windows.sum() + numbers.sum() + rest.sum() + computed.sum() + fixed.sum()


def test_modules_keep_words_and_which_sizes_come_from_shapes() -> None:
    net = Net()
    graph = from_module(net, parse_inputs(["3x8x8"]))
    assert stated(graph) == {
        "same": Intent(pad="same"),
        "upsample": Intent(like="same", computed=(2, 3)), "upsample#2": Intent(computed=(2, 3)),
        "upsample#3": Intent(fixed=(2, 3)),
        "view": Intent(computed=(0, 1, 2, 4)), "view#2": Intent(computed=(0, 1)),
    }  # fmt: skip
    extents = [n for node in graph.nodes for n in node.output.shape]
    assert {type(n) for n in extents} == {int}  # nothing of how it was found out is left in the graph


def test_torch_itself_is_as_it_was_after_a_run() -> None:
    before = {name: getattr(Tensor, name) for name in ("shape", "size", "view", "reshape")}
    interpolate = functional.interpolate

    class Nested(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            from_module(nn.Flatten(), parse_inputs(["2x2x2"]))
            return x.view(x.size(0), -1)

    graph = from_module(Nested(), parse_inputs(["3x4x4"]))
    assert stated(graph) == {"view": Intent(computed=(0, 1))}
    with pytest.raises(Exception, match="E435"):
        from_module(nn.Linear(3, 3), parse_inputs(["7"]))
    assert {name: getattr(Tensor, name) for name in before} == before
    assert not {"shape", "size", "view", "reshape"} & vars(Tensor).keys()
    assert functional.interpolate is interpolate
    assert type(torch.zeros(2).shape[0]) is int


def test_extents_are_numbers_like_any_other_to_the_module() -> None:
    class Asks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            n, c = x.shape[:2]
            assert isinstance(x.shape, torch.Size)
            assert x.size(-1) == x.shape[-1] == 8
            assert x.shape.numel() == 3 * 8 * 8
            assert f"{c}" == "3"
            assert json.dumps([n, c]) == "[1, 3]"
            assert (c / 2, 2**c, -c, c % 2, round(c)) == (1.5, 8, -3, 1, 3)
            assert [0, 1, 2, 3][c] == 3
            return torch.zeros(n, c, *x.shape[2:]) + x + torch.arange(x.shape[3])

    graph = from_module(Asks(), parse_inputs(["3x8x8"]))
    assert graph.value(graph.outputs[0]).shape == (1, 3, 8, 8)


# -- Keras -------------------------------------------------------------------------------------------------------------


def keras(*layers: dict[str, Any], shape: tuple[int, ...] = (None, 17, 17, 3)) -> Graph:
    first = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": list(shape)}}
    named = [{**layer, "config": {"name": f"l{i}", **layer["config"]}} for i, layer in enumerate(layers)]
    document = {"class_name": "Sequential", "config": {"name": "net", "layers": [first, *named]}}
    return build_keras(read_network(document))


def test_keras_keeps_words_for_padding() -> None:
    conv = {"filters": 4, "kernel_size": 3, "strides": 2}
    graph = keras(
        {"class_name": "Conv2D", "config": {**conv, "padding": "same", "activation": "relu"}},
        {"class_name": "Conv2DTranspose", "config": {**conv, "padding": "same"}},
        {"class_name": "SeparableConv2D", "config": {**conv, "padding": "valid"}},
        {"class_name": "AveragePooling2D", "config": {"padding": "same"}},
        {"class_name": "UpSampling2D", "config": {}},
    )
    words = {node.name: node.intent.pad for node in graph.nodes if node.intent.pad}
    assert words == {"l0.conv": "same", "l1.conv": "same", "l2.depthwise": "valid", "l3": "same"}
    causal = keras({"class_name": "Conv1D", "config": {"filters": 4, "kernel_size": 3, "padding": "causal"}},
                   shape=(None, 9, 3))  # fmt: skip
    assert [node.intent.pad for node in causal.nodes if node.op.tag == "conv"] == ["causal"]


# -- ONNX --------------------------------------------------------------------------------------------------------------


def onnx_graph(*nodes: onnx.NodeProto, **constants: list[int] | np.ndarray[Any, Any]) -> Graph:
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 9, 6))
    y = helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)
    graph = helper.make_graph(list(nodes), "g", [x], [y], stored)
    return build_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))


@pytest.mark.parametrize(
    ("auto", "word"), [("SAME_UPPER", "same"), ("SAME_LOWER", "same_lower"), ("VALID", "valid"), ("NOTSET", None)]
)
def test_onnx_keeps_words_for_padding(auto: str, word: str | None) -> None:
    pool = helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[3, 3], auto_pad=auto)
    conv = helper.make_node("Conv", ["a", "w"], ["y"], auto_pad=auto)
    graph = onnx_graph(pool, conv, w=np.ones((2, 4, 3, 3), np.float32))
    assert [node.intent for node in graph.nodes] == [Intent(pad=word)] * 2  # type: ignore[arg-type]  # one of the words


def test_onnx_tells_sizes_worked_out_from_shapes() -> None:
    """As exporters write ``x.view(x.size(0), 2, -1)`` and ``interpolate(y, size=(2 * x.size(2), 12))``."""
    graph = onnx_graph(
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Concat", ["batch", "two", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["a"]),
        helper.make_node("Reshape", ["a", "whole"], ["b"]),
        helper.make_node("Slice", ["shape", "two", "three"], ["height"]),
        helper.make_node("Mul", ["height", "two"], ["double"]),
        helper.make_node("Concat", ["double", "twelve"], ["size"], axis=0),
        helper.make_node("Resize", ["b", "", "", "size"], ["y"], axes=[2, 3]),
        zero=[0], two=[2], three=[3], rest=[-1], twelve=[12], whole=[1, 4, 9, 6],
    )  # fmt: skip
    assert [node.intent for node in graph.nodes] == [
        Intent(computed=(0, 2)), NO_INTENT, Intent(computed=(2,), fixed=(3,))
    ]  # fmt: skip
