"""Whatever the loader is given, it answers with a graph or with a diagnostic that has a code and a place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cnnscope.errors import CnnscopeError, Diagnostic
from cnnscope.ir import Graph
from cnnscope.ops import REGISTRY
from cnnscope.spec import load
from cnnscope.spec.emit import yaml

SPECS = Path(__file__).parents[2] / "specs"
SMALL = tuple((SPECS / f"{name}.yaml").read_text() for name in ("lenet5", "siamese", "unet", "vit_tiny", "densenet121"))


def check(diagnostics: tuple[Diagnostic, ...]) -> None:
    """There is one at least, and each can be shown."""
    assert diagnostics
    for diagnostic in diagnostics:
        assert diagnostic.code[0] == "E"
        assert diagnostic.message == diagnostic.message.strip() != ""
        assert diagnostic.span is None or (diagnostic.span.line >= 1 and diagnostic.span.column >= 1)


def graph_or_error(text: str | bytes) -> Graph | None:
    """The graph, None for a refusal; anything else is a failure of the test."""
    try:
        graph = load("fuzz.yaml", text=text).graph
    except CnnscopeError as error:
        check(error.diagnostics)
        return None
    names = {*graph.inputs, *(node.name for node in graph.nodes)}
    assert len(names) == len(graph.inputs) + len(graph.nodes)
    assert set(graph.outputs) <= names
    assert graph.outputs
    assert all(key in graph.params for node in graph.nodes for key in node.params.values())
    return graph


@given(st.binary(max_size=300))
@example(b"")
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfe")
@example(b"%YAML 9.9\n---\n")
def test_any_bytes(data: bytes) -> None:
    graph_or_error(data)


@given(st.text(alphabet=st.sampled_from(list("{}[]:,-?*&!|>'\"%@`# \n\tab1$~")), max_size=80))
def test_any_yaml_punctuation(text: str) -> None:
    graph_or_error(text)
    graph_or_error("cnnscope: 1\ninput: {shape: [3, 32, 32]}\nlayers:\n  - conv: " + text)


WORDS = st.sampled_from(
    ["out", "kernel", "stride", "pad", "groups", "name", "from", "when", "norm", "act", "frozen", "like", "layers",
     "block", "with", "repeat", "first", "each", "paths", "split", "shortcut", "params", "defaults", "shape", "layer",
     "same", "half", "batch", "relu", "channels", "none", "project", "input", "a", "b", "unit", "HWC", "layout",
     "$w", "$out", "$channels", "${w / 2}", "${channels > 3}", "${2 * out}", "${", "$", "use", "residual", "reuse"]
)  # fmt: skip
SCALARS = st.one_of(
    WORDS,
    st.integers(-2, 5),
    st.sampled_from([0, 1, 2, 8, 2**31, 2**63 - 1, -(2**63)]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)
TAGS = st.sampled_from([*REGISTRY, "use", "residual", "reuse"])
ARGUMENTS = st.dictionaries(WORDS, VALUES, max_size=5)
LAYER = st.one_of(TAGS, st.dictionaries(TAGS, st.one_of(VALUES, ARGUMENTS), min_size=1, max_size=1))
DOCUMENT = st.fixed_dictionaries(
    {"cnnscope": st.just(1), "input": st.just({"shape": [8, 9, 9]}), "layers": st.lists(LAYER, max_size=5)},
    optional={
        "params": st.dictionaries(WORDS, VALUES, max_size=2),
        "defaults": st.dictionaries(TAGS, ARGUMENTS, max_size=2),
        "blocks": st.dictionaries(WORDS, st.fixed_dictionaries({"layers": st.lists(LAYER, max_size=3)}), max_size=2),
        "heads": st.dictionaries(WORDS, st.one_of(st.lists(LAYER, max_size=2), VALUES), max_size=2),
        "freeze": VALUES,
        "reference": VALUES,
        "labels": VALUES,
    },
)


@given(st.one_of(VALUES, DOCUMENT))
def test_any_tree(tree: Any) -> None:
    graph_or_error(yaml(tree))


def likely(op: str) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly right arguments of an op, so that expansion is reached."""
    names = [*REGISTRY[op].parameters(), "from", "when", "name"]
    sizes = st.one_of(st.integers(1, 9), st.sampled_from(["$w", "$channels", "${channels // 2}", "half", 2**62]))
    lists = st.lists(st.integers(-1, 9), min_size=1, max_size=4)
    return st.dictionaries(st.sampled_from(names), st.one_of(sizes, lists, SCALARS), max_size=4)


PLAIN = st.sampled_from(sorted(REGISTRY)).flatmap(lambda op: likely(op).map(lambda args: {op: args}))
GROUPED = st.recursive(
    st.one_of(PLAIN, st.sampled_from(["relu", "flatten", {"conv": {"out": 8, "kernel": 3, "pad": "half"}}])),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda layers: {"residual": {"layers": layers}}),
        st.lists(inner, max_size=2).map(lambda layers: {"concat": {"paths": {"a": [], "b": layers}}}),
        st.sampled_from([{"use": "unit"}, {"use": {"block": "unit", "repeat": 3}}, {"reuse": "conv1"}]),
    ),
    max_leaves=6,
)


@given(st.lists(GROUPED, min_size=1, max_size=5), st.sampled_from([[8, 9, 9], [6, 20], [4, 5, 6, 7], [30]]))
@settings(max_examples=300)
def test_mostly_right_specs(layers: list[Any], shape: list[int]) -> None:
    unit = {"layers": [{"conv": {"out": "${channels}", "kernel": 1}}, "relu"]}
    document: Mapping[str, Any] = {
        "cnnscope": 1, "input": {"shape": shape}, "params": {"w": 4}, "blocks": {"unit": unit}, "layers": layers,
    }  # fmt: skip
    graph_or_error(yaml(document))


@given(st.sampled_from(SMALL), st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_specs(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        other = data.draw(
            st.one_of(WORDS, st.sampled_from(["", ":", "- ", "{", "]", "0", "-1", "9" * 25, "\n", "\t", "é"]))
        )
        text = text[:start] + other + text[start + length :]
    graph_or_error(text)
