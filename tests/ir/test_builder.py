"""The builder that every source uses: names, weights used twice, ops bound to inputs, graphs that break off."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cnnscope.errors import CnnscopeError, PartialError, ShapeError
from cnnscope.ir import Node, Param, Value
from cnnscope.ir.builder import Builder, Names, bind, settled
from cnnscope.ops.activation import ReLU
from cnnscope.ops.conv import Conv
from cnnscope.ops.generic import View

IMAGE = Value((1, 3, 8, 8))


def test_names_are_unique_and_reserved_ones_wait_for_their_owner() -> None:
    names = Names(["relu", "pool"])
    assert [names.unique("conv") for _ in range(3)] == ["conv", "conv#2", "conv#3"]
    assert names.unique("conv#2") == "conv#2#2"
    assert [names.claim("relu"), names.claim("relu"), names.unique("relu")] == ["relu", "relu#2", "relu#3"]
    assert [names.unique("pool"), names.claim("pool")] == ["pool#2", "pool#3"]  # asked for before it was claimed


def test_an_op_is_bound_checked_and_has_the_shapes_of_its_weights() -> None:
    bound = bind(Conv.read({"out": 4, "kernel": 3, "pad": "half"}, 2), [IMAGE])
    assert bound.output.shape == (1, 4, 8, 8)
    assert bound.weights == {"weight": (4, 3, 3, 3), "bias": (4,)}
    with pytest.raises(ShapeError, match="needs a map input"):
        bind(Conv.read({"out": 4, "kernel": 3}, 2), [Value((1, 8), kind="flat")])


def test_outputs_of_windows_are_maps_and_larger_batch_axes_are_no_batch() -> None:
    conv, plain = Conv.read({"out": 4, "kernel": 3}, 2), Value((1, 4, 6, 6), kind="tensor")
    assert settled(conv, plain).kind == "map"
    assert settled(ReLU(), plain) is plain
    assert settled(View("reshape", ()), Value((4, 6, 6), kind="tensor")).batch_axis is None


def test_a_name_is_given_once_and_a_weight_keeps_its_shape() -> None:
    builder = Builder("net")
    builder.input("x", IMAGE)
    assert builder.add(Node("act", ReLU(), ("x",), IMAGE)) == "act"
    with pytest.raises(ShapeError, match="E207: two layers are called `act`"):
        builder.add(Node("act", ReLU(), ("act",), IMAGE))
    with pytest.raises(ShapeError, match="E207"):
        builder.add(Node("x", ReLU(), ("act",), IMAGE))
    builder.param("w", Param((4, 3)))
    builder.param("w", Param((4, 3)), again=True)
    with pytest.raises(ShapeError, match="E304: the reused weights do not fit: `w` is 4x3 but 3x4 is needed"):
        builder.param("w", Param((3, 4)))
    with pytest.raises(ShapeError, match="E304: the reused weights do not fit: `v` is missing but 4 is needed"):
        builder.param("v", Param((4,)), again=True)
    graph = builder.graph(["act"])
    assert (graph.outputs, [node.name for node in graph.nodes], list(graph.params)) == (("act",), ["act"], ["w"])
    builder.input("y", IMAGE)
    assert list(graph.inputs) == ["x"]  # a finished graph does not change


def test_what_breaks_off_leaves_the_graph_so_far() -> None:
    builder = Builder("net")
    builder.input("x", IMAGE)

    def broken() -> None:
        with builder.unfinished():
            builder.add(Node("act", ReLU(), ("x",), IMAGE))
            raise CnnscopeError.of("E999", "no more")

    with pytest.raises(PartialError, match="E999: no more") as caught:
        broken()
    assert [node.name for node in caught.value.graph.nodes] == ["act"]
    assert caught.value.graph.outputs == ()


def test_the_example_of_the_page_builds_a_graph() -> None:
    page = (Path(__file__).parents[2] / "docs" / "add-a-source.md").read_text()
    example = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Builder(" in block)
    names: dict[str, Any] = {item.__name__: item for item in (Builder, Value, Param, Node, Conv, bind)}
    exec(example, names)
    (node,) = names["graph"].nodes
    assert (node.output.shape, node.intent.pad) == ((1, 8, 32, 32), "same")
    assert names["graph"].params.keys() == {"conv.weight", "conv.bias"}
