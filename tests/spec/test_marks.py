"""YAML as the language reads it: scalars, places, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from cnnscope.errors import CnnscopeError, Span
from cnnscope.spec.emit import yaml
from cnnscope.spec.marks import MAX_DEPTH, MAX_VALUES, Marked, mark, parse
from cnnscope.spec.text import resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("Null", None), ("~", None), ("", None),
        ("true", True), ("False", False), ("TRUE", True), ("tRUE", "tRUE"), ("12", 12), ("-12", -12), ("+12", 12),
        ("012", 12), ("0o17", 15), ("0x1f", 31), ("1_000", "1_000"), ("1:30", "1:30"), ("1e-3", 0.001), ("1E3", 1000.0),
        (".5", 0.5), ("5.", 5.0), ("-.5e1", -5.0), (".", "."), ("1e", "1e"), ("3a", "3a"), ("2024-01-01", "2024-01-01"),
        ("9223372036854775807", 2**63 - 1), ("-9223372036854775807", -(2**63) + 1),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: Any) -> None:
    result = resolve(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("text", ["9223372036854775808", "9" * 5000, "0x" + "f" * 17, ".inf", "-.INF", ".nan", "1e400"])
def test_numbers_no_computer_counts_with(text: str) -> None:
    with pytest.raises(CnnscopeError, match="E203"):
        resolve(text)


@given(st.from_regex(r"\A[-+.0-9eExoXOabf_:]{1,12}\Z"))
def test_scalars_agree_with_ruamel(text: str) -> None:
    """ruamel.yaml resolves 1.2 too, apart from 1.1 forms it keeps (``1_000``) and numbers we refuse."""
    try:
        ours = resolve(text)
    except CnnscopeError:
        return
    theirs = YAML(typ="safe", pure=True).load(f"[{text}]") if ":" not in text and "_" not in text else [ours]
    if isinstance(theirs[0], (int, float)) and isinstance(ours, str):
        return  # ruamel also takes 0O17, 0X1F and the like
    assert theirs[0] == ours or theirs[0] != theirs[0]


TREE = """a: 1
b:
  - [x, {k: "v w"}]
  - |
    long
c: {d: ~, e: }
"""


def at(marked: Marked, *path: str | int) -> tuple[int, int, int]:
    span = marked.find(path)
    assert span is not None
    return span.line, span.column, span.length


def test_every_value_knows_its_place() -> None:
    root = parse(TREE, "t.yaml")
    assert root.plain() == {"a": 1, "b": [["x", {"k": "v w"}], "long\n"], "c": {"d": None, "e": None}}
    assert root.span == Span("t.yaml", 1, 1)
    assert at(root, "a") == (1, 4, 1)
    assert at(root, "b", 0) == (3, 5, 15)
    assert at(root, "b", 0, 1, "k") == (3, 13, 5)
    assert at(root, "c") == (6, 4, 11)
    assert at(root, "c", "e") == (6, 11, 1), "nothing is written there, so its key stands for it"
    assert at(root, "b", 0, 7, "x") == (3, 5, 15), "the nearest place around what is not there"
    assert root.keys["b"] == Span("t.yaml", 2, 1)


LEAVES = st.one_of(st.integers(-9, 9), st.text("abc é:#", max_size=5), st.booleans(), st.none())
KEYS = st.text("xyz", min_size=1)


@given(st.recursive(LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner))))
def test_trees_survive(tree: Any) -> None:
    assert parse(f"root: {yaml(tree)}", "t.yaml").plain() == {"root": tree}
    assert mark(tree).plain() == tree


def test_the_bounds_are_where_they_say() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH, "t.yaml")
    with pytest.raises(CnnscopeError, match=r"E105.*100 levels"):
        parse("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "t.yaml")


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_VALUES == 300_000
    monkeypatch.setattr("cnnscope.spec.marks.MAX_VALUES", 100)
    assert parse("[" + "1," * 99 + "]", "t.yaml")
    with pytest.raises(CnnscopeError, match=r"E105.*more than 100 values"):
        parse("[" + "1," * 100 + "]", "t.yaml")
