"""Rules that read other frameworks are tables that strangers can add to, by the same decorators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from cnnscope import registry
from cnnscope.errors import CnnscopeError
from cnnscope.ops.generic import Elementwise
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.keras import rules as keras_rules
from cnnscope.sources.keras.build import build as build_keras
from cnnscope.sources.keras.config import read_network
from cnnscope.sources.onnx import rules as onnx_rules
from cnnscope.sources.onnx.build import build as build_onnx
from cnnscope.sources.torch import rules as torch_rules
from cnnscope.sources.torch.module import from_module


class _Undo(Exception):  # noqa: N818  # no error
    """Takes back what was added."""


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    """Rules that a test adds are gone after it."""
    with suppress(_Undo), registry.recording():
        yield
        raise _Undo


def test_a_rule_for_a_function_of_torch() -> None:
    with torch.library._scoped_library("strange", "DEF") as library:
        library.define("double(Tensor x) -> Tensor")
        library.impl("double", lambda x: x * 2, "CompositeExplicitAutograd")

        class Net(nn.Module):
            def forward(self, x: Tensor) -> Any:
                return torch.ops.strange.double(x)

        def tags() -> list[str]:
            return [node.op.tag for node in from_module(Net(), parse_inputs(["3x4x4"])).nodes]

        assert tags() == ["unsupported"]

        @torch_rules.records("strange::double")
        def double(trace: torch_rules.Tracer, out: Tensor, x: Tensor) -> None:
            trace.emit(Elementwise("double"), [x], out)

        assert tags() == ["elementwise"]


@pytest.mark.parametrize("decorate", [torch_rules.records, torch_rules.instead])
@pytest.mark.parametrize("name", ["relu", "dropout"])
def test_a_function_of_torch_has_one_rule(decorate: Any, name: str) -> None:
    with pytest.raises(CnnscopeError, match="E412"):
        decorate(name)(lambda *args: None)


def test_a_rule_for_an_operator_of_onnx() -> None:
    node = helper.make_node("Double", ["x"], ["y"], domain="strange")
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 4, 4)) for name in "xy"]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("strange", 1)]
    model = helper.make_model(helper.make_graph([node], "g", info[:1], info[1:]), opset_imports=opsets)
    assert [n.op.tag for n in build_onnx(model).nodes] == ["unsupported"]

    @onnx_rules.rule("strange::Double")
    def _double(call: onnx_rules.OperatorCall) -> list[Any]:
        return [call.emit(Elementwise("double"), call.tensor(0))]

    assert [n.op.tag for n in build_onnx(model).nodes] == ["elementwise"]
    with pytest.raises(CnnscopeError, match="E412: the rule for the ONNX operator `Relu` exists twice"):
        onnx_rules.rule("Relu")(lambda call: [])


def test_a_rule_for_a_layer_of_keras() -> None:
    entries = [
        {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 4, 4, 3]}},
        {"class_name": "Double", "config": {"name": "d"}},
    ]
    network = read_network({"class_name": "Sequential", "config": {"name": "net", "layers": entries}})
    with pytest.raises(CnnscopeError, match="E445: layer `d`: the class `Double` is unknown"):
        build_keras(network)

    @keras_rules.layer("Double")
    def _double(row: keras_rules.LayerRow, s: keras_rules.Settings, x: Any) -> Any:
        return row.add(Elementwise("double"), x)

    assert [n.op.tag for n in build_keras(network).nodes] == ["elementwise"]
    with pytest.raises(CnnscopeError, match="E412: the rule for the Keras layer `ReLU` exists twice"):
        keras_rules.layer("ReLU")(_double)
