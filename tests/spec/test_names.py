"""What layers are called, and which names are seen from where."""

from __future__ import annotations

import pytest
from spec_rows import graph_of, inputs, names

from cnnscope.errors import CnnscopeError


def test_a_layer_without_a_name_is_its_type_and_a_number() -> None:
    text = "defaults: {conv: {out: 2, kernel: 1}}\nlayers: [relu, conv, relu, conv: {name: c}, conv]"
    assert names(text) == ["relu1", "conv1", "relu2", "c", "conv2"]


def test_generated_names_avoid_those_the_author_chose_even_later() -> None:
    assert names("layers: [relu, relu, relu: {name: relu1}]") == ["relu2", "relu3", "relu1"]


def test_followers_are_parts_of_their_row() -> None:
    graph = graph_of("layers: [conv: {out: 2, kernel: 1, norm: batch, act: relu, name: c}]")
    assert [(node.name, node.layer) for node in graph.nodes] == [("c.conv", "c"), ("c.norm", "c"), ("c.act", "c")]
    assert list(graph.params)[:4] == ["c.conv.weight", "c.conv.bias", "c.norm.weight", "c.norm.bias"]
    alone = graph_of("layers: [conv: {out: 2, kernel: 1, name: c}]")
    assert list(alone.params) == ["c.weight", "c.bias"]


BLOCK = "blocks:\n  unit: {layers: [relu, conv: {out: $channels, kernel: 1}]}\n"


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("use: unit", ["unit1.relu1", "unit1.conv1"]),
        ("use: {block: unit, name: a}", ["a.relu1", "a.conv1"]),
        ("use: {block: unit, repeat: 2}", ["unit1.0.relu1", "unit1.0.conv1", "unit1.1.relu1", "unit1.1.conv1"]),
        ("use: {block: unit, repeat: 1, name: a}", ["a.0.relu1", "a.0.conv1"]),
    ],
)
def test_blocks_are_scopes(use: str, expected: list[str]) -> None:
    assert names(f"{BLOCK}layers: [{use}]") == expected


def test_the_rows_of_a_table_are_scopes() -> None:
    blocks = "blocks:\n  unit: {params: {out: ~}, layers: [conv: {out: $out, kernel: 1}]}\n"
    assert names(blocks + "layers: [use: {block: unit, each: [[name, out], [3a, 2], [3b, 3]]}]") == [
        "3a.conv1",
        "3b.conv1",
    ]
    assert names(blocks + "layers: [use: {block: unit, each: [[out], [2], [3]]}]") == ["unit1.0.conv1", "unit1.1.conv1"]
    assert names(blocks + "layers: [use: {block: unit, name: s, each: [[out], [2]]}]") == ["s.0.conv1"]


def test_scopes_say_what_they_are() -> None:
    text = (
        BLOCK
        + """layers:
  - use: {block: unit, repeat: 2, name: s}
  - concat: {paths: {a: [], b: [relu]}}
  - residual: {name: r, layers: [relu]}
  - se: {squeeze: 2}
heads: {h: [relu]}
"""
    )
    assert dict(graph_of(text).scopes) == {
        "s.0": "unit", "s.1": "unit", "b": "path", "r": "residual", "se1": "se", "se1.scale": "mul",
        "se1.scale.gate": "path", "h": "head",
    }  # fmt: skip


def test_an_unnamed_residual_adds_no_scope() -> None:
    text = "layers:\n" + "  - residual: {act: relu, shortcut: project, layers: [conv: {out: 4, kernel: 1}]}\n" * 2
    assert names(text) == [
        "conv1", "shortcut", "add.add", "add.act", "conv2", "shortcut2", "add2.add", "add2.act",
    ]  # fmt: skip


def test_a_named_residual_is_a_scope_with_the_sum_inside() -> None:
    text = "layers: [residual: {name: x, layers: [relu]}, relu: {from: x}]"
    assert names(text) == ["x.relu1", "x.add", "relu1"]
    assert inputs(text, "relu1") == ("x.add",)


def test_joins() -> None:
    paths = "paths: {1x1: [conv: {out: 2, kernel: 1}], keep: []}"
    assert names(f"layers: [concat: {{{paths}}}, concat: {{{paths}}}]") == [
        "1x1.conv1", "concat", "1x1_2.conv1", "concat2",
    ]  # fmt: skip
    assert names(f"layers: [concat: {{name: mix, {paths}}}, relu: {{from: mix}}]") == [
        "mix.1x1.conv1",
        "mix.concat",
        "relu1",
    ]
    assert names("layers: [relu, add: {from: [relu1, input], name: sum}]") == ["relu1", "sum"]


def test_a_repeated_block_is_its_last_repetition() -> None:
    assert inputs(BLOCK + "layers: [use: {block: unit, repeat: 3, name: s}, relu, relu: {from: s}]", "relu2") == (
        "s.2.conv1",
    )


def test_names_reach_into_groups_with_dots() -> None:
    text = BLOCK + "layers: [use: {block: unit, repeat: 2, name: s}, relu: {from: s.0.relu1}]"
    assert inputs(text, "relu1") == ("s.0.relu1",)


def test_names_reach_outward_to_the_edge_of_the_block_and_the_inputs() -> None:
    text = """blocks:
  unit:
    layers:
      - relu: {name: here}
      - concat: {paths: {a: [tanh, add: {from: [here, tanh1]}], b: [relu: {from: input}]}}
layers: [use: {block: unit, name: u}]
"""
    assert inputs(text, "u.a.add") == ("u.here", "u.a.tanh1")
    assert inputs(text, "u.b.relu1") == ("input",)


def test_inner_names_hide_outer_ones() -> None:
    text = "layers: [relu: {name: x}, concat: {paths: {a: [tanh: {name: x}, relu: {from: x}], b: [relu: {from: x}]}}]"
    assert inputs(text, "a.relu1") == ("a.x",)
    assert inputs(text, "b.relu1") == ("x",)


def test_a_name_passed_as_a_parameter_belongs_to_the_caller() -> None:
    text = """blocks:
  outer:
    params: {skip: ~}
    layers:
      - relu: {name: stem}
      - use: {block: inner, with: {skip: $skip}, name: i}
      - use: {block: inner, with: {skip: stem}, name: j}
  inner:
    params: {skip: ~}
    layers:
      - relu: {name: stem}
      - add: {from: [stem, $skip]}
layers:
  - tanh: {name: stem}
  - use: {block: outer, with: {skip: stem}, name: o}
"""
    assert inputs(text, "o.i.add") == ("o.i.stem", "stem")
    assert inputs(text, "o.j.add") == ("o.j.stem", "o.stem")


def test_a_parameter_may_name_several_layers() -> None:
    text = "params: {levels: [a, b]}\nlayers: [relu: {name: a}, relu: {name: b}, add: {from: $levels}]"
    assert inputs(text, "add") == ("a", "b")


def test_heads_see_the_layers_and_each_other() -> None:
    heads = "heads: {one: [relu: {from: a}], two: {from: one, layers: [relu]}, three: [relu]}"
    text = f"layers: [relu: {{name: a}}, tanh]\n{heads}"
    graph = graph_of(text)
    assert graph.outputs == ("one.relu1", "two.relu1", "three.relu1")
    assert graph.node("one.relu1").inputs == ("a",)
    assert graph.node("two.relu1").inputs == ("one.relu1",)
    assert graph.node("three.relu1").inputs == ("tanh1",), "every head starts where the layers end"


def test_a_head_may_be_a_layer_of_the_trunk() -> None:
    assert graph_of("layers: [relu: {name: a}, tanh]\nheads: {early: {from: a}, late: []}").outputs == ("a", "tanh1")


def test_two_parts_of_one_path_cannot_meet() -> None:
    with pytest.raises(CnnscopeError, match=r"E207.*`c\.conv`"):
        graph_of("layers: [relu: {name: c.conv}, conv: {out: 2, kernel: 1, act: relu, name: c}]")
