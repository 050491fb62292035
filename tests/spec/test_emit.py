"""The flat form of a spec loads to the same graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from spec_rows import HEAD

from cnnscope.ir import Graph
from cnnscope.ops import REGISTRY, Case
from cnnscope.ops.composite import Composite
from cnnscope.spec import load
from cnnscope.spec.emit import expand, yaml
from cnnscope.spec.marks import parse

ZOO = sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))


def content(graph: Graph) -> dict[str, Any]:
    """Everything but the places and the groups, which a flat spec has not."""
    nodes = [(n.name, n.op, n.inputs, n.output, dict(n.params), n.layer, n.training_only) for n in graph.nodes]
    return {
        "name": graph.name, "inputs": dict(graph.inputs), "nodes": nodes, "outputs": graph.outputs,
        "params": dict(graph.params), "layout": graph.layout,
    }  # fmt: skip


def assert_round_trip(text: str | Path) -> str:
    spec = load("net.yaml", text=text) if isinstance(text, str) else load(text)
    flat = expand(spec)
    again = load("flat.yaml", text=flat)
    assert content(again.graph) == content(spec.graph)
    assert (again.reference, again.about, again.heads) == (spec.reference, spec.about, spec.heads)
    assert expand(again) == flat
    return flat


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
def test_zoo(path: Path) -> None:
    flat = assert_round_trip(path)
    assert not any(word in flat for word in ("$", " use:", "residual:", "repeat:", "defaults:", "blocks:"))


CASES = [
    pytest.param(tag, case, id=f"{tag}-{number}")
    for tag, op in REGISTRY.items()
    for number, case in enumerate(op.cases)
    if case.kind != "tensor"  # only traces meet those
]


@pytest.mark.parametrize(("tag", "case"), CASES)
def test_every_op(tag: str, case: Case) -> None:
    """Each worked example of each op, its tokens made from a map of C x T."""
    shapes = [value.features for value in case.inputs()]
    tokens = case.kind == "tokens"
    inputs = {
        f"x{i}": {"shape": [*reversed(shape)] if tokens else [*shape], "layout": "CHW"}
        for i, shape in enumerate(shapes)
    }
    layers: list[Any] = [{"tokens": {"from": name, "name": f"t{name}"}} for name in inputs if tokens]
    sources = [f"t{name}" if tokens else name for name in inputs]
    layers.append({tag: {**plain(case.args), "from": sources, "name": "layer"}})
    spec = load("net.yaml", text=yaml({"cnnscope": 1, "inputs": inputs, "layers": layers}))
    assert spec.graph.value(spec.graph.outputs[0]).features == case.shape
    assert content(load("flat.yaml", text=expand(spec)).graph) == content(spec.graph)
    if not issubclass(REGISTRY[tag], Composite):
        assert len(spec.graph.nodes) == len(layers)


def plain(value: Any) -> Any:
    """Arguments as YAML has them: lists, not tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize(
    "text",
    [
        "layers: [conv: {out: 2, kernel: 3, pad: same, stride: 2}, conv: {out: 2, kernel: 2, pad: {top: 1, left: 2}}]",
        "layers: [conv: {out: 4, kernel: 1, norm: {group: 2}, act: {leakyrelu: 0.1}}, relu: {from: input}]",
        "layers: [conv: {out: 4, kernel: 1, frozen: true, act: relu}, conv: {out: 4, kernel: 1}]\nfreeze: [conv2.bias]",
        "layers: [conv: {out: 4, kernel: 1, name: a}, tokens, classtoken, position, layernorm, attention: 2, token: 0]",
        "layers: [relu]\nheads: {a: [tanh], b: {training_only: true, layers: [conv: {out: 2, kernel: 1}, flatten]}}",
        "layers: [relu]\nheads: {a: {from: relu1}, b: {training_only: true, from: input, layers: [relu, relu]}}",
        "layers: [se: {squeeze: 2}, sepconv: {out: 6, kernel: 3, norm: batch}]",
        "layers: [concat: {split: channels, paths: {a: [], b: [relu]}}]",
        "layers: [conv: {out: 4, kernel: 3, stride: 2, pad: same, name: a}, conv: {out: 4, kernel: 2}, reuse: a]",
        "layers: [conv: {out: 4, kernel: 1, act: relu, name: a}, reuse: a, residual: {act: relu, layers: [reuse: a]}]",
    ],
)
def test_features_of_the_language(text: str) -> None:
    assert_round_trip(HEAD + text + "\n")


def test_layout_and_several_inputs() -> None:
    assert_round_trip("cnnscope: 1\ninput: {shape: [28, 28, 1], layout: HWC}\nlayers: [conv: {out: 2, kernel: 3}]\n")
    assert_round_trip("cnnscope: 1\ninput: {shape: [28, 28, 1], layout: CHW}\nlayers: [conv: {out: 2, kernel: 1}]\n")
    both = "inputs: {a: {shape: [1, 8, 8]}, b: {shape: [1, 8, 8]}}"
    assert_round_trip(f"cnnscope: 1\n{both}\nlayers: [relu: {{from: b}}, sub: {{from: [relu1, a]}}]\n")


def test_what_a_flat_spec_looks_like() -> None:
    text = """cnnscope: 1
name: "Net: a test"
input: {shape: [3, 32, 32]}
params: {w: 8}
defaults: {conv: {pad: half, norm: batch, act: relu}}
blocks:
  unit: {layers: [residual: {act: relu, layers: [conv: {out: $w, kernel: 3, act: none}]}]}
layers:
  - conv: {out: $w, kernel: [3, 5], stride: 2}
  - use: {block: unit, repeat: 2}
reference: {params: 1688, source: by hand}
"""
    assert (
        assert_round_trip(text)
        == """cnnscope: 1
name: "Net: a test"
reference: {params: 1688, source: by hand}
input: {shape: [3, 32, 32]}
layers:
  - conv: {out: 8, kernel: [3, 5], stride: 2, pad: [1, 2], norm: batch, act: relu, name: conv1}
  - conv: {out: 8, kernel: 3, pad: 1, norm: batch, name: unit1.0.conv1}
  - add: {act: relu, from: [unit1.0.conv1, conv1], name: unit1.0.add}
  - conv: {out: 8, kernel: 3, pad: 1, norm: batch, name: unit1.1.conv1}
  - add: {act: relu, from: [unit1.1.conv1, unit1.0.add], name: unit1.1.add}
"""
    )


@pytest.mark.parametrize(
    "value",
    ["plain", "two words", "no", "true", "3", "1e-3", ".5", "~", "", " x", "a: b", "a #b", "x\ny", '"q"', "é", "- a",
     "{", 1, -2.5, 1e-06, 1e22, True, False, None, [1, [2, []]], {"a": {"b": []}, "c d": {}}],
)  # fmt: skip
def test_plain_data_survives(value: Any) -> None:
    assert parse(yaml(value), "x").plain() == value
