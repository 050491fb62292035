"""Costs and memory against simulation by brute force and by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnscope.analysis.cost import Cost, known, live_bytes, nbytes, node_costs, total
from cnnscope.analysis.summary import summarize
from cnnscope.ir import Graph, Node, Param, Shape, Value
from cnnscope.ops import Op
from cnnscope.ops.conv import Conv
from cnnscope.ops.product import Linear


class Grow(Op):
    """Takes anything, yields ``numel`` floats."""

    numel: int
    arity = (0, None)

    def output(self, x: Sequence[Value]) -> Value:
        return Value((1, self.numel))


class Alias(Op):
    """A view of its first input."""

    is_view = True


class Mystery(Op):
    """Costs nobody knows."""

    def macs(self, x: Sequence[Value]) -> int | None:
        return None


def brute_force_live(graph: Graph) -> dict[str, int]:
    """At each step, add up every tensor that exists and that this or a later step, or the caller, still needs."""
    root = {name: name for name in graph.inputs}
    sizes: dict[str, int] = {name: value.nbytes for name, value in graph.inputs.items()}
    for node in graph.nodes:
        root[node.name] = root[node.inputs[0]] if node.op.is_view else node.name
        if not node.op.is_view:
            sizes[node.name] = node.output.nbytes
    result = {}
    for i, node in enumerate(graph.nodes):
        made = set(graph.inputs) | {n.name for n in graph.nodes[: i + 1] if not n.op.is_view}
        needed = {root[name] for later in graph.nodes[i:] for name in later.inputs} | {root[node.name]}
        needed |= {root[name] for name in graph.outputs}
        needed |= {  # a view made earlier keeps its memory alive while someone reads the view
            root[name] for later in graph.nodes[i:] for name in later.inputs
        }
        unused_inputs = {name for name in graph.inputs if i == 0}
        result[node.name] = sum(sizes[name] for name in made & (needed | unused_inputs))
    return result


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes: list[Node] = []
    names = ["input"]
    values: dict[str, Value] = {"input": Value((1, draw(st.integers(1, 50))))}
    for i in range(draw(st.integers(1, 12))):
        inputs = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)))
        op: Op = Alias() if draw(st.booleans()) else Grow(numel=draw(st.integers(1, 100)))
        name = f"n{i}"
        values[name] = op.output([values[x] for x in inputs])
        nodes.append(Node(name, op, inputs, values[name]))
        names.append(name)
    outputs = tuple(draw(st.lists(st.sampled_from(names[1:]), min_size=1, max_size=2)))
    return Graph("random", {"input": values["input"]}, tuple(nodes), outputs)


@given(graphs())
def test_liveness_equals_brute_force(graph: Graph) -> None:
    assert live_bytes(graph) == brute_force_live(graph)


def build(*layers: tuple[str, Op, tuple[str, ...], Mapping[str, str]], shape: Shape = (3, 8, 8)) -> Graph:
    """A graph from (name, op, inputs, weight keys by role), weights made as the op wants them."""
    values = {"input": Value((1, *shape))}
    params: dict[str, Param] = {}
    nodes = []
    for name, op, inputs, keys in layers:
        x = [values[i] for i in inputs]
        values[name] = op.infer(x)
        params |= {keys[role]: Param(s) for role, s in op.weights(x).items() if role in keys}
        nodes.append(Node(name, op, inputs, values[name], keys))
    return Graph("net", {"input": values["input"]}, tuple(nodes), (nodes[-1].name,), params)


def conv(out: int) -> Op:
    return Conv(out=out, kernel=(3, 3), stride=(1, 1), pad=((1, 1), (1, 1)), dilation=(1, 1))


def test_flops_are_twice_the_macs_plus_elementwise() -> None:
    graph = build(("c", conv(4), ("input",), {"weight": "w", "bias": "b"}))
    cost = node_costs(graph)["c"]
    assert cost.macs == 4 * 8 * 8 * 3 * 9
    assert cost.flops == 2 * cost.macs + 4 * 8 * 8  # the bias
    assert (cost.params, cost.param_bytes) == (4 * 3 * 9 + 4, 4 * (4 * 3 * 9 + 4))
    assert cost.activation_bytes == 4 * 8 * 8 * 4


def test_batch_scales_activations_only() -> None:
    graph = build(("c", conv(4), ("input",), {"weight": "w", "bias": "b"}))
    one, many = node_costs(graph)["c"], node_costs(graph, batch=32)["c"]
    assert many.activation_bytes == 32 * one.activation_bytes
    assert (many.params, many.macs, many.flops, many.param_bytes) == (one.params, one.macs, one.flops, one.param_bytes)
    assert live_bytes(graph, batch=32)["c"] == 32 * live_bytes(graph)["c"]


def test_dtype_changes_floating_tensors_only() -> None:
    assert nbytes(Value((1, 10)), "bfloat16") == 20
    assert nbytes(Value((1, 10), dtype="int64"), "bfloat16") == 80
    assert nbytes(Param((10,)), "float64") == 80


def test_shared_weights_count_once_and_later_rows_say_so() -> None:
    keys = {"weight": "w", "bias": "b"}
    graph = build(("a", conv(3), ("input",), keys), ("b", conv(3), ("a",), keys))
    first, second = summarize(graph).rows
    assert (first.cost.params, first.shared) == (84, False)
    assert (second.cost.params, second.shared) == (0, True)
    assert summarize(graph).totals.params == 84


def test_unused_weights_are_still_parameters() -> None:
    graph = build(("c", conv(3), ("input",), {"weight": "c.weight", "bias": "c.bias"}))
    orphans = {"aux.fc.weight": Param((10, 5)), "aux.fc.bias": Param((10,), trainable=False)}
    graph = Graph(graph.name, graph.inputs, graph.nodes, graph.outputs, {**graph.params, **orphans})
    row = summarize(graph).rows[-1]
    assert (row.name, row.op, row.unused, row.output) == ("aux.fc", "parameter", True, None)
    assert (row.cost.trainable, row.cost.frozen) == (50, 10)
    assert summarize(graph).totals.params == 84 + 60


def test_training_only_layers_have_parameters_but_compute_nothing() -> None:
    graph = build(("c", conv(3), ("input",), {"weight": "w", "bias": "b"}))
    aux = Node("aux", conv(3), ("c",), graph.nodes[0].output, {"weight": "w2", "bias": "b2"}, training_only=True)
    params = {**graph.params, "w2": Param((3, 3, 3, 3)), "b2": Param((3,))}
    graph = Graph(graph.name, graph.inputs, (*graph.nodes, aux), graph.outputs, params)
    row = summarize(graph).rows[-1]
    assert row.training_only
    assert (row.cost.params, row.cost.macs, row.cost.activation_bytes, row.peak_bytes) == (84, 0, 0, None)


def test_unknown_is_never_zero() -> None:
    graph = build(("c", conv(3), ("input",), {}), ("m", Mystery(), ("c",), {}))
    summary = summarize(graph)
    assert summary.rows[1].cost.macs is None
    assert summary.rows[1].cost.flops is None
    assert summary.unsupported == ("m",)
    assert summary.totals.macs == summary.rows[0].cost.macs, "the known part, as a lower bound"
    assert total([Cost(macs=1), Cost(macs=None)]).macs is None
    assert known([Cost(macs=1), Cost(macs=None)]).macs == 1


def test_levels_agree_on_totals_and_rows_add_up() -> None:
    graph = build(
        ("c.conv", conv(3), ("input",), {"weight": "w", "bias": "b"}),
        ("c.again", conv(3), ("c.conv",), {"weight": "v"}),
    )
    nodes = tuple(Node(n.name, n.op, n.inputs, n.output, n.params, layer="c") for n in graph.nodes)
    graph = Graph(graph.name, graph.inputs, nodes, graph.outputs, graph.params)
    layers, ops = summarize(graph, level="layer"), summarize(graph, level="op")
    assert [row.name for row in layers.rows] == ["c"]
    assert [row.name for row in ops.rows] == ["c.conv", "c.again"]
    assert layers.totals == ops.totals == total(row.cost for row in ops.rows)
    assert layers.rows[0].inputs == ("input",)


@pytest.mark.parametrize("features", [(7,), (3, 5)])
def test_linear_works_on_the_last_axis(features: Shape) -> None:
    op = Linear(out=11)
    x = [Value((1, *features), kind="flat" if len(features) == 1 else "tokens")]
    assert op.macs(x) == prod(features) * 11
