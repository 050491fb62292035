"""Differences between architectures: against names, sums, and alignments found by trying all of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations
from types import ModuleType

import pytest

import cnnscope
from cnnscope.analysis.diff import (
    EQUAL,
    OTHER,
    SAME_OP,
    SAME_PATH,
    SAME_SCOPE,
    SAME_SHAPE,
    SAME_SORT,
    SAME_TYPE,
    Difference,
    Part,
    align,
    diff,
    parts,
)  # fmt: skip
from cnnscope.ir import Graph, Node, Param
from cnnscope.spec import load as load_spec

PAIRS = [
    ("lenet5", "alexnet"), ("googlenet", "googlenet-torchvision"), ("squeezenet1_0", "squeezenet1_1"),
    ("mobilenet_v2", "mobilenet_v3_small"), ("siamese", "unet"), ("m5", "lenet5"),
]  # fmt: skip


@cache
def graph(name: str) -> Graph:
    return cnnscope.load(name).graph


def spec(*layers: str, shape: str = "[3, 16, 16]") -> Graph:
    head = ("cnnscope: 1", "name: Net", f"input: {{shape: {shape}}}", "layers:")
    return load_spec("net.yaml", text="\n".join((*head, *(f"  - {layer}" for layer in layers)))).graph


def marks(found: Difference) -> str:
    return "".join(row.mark for row in found.rows)


@pytest.mark.parametrize("name", ["lenet5", "googlenet", "densenet121", "siamese", "m5", "vit_tiny", "unet"])
def test_a_network_equals_itself(name: str) -> None:
    found = diff(graph(name), graph(name))
    assert found.equal
    assert set(marks(found)) == {"="}


def test_names_alone_make_no_difference() -> None:
    found = diff(spec("conv: {out: 4, kernel: 3, name: a}", "relu"), spec("conv: {out: 4, kernel: 3, name: b}", "relu"))
    assert found.equal
    assert [(row.a.name, row.b.name) for row in found.rows if row.a and row.b][1] == ("a", "b")


@pytest.mark.parametrize(("small", "large"), [("resnet18", "resnet34"), ("vgg16", "vgg19"), ("resnet50", "resnet101")])
def test_deeper_variants_have_exactly_the_layers_more_that_their_names_say(small: str, large: str) -> None:
    found = diff(graph(small), graph(large))
    names_a, names_b = ({part.name for part in parts(graph(name))} for name in (small, large))
    assert {row.b.name for row in found.rows if row.mark == "+" and row.b} == names_b - names_a
    assert set(marks(found)) == {"=", "+"}
    assert set(marks(diff(graph(large), graph(small)))) == {"=", "-"}


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_rows_hold_every_layer_once_in_order_and_add_up(a: str, b: str) -> None:
    found = diff(graph(a), graph(b))
    assert [row.a.name for row in found.rows if row.a] == [part.name for part in parts(graph(a))]
    assert [row.b.name for row in found.rows if row.b] == [part.name for part in parts(graph(b))]
    assert not found.equal
    before, after = found.totals
    for key in ("params", "buffers", "macs"):
        sums = [sum(getattr(side.cost, key) for side in sides if side) for sides in
                ([row.a for row in found.rows], [row.b for row in found.rows])]  # fmt: skip
        assert sums == [getattr(before, key), getattr(after, key)]


def test_equal_rows_are_equal_in_every_figure() -> None:
    found = diff(graph("resnet18"), graph("resnet34"))
    for row in found.rows:
        if row.a and row.b:
            assert row.a.cost == row.b.cost
            assert row.a.value == row.b.value


@pytest.mark.parametrize(
    ("a", "b", "changed"),
    [
        (("conv: {out: 4, kernel: 3}",), ("conv: {out: 4, kernel: 5, pad: same}",), {"op", "output_shape", "params"}),
        (("conv: {out: 4, kernel: 3}",), ("conv: {out: 4, kernel: 3, act: relu}",), {"op"}),
        (("maxpool: 2",), ("avgpool: 2",), {"op"}),
        (("conv: {out: 4, kernel: 1}",), ("conv: {out: 4, kernel: 1, bias: false}",), {"op", "params"}),
    ],
)
def test_what_changed_is_said(a: tuple[str, ...], b: tuple[str, ...], changed: set[str]) -> None:
    found = diff(spec(*a), spec(*b))
    assert marks(found) == "=~"
    assert set(found.rows[1].changed) == changed


def test_the_same_layers_wired_otherwise_differ() -> None:
    layers = [f"conv: {{out: 3, kernel: 3, pad: same, name: c{i}}}" for i in range(3)]
    found = diff(spec(*layers, "add: {from: [c2, c0]}"), spec(*layers, "add: {from: [c2, c1]}"))
    assert marks(found) == "====~"
    assert found.rows[-1].changed == ("inputs",)


def test_the_order_of_a_sum_is_none_and_that_of_a_concatenation_is() -> None:
    layers = [f"conv: {{out: 3, kernel: 3, pad: same, name: c{i}}}" for i in range(2)]
    assert diff(spec(*layers, "add: {from: [c1, c0]}"), spec(*layers, "add: {from: [c0, c1]}")).equal
    found = diff(spec(*layers, "concat: {from: [c1, c0]}"), spec(*layers, "concat: {from: [c0, c1]}"))
    assert found.rows[-1].changed == ("inputs",)


def test_a_layer_put_in_between_does_not_change_its_neighbours() -> None:
    a = spec("conv: {out: 4, kernel: 3, pad: same, name: a}", "conv: {out: 4, kernel: 3, name: b}")
    b = spec("conv: {out: 4, kernel: 3, pad: same, name: a}", "dropout", "conv: {out: 4, kernel: 3, name: b}")
    assert marks(diff(a, b)) == "==+="


def test_another_input_size_changes_shapes_alone() -> None:
    layers = ("conv: {out: 4, kernel: 3, pad: same}", "globalavgpool")
    tags = [row.changed for row in diff(spec(*layers), spec(*layers, shape="[3, 20, 20]")).rows]
    assert tags[:2] == [("output_shape",), ("input_shape", "output_shape")]


def test_shared_weights_are_a_difference() -> None:
    shared = diff(graph("siamese"), graph("siamese"))
    assert shared.equal
    apart = Graph(
        "apart", graph("siamese").inputs,
        tuple(_own(node, i) for i, node in enumerate(graph("siamese").nodes)), graph("siamese").outputs,
        {f"{i}.{key}": graph("siamese").params[key]
         for i, node in enumerate(graph("siamese").nodes) for key in node.params.values()},
    )  # fmt: skip
    found = diff(graph("siamese"), apart)
    assert not found.equal
    assert {row.changed for row in found.rows} == {(), ("params",)}


def _own(node: Node, i: int) -> Node:
    """The node with weights of its own."""
    return replace(node, params={role: f"{i}.{key}" for role, key in node.params.items()})


def test_weights_that_nothing_reads_are_a_difference_without_a_row() -> None:
    lenet = graph("lenet5")
    found = diff(lenet, replace(lenet, params={**lenet.params, "left": Param((5,))}))
    assert set(marks(found)) == {"="}
    assert not found.equal


def test_a_traced_network_equals_the_spec_of_the_zoo(torchvision: ModuleType) -> None:
    assert torchvision is not None
    found = diff(graph("resnet18"), cnnscope.load("torchvision:resnet18").graph)
    assert found.equal
    names = [(row.a.name, row.b.name) for row in found.rows if row.a and row.b and row.a.name != row.b.name]
    assert ("layer2.0.shortcut", "layer2.0.downsample.0") in names


def _count(a: Part, b: Part) -> int:
    """The definition, written out."""
    if a.signature == b.signature:
        count = EQUAL
    elif a.tag == b.tag:
        same = a.operations == b.operations
        count = SAME_OP if same else SAME_SHAPE if a.value.features == b.value.features else SAME_TYPE
    else:
        count = SAME_SORT if a.category == b.category != "movement" else OTHER
    if a.name == b.name:
        return count + SAME_PATH
    return count + (SAME_SCOPE if a.name.split(".")[:-1] == b.name.split(".")[:-1] else 0)


@pytest.mark.parametrize(("a", "b"), [("lenet5", "m5"), ("lenet5", "alexnet"), ("vgg11", "zfnet")])
def test_no_alignment_counts_more(a: str, b: str) -> None:
    left, right = parts(graph(a))[:7], parts(graph(b))[:8]
    best = max(
        sum(_count(left[i], right[j]) for i, j in zip(chosen, partners, strict=True))
        for n in range(len(left) + 1)
        for chosen in combinations(range(len(left)), n)
        for partners in combinations(range(len(right)), n)
    )
    assert sum(_count(x, y) for x, y in align(left, right) if x and y) == best
