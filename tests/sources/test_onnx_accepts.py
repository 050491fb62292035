"""Odd files that say all that is needed: unread outputs, open extents, unknown versions, no nodes, no elements.

Shapes are those of ONNX's reference implementation.
"""

from __future__ import annotations

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
from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx.build import build
from cnnscope.sources.resolve import load

Array = np.ndarray[Any, Any]
CONV = helper.make_node("Conv", ["x", "w"], ["c"], "conv")
KERNEL = weights(4, 3, 3, 3)


def model(
    *nodes: onnx.NodeProto, output: str = "y", opset: int = 20, shape: Any = (1, 3, 8, 8), out: Any = None, **more: Any
) -> onnx.ModelProto:
    constants = {"w": KERNEL} | more.pop("constants", {})
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in more.items()]
    graph = helper.make_graph(
        list(nodes), "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, out)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()], value_info=infos,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)])


def computed(proto: onnx.ModelProto, shape: tuple[int, ...] = (1, 3, 8, 8)) -> Array:
    """What ONNX's reference implementation computes."""
    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    for output in proto.graph.output:
        output.type.Clear()
    return np.asarray(ReferenceEvaluator(proto).run(None, {"x": np.ones(shape, np.float32)})[0])


def shape_of(graph: Graph) -> tuple[int, ...]:
    return graph.value(graph.outputs[0]).shape


# -- outputs that nobody reads ---------------------------------------------------------------------------------------

UNREAD = {
    "Dropout": helper.make_node("Dropout", ["c"], ["y", "mask"], "node"),
    "MaxPool": helper.make_node("MaxPool", ["c"], ["y", "places"], "node", kernel_shape=[2, 2]),
    "TopK": helper.make_node("TopK", ["c", "k"], ["y", "places"], "node"),
    "LayerNormalization": helper.make_node("LayerNormalization", ["c", "scale"], ["y", "mean", "spread"], "node"),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_an_output_that_nobody_reads_is_no_row(kind: str) -> None:
    constants = {"TopK": {"k": ints(2)}, "LayerNormalization": {"scale": weights(6)}}
    proto = model(CONV, UNREAD[kind], constants=constants.get(kind, {}))
    graph = build(proto)
    assert [row.name for row in summarize(graph).rows] == ["conv", "node"]
    assert shape_of(graph) == computed(proto).shape


@pytest.mark.parametrize("opset", [7, 9, 10, 12, 20])
def test_a_mask_that_is_read_drops_nothing(opset: int) -> None:
    """Before opset 10 it has the type of the input, later it is of truth values."""
    after = helper.make_node("Cast", ["mask"], ["y"], to=TensorProto.FLOAT)
    graph = build(model(CONV, helper.make_node("Dropout", ["c"], ["d", "mask"], "drop"), after, opset=opset))
    assert shape_of(graph) == (1, 4, 6, 6)
    assert not summarize(graph).unsupported


def test_an_unknown_output_that_nobody_reads_is_not_asked_for() -> None:
    """The file states the shape of one output of an unknown operator; nobody reads the other."""
    node = helper.make_node("Mystery", ["x"], ["a", "b"], "mystery", domain="mine")
    graph = build(model(node, helper.make_node("Relu", ["a"], ["y"]), a=(1, 7)))
    assert shape_of(graph) == (1, 7)


# -- extents left open -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [(3, 16, 12), (1, 3, 16, 12)])
def test_minus_one_is_an_extent_left_open(given: tuple[int, ...]) -> None:
    """Wherever it stands: inputs, outputs and values in between."""
    proto = model(CONV, helper.make_node("Relu", ["c"], ["y"]), shape=(-1, 3, -1, -1), out=(-1, 4, -1, -1),
                  c=(-1, 4, -1, -1))  # fmt: skip
    with pytest.raises(CnnscopeError, match="E403"):
        build(proto)
    assert shape_of(build(proto, [InputSize(given)])) == (1, 4, 14, 10)


def test_only_the_open_extents_are_named() -> None:
    with pytest.raises(CnnscopeError) as caught:
        build(model(CONV, output="c", shape=(-1, 3, -1, 8)))
    assert caught.value.diagnostics[0].message == "the input `x` is ?x3x?x8 in the file, with `?` left open"


def test_a_batch_of_minus_one_or_zero_is_left_open() -> None:
    for batch in (-1, 0):
        assert shape_of(build(model(CONV, output="c", shape=(batch, 3, 8, 8)))) == (1, 4, 6, 6)


def test_shapes_in_the_file_are_for_the_size_in_the_file() -> None:
    """At another size the stated shape of an unknown operator would be a wrong one."""
    node = helper.make_node("Mystery", ["c"], ["y"], "mystery", domain="mine")
    proto = model(CONV, node, out=(1, 4, 6, 6))
    assert shape_of(build(proto)) == (1, 4, 6, 6)
    with pytest.raises(CnnscopeError, match="neither the file nor ONNX's shape inference states"):
        build(proto, [InputSize((3, 16, 16))])


def test_a_size_given_reaches_operators_without_a_rule() -> None:
    """``Max`` of three has no rule; ONNX infers its shape at the size given, not at the one in the file."""
    proto = model(CONV, helper.make_node("Max", ["c", "c", "c"], ["y"], "most"), out=(1, 4, 6, 6))
    assert shape_of(build(proto, [InputSize((3, 16, 12))])) == (1, 4, 14, 10)


# -- versions, no nodes ----------------------------------------------------------------------------------------------

NEWEST = onnx.defs.onnx_opset_version()


@pytest.mark.parametrize(
    ("opset", "notes"),
    [
        (9, ()),
        (NEWEST, ()),
        (0, (f"the file states version 0 of ONNX's operators, which is not known; they are read as those of version "
             f"{NEWEST}, the newest known",)),
        (9999, (f"the file states version 9999 of ONNX's operators, which is not known; they are read as those of "
                f"version {NEWEST}, the newest known",)),
    ],
)  # fmt: skip
def test_a_version_of_the_operators_that_does_not_exist(opset: int, notes: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    softmax = helper.make_node("Softmax", ["c"], ["y"], axis=1)
    path.write_bytes(model(CONV, softmax, opset=opset).SerializeToString())
    loaded = load(str(path))
    assert loaded.notes == notes
    assert shape_of(loaded.graph) == (1, 4, 6, 6)


def test_a_version_that_the_file_does_not_state(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    proto = model(CONV, output="c")
    del proto.opset_import[:]
    path.write_bytes(proto.SerializeToString())
    assert load(str(path)).notes == (
        f"the file does not state the version of ONNX's operators; they are read as those of version {NEWEST}, the "
        "newest known",
    )


@pytest.mark.parametrize(("output", "shape"), [("x", (1, 3, 8, 8)), ("w", (4, 3, 3, 3))])
def test_a_file_without_nodes(output: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Its output is its input, or a stored tensor."""
    path = tmp_path / "net.onnx"
    path.write_bytes(model(output=output).SerializeToString())
    loaded = load(str(path))
    assert shape_of(loaded.graph) == shape
    assert summarize(loaded.graph).totals.macs == 0
    assert summarize(loaded.graph).totals.params == KERNEL.size


# -- no elements -----------------------------------------------------------------------------------------------------


def rolled(shift: int) -> onnx.ModelProto:
    """``torch.roll`` by ``shift`` along the last axis of 8, as torch's exporters write it."""
    end = helper.make_node("Slice", ["x", "from", "last", "axis"], ["end"], "end")
    start = helper.make_node("Slice", ["x", "zero", "from", "axis"], ["start"], "start")
    constants = {"from": ints(-shift), "last": ints(2**63 - 1), "axis": ints(3), "zero": ints(0)}
    return model(end, start, helper.make_node("Concat", ["end", "start"], ["y"], "roll", axis=3), constants=constants)


@pytest.mark.parametrize("shift", [1, 7, 8, 9, 100, -3, -8, -20])
def test_a_roll_beyond_the_size(shift: int) -> None:
    proto = rolled(shift)
    graph = build(proto)
    assert shape_of(graph) == computed(proto).shape
    assert not summarize(graph).unsupported


def test_a_part_without_elements() -> None:
    split = helper.make_node("Split", ["x", "sizes"], ["all", "none"], axis=1)
    joined = helper.make_node("Concat", ["none", "all", "none"], ["y"], axis=1)
    proto = model(split, joined, constants={"sizes": ints(3, 0)})
    assert shape_of(build(proto)) == computed(proto).shape
