"""Files that are no ONNX model, graphs that contradict themselves, unknown operators: an error or a visible row."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import CASES, ints, weights

from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx import MAX_NODES, read_graph
from cnnscope.sources.onnx.build import build
from cnnscope.sources.resolve import load

EXPORT = Path(__file__).parent / "data" / "exports" / "mobilenet_v2_script.onnx.gz"


def refused(path: Path, **options: Any) -> tuple[str, str, str | None]:
    with pytest.raises(CnnscopeError) as caught:
        read_graph(path, **options)
    (diagnostic,) = caught.value.diagnostics
    assert caught.value.exit_code == 2
    return diagnostic.code, diagnostic.message, diagnostic.hint


def tensor(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape or None)


def model(*nodes: onnx.NodeProto, inputs: Any = None, outputs: Any = None, **more: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", inputs or [tensor("x", 1, 3, 8, 8)], [tensor("y")] if outputs is None else outputs,
        more.pop("weights", []), value_info=more.pop("value_info", []),
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)], **more)


def saved(tmp_path: Path, proto: onnx.ModelProto) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def relu(source: str = "x", result: str = "y", name: str = "") -> onnx.NodeProto:
    return helper.make_node("Relu", [source], [result], name=name)


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "`m.onnx` is empty (0 bytes)"),
        (b"<!DOCTYPE html>", "`m.onnx` is a web page, not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "`m.onnx` is a git-LFS pointer, not an ONNX model"),
        (b"PK\x03\x04 something", "`m.onnx` is a zip archive, not an ONNX model"),
        (b"\x08\x07", "`m.onnx` is not an ONNX model: its first bytes are `08 07`"),
    ],
)
def test_other_kinds_of_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert refused(path)[:2] == ("E440", message)


def test_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.onnx") == ("E440", f"there is no file `{tmp_path / 'no.onnx'}`", None)


def test_a_file_that_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(gzip.decompress(EXPORT.read_bytes())[:-1000])
    message = "`m.onnx` is damaged: it is no protobuf message, or breaks off"
    assert refused(path) == ("E441", message, "download or save it again")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = saved(tmp_path, model(relu()))
    assert refused(path) == ("E414", "needs onnx: pip install 'cnnscope[onnx]'", None)


# -- graphs ----------------------------------------------------------------------------------------------------------


def test_nodes_in_any_order(tmp_path: Path) -> None:
    graph = read_graph(saved(tmp_path, model(relu("b"), relu("a", "b"), relu("x", "a"))))
    assert [node.name for node in graph.nodes] == ["a", "b", "y"]


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (model(relu("b", "a", "one"), relu("a", "b", "two"), relu()), "`one` needs its own output"),
        (model(relu(), outputs=[]), "the graph has no outputs"),
        (model(relu(), outputs=[tensor("z")]), "the graph reads `z`, which nothing makes"),
        (model(relu("w", name="act")), "`act` reads `w`, which nothing makes"),
        (model(relu(), relu("y", "y2"), relu("x", "y2")), "layer `y2`: two values are called `y2`"),
        (model(helper.make_node("Conv", ["x"], ["y"], "c")), "layer `c`: `Conv` has no input 2"),
        (model(helper.make_node("Conv", ["x", "w"], ["y"], "c", strides=[1]),
               weights=[numpy_helper.from_array(weights(2, 3, 3, 3), "w")]),
         "layer `c`: `strides` of `Conv` has 1 values for 2 axes"),
        (model(helper.make_node("Conv", ["x", "w"], ["y"], "c"),
               weights=[numpy_helper.from_array(weights(2, 4, 3, 3), "w")]),
         "layer `c`: `Conv` needs a weight of shape [2, 3, 3, 3], but `w` has [2, 4, 3, 3]"),
        (model(helper.make_node("Reshape", ["x", "s"], ["y"], "r"),
               weights=[numpy_helper.from_array(ints(5, 7), "s")]),
         "layer `r`: `Reshape` of [1, 3, 8, 8] to [5, 7] does not fit"),
        (model(helper.make_node("Concat", ["x", "w"], ["y"], "c", axis=1),
               weights=[numpy_helper.from_array(weights(1, 3, 4, 4), "w")]),
         "layer `c`: `Concat` of [1, 3, 8, 8] and [1, 3, 4, 4] does not fit"),
    ],
)  # fmt: skip
def test_graphs_that_contradict_themselves(tmp_path: Path, proto: onnx.ModelProto, message: str) -> None:
    assert refused(saved(tmp_path, proto))[:2] == ("E447", message)


def test_a_kernel_that_does_not_fit(tmp_path: Path) -> None:
    proto = model(helper.make_node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[9, 9]))
    assert refused(saved(tmp_path, proto)) == ("E301", "layer `pool`: kernel 9 does not fit into 8 + 2*0", None)


# -- operators nobody knows ------------------------------------------------------------------------------------------


def mystery(**more: Any) -> onnx.ModelProto:
    first = helper.make_node("Conv", ["x", "w"], ["a"], "conv")
    unknown = helper.make_node("Mystery", ["a", "v"], ["b"], "mystery", domain="mine")
    return model(first, unknown, relu("b"), weights=[
        numpy_helper.from_array(weights(2, 3, 3, 3), "w"), numpy_helper.from_array(weights(5), "v"),
    ], **more)  # fmt: skip


def test_an_unknown_operator_is_a_row_whose_cost_is_unknown(tmp_path: Path) -> None:
    summary = summarize(read_graph(saved(tmp_path, mystery(value_info=[tensor("b", 1, 7, 4, 4)]))))
    row = next(row for row in summary.rows if row.name == "mystery")
    assert (row.op, row.label, row.cost.macs, row.cost.flops) == ("unsupported", "mine::Mystery", None, None)
    assert row.cost.params == 5
    assert summary.unsupported == ("mystery",)
    assert summary.rows[-1].output is not None
    assert summary.rows[-1].output.shape == (1, 7, 4, 4)
    assert summary.totals.macs == 2 * 6 * 6 * 27


def test_an_unknown_operator_of_unknown_shape(tmp_path: Path) -> None:
    message = (
        "layer `mystery`: `mine::Mystery` is unknown, and neither the file nor ONNX's shape inference states the "
        "shape of its output `b`"
    )
    hint = "add the shape to the `value_info` of the file, or give cnnscope a rule for the operator: docs/plugins.md"
    assert refused(saved(tmp_path, mystery())) == ("E447", message, hint)


def test_what_a_rule_does_not_cover_takes_its_shape_from_onnx(tmp_path: Path) -> None:
    pool = helper.make_node("LpPool", ["s"], ["y"], "most", kernel_shape=[2, 2], dilations=[2, 2])
    nodes = [helper.make_node("Abs", ["x"], ["s"]), pool]
    summary = summarize(read_graph(saved(tmp_path, model(*nodes))))
    assert summary.unsupported == ("most",)
    assert summary.rows[-1].output is not None
    assert summary.rows[-1].output.shape == (1, 3, 6, 6)


# -- functions -------------------------------------------------------------------------------------------------------


def function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    return helper.make_function("mine", name, ["a"], ["b"], nodes, opsets)


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    twice = function("Twice", relu("a", "m"), helper.make_node("Sigmoid", ["m"], ["b"]))
    proto = model(helper.make_node("Twice", ["x"], ["y"], domain="mine"), functions=[twice])
    assert [node.op.tag for node in read_graph(saved(tmp_path, proto)).nodes] == ["relu", "sigmoid"]


def test_functions_that_call_each_other_without_end(tmp_path: Path) -> None:
    """Forty functions, each calling the next twice: 2^40 nodes if one inlined them."""
    levels = [function(f"F{i}", helper.make_node(f"F{i + 1}", ["a"], ["m"], domain="mine"),
                       helper.make_node(f"F{i + 1}", ["m"], ["b"], domain="mine")) for i in range(40)]  # fmt: skip
    last = function("F40", relu("a", "b"))
    proto = model(helper.make_node("F0", ["x"], ["y"], domain="mine"), functions=[*levels, last])
    message = f"`m.onnx` is refused: with its functions inlined it has more than {MAX_NODES} nodes"
    assert refused(saved(tmp_path, proto)) == ("E442", message, None)


def test_a_function_that_calls_itself(tmp_path: Path) -> None:
    own = function("F", helper.make_node("F", ["a"], ["b"], domain="mine"))
    proto = model(helper.make_node("F", ["x"], ["y"], domain="mine"), functions=[own])
    assert refused(saved(tmp_path, proto))[:2] == ("E441", "`m.onnx` is damaged: the function `F` calls itself")


def test_constants_that_would_fill_the_memory(tmp_path: Path) -> None:
    """A terabyte of zeros is not made; its shape is enough."""
    size = numpy_helper.from_array(ints(2**20, 2**20), "s")
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["big"]), helper.make_node("ReduceMax", ["big"], ["top"]),
             helper.make_node("Add", ["x", "top"], ["y"])]  # fmt: skip
    known = [tensor("big", 2**20, 2**20)]
    summary = summarize(read_graph(saved(tmp_path, model(*nodes, weights=[size], value_info=known))))
    assert summary.rows[-1].name == "y"


def doubled(times: int, source: str, *more: onnx.NodeProto, **options: Any) -> onnx.ModelProto:
    """Concatenates a tensor with itself again and again: 40 times are 2^42 numbers."""
    joins = [helper.make_node("Concat", [f"s{i}" if i else source] * 2, [f"s{i + 1}"], axis=0) for i in range(times)]
    return model(*more[:1], *joins, *more[1:], **options)


def test_a_shape_that_doubles_forty_times(tmp_path: Path) -> None:
    nodes = helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Reshape", ["x", "s40"], ["y"], "r")
    message = "layer `r`: `shape` of `Reshape` is a constant of 4,398,046,511,104 numbers"
    assert refused(saved(tmp_path, doubled(40, "s", *nodes)))[:2] == ("E447", message)


@pytest.mark.parametrize("times", [25, 40])
def test_a_weight_that_doubles_is_not_made(times: int, tmp_path: Path) -> None:
    """The graph counts what is stored. The network cannot be run."""
    nodes = helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Add", ["a", "total"], ["y"])
    total = helper.make_node("ReduceSum", [f"s{times}"], ["total"], keepdims=0)
    proto = doubled(times, "w", nodes[0], total, nodes[1], weights=[numpy_helper.from_array(weights(4), "w")])
    loaded = load(str(saved(tmp_path, proto)))
    assert summarize(loaded.graph).totals.params == 4
    assert loaded.extras.own is not None
    with pytest.raises(CnnscopeError, match=r"E448: .* has [0-9,]+ elements, made of 4"):
        loaded.extras.own()


def test_a_long_chain_of_large_shapes_is_refused(tmp_path: Path) -> None:
    """Kept one by one they would fill 8 GB."""
    sums = [helper.make_node("Add", [f"s{i}"] * 2, [f"s{i + 1}"]) for i in range(300)]
    proto = model(*sums, helper.make_node("Reshape", ["x", "s300"], ["y"], "r"),
                  weights=[numpy_helper.from_array(ints(*[0] * 200_000), "s0")])  # fmt: skip
    message = "layer `r`: `shape` of `Reshape` is a constant of 200,000 numbers"
    assert refused(saved(tmp_path, proto))[:2] == ("E447", message)


def apart(**places: str) -> onnx.ModelProto:
    stored = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3, 3, 3])
    stored.data_location = TensorProto.EXTERNAL
    for key, value in places.items():
        stored.external_data.add(key=key, value=value)
    return model(helper.make_node("Conv", ["x", "w"], ["y"], "conv"), weights=[stored])


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({"location": "no.bin"}, "should be stored in"),
        ({"location": "../secret.bin"}, "points outside the directory"),
        ({"location": "/etc/passwd"}, "absolute path"),
        ({"location": "short.bin"}, "external data"),
        ({"location": "short.bin", "offset": "999"}, "exceeds file size"),
        ({"location": "short.bin", "offset": "-1"}, "non-negative"),
        ({"location": "short.bin", "length": "many"}, "many"),
        ({"location": "sparse.bin", "length": "50000000000"}, "its 216 bytes are stated to be 50,000,000,000"),
    ],
)
def test_weights_stored_apart_that_cannot_be_read(places: dict[str, str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "short.bin").write_bytes(bytes(100))
    (tmp_path / "sparse.bin").touch()
    loaded = load(str(saved(tmp_path, apart(**places))))
    assert summarize(loaded.graph).totals.params == 54
    assert loaded.extras.own is not None
    with pytest.raises(CnnscopeError, match="E448: cannot read the weights") as caught:
        loaded.extras.own()
    assert reason in str(caught.value)


def test_as_much_of_another_file_is_read_as_the_tensor_has(tmp_path: Path) -> None:
    """Fifty gigabytes, of which the tensor has the first 216 bytes."""
    with (tmp_path / "sparse.bin").open("wb") as file:
        file.truncate(50 * 10**9)
    own = load(str(saved(tmp_path, apart(location="sparse.bin")))).extras.own
    assert own is not None
    assert own()["w"].shape == (2, 3, 3, 3)


# -- sizes -----------------------------------------------------------------------------------------------------------


def test_a_free_batch_is_one(tmp_path: Path) -> None:
    graph = read_graph(saved(tmp_path, model(relu(), inputs=[tensor("x", "N", 3, 8, 8)])))
    assert graph.inputs["x"].shape == (1, 3, 8, 8)


def test_other_free_axes_are_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, model(relu(), inputs=[tensor("x", "N", 3, "height", "width")]))
    message = "the input `x` is Nx3xheightxwidth in the file, with `height`, `width` left open"
    assert refused(path) == ("E403", message, "say its size: `--input 3x224x224`")
    assert read_graph(path, input=[InputSize((3, 32, 16))]).inputs["x"].shape == (1, 3, 32, 16)


def test_a_fixed_batch_is_not_passed_off_as_one_image(tmp_path: Path) -> None:
    path = saved(tmp_path, model(relu(), inputs=[tensor("x", 8, 3, 8, 8)]))
    message = "the input `x` is fixed to a batch of 8 in the file"
    assert refused(path) == ("E403", message, "say its size: `--input 3x8x8`")


def test_which_input(tmp_path: Path) -> None:
    both = [tensor("left", "N", 3, "h", "w"), tensor("right", 1, 3, 8, 8)]
    path = saved(tmp_path, model(helper.make_node("Add", ["left", "right"], ["y"]), inputs=both))
    message = "the model has the inputs `left`, `right`: say which one `--input` is for"
    assert refused(path, input=[InputSize((3, 8, 8))]) == ("E403", message, None)
    assert refused(path, input=[InputSize((3, 8, 8), "lft")])[2] == "did you mean `left`?"
    assert read_graph(path, input=[InputSize((3, 8, 8), "left")]).value("y").shape == (1, 3, 8, 8)


def test_an_image_with_its_channels_last(tmp_path: Path) -> None:
    """As from TensorFlow: the transpose at the entrance falls away, the graph is channel-first."""
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
             helper.make_node("Conv", ["t", "w"], ["y"], "conv")]  # fmt: skip
    kernel = [numpy_helper.from_array(weights(2, 3, 3, 3), "w")]
    graph = read_graph(saved(tmp_path, model(*nodes, inputs=[tensor("x", "N", 8, 10, 3)], weights=kernel)))
    assert graph.inputs["x"].shape == (1, 3, 8, 10)
    assert [node.name for node in graph.nodes] == ["conv"]


# -- fuzz ------------------------------------------------------------------------------------------------------------

MODELS = [case.model().SerializeToString() for case in CASES.values()]


@given(st.sampled_from(MODELS), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_model_is_a_graph_or_an_error(content: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(content)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    try:
        proto = onnx.ModelProto.FromString(bytes(damaged))
    except DecodeError:
        return
    try:
        graph = build(proto)
    except CnnscopeError:
        return
    assert isinstance(graph, Graph)
