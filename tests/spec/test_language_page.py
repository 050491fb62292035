"""docs/spec-language.md tells the truth: every example loads, every listing is what it expands to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from cnnscope.ops.base import shape_text
from cnnscope.spec import arguments, document, expressions, marks, network, uses, walk
from cnnscope.spec import load as load_spec
from cnnscope.spec.jsonschema import language

PAGE = (Path(__file__).parents[2] / "docs" / "spec-language.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```\n```text\n(.*?)```", PAGE, re.DOTALL)


def listing(text: str) -> str:
    """Each row and the size of what it yields."""
    graph = load_spec("example.yaml", text=text).graph
    lines = [(name, shape_text(nodes[-1].output.features)) for name, nodes in graph.layers()]
    width = max(len(name) for name, _ in lines)
    return "".join(f"{name:{width}}  {shape}\n" for name, shape in lines)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == PAGE.count("```yaml") >= 10


@pytest.mark.parametrize(("spec", "expected"), EXAMPLES)
def test_examples(spec: str, expected: str) -> None:
    assert listing(spec) == expected
    Draft7Validator(language()).validate(marks.parse(spec, "example.yaml").plain())


def test_the_page_names_every_key_and_every_bound() -> None:
    for key in (*document.TOP, *uses.KEYS, *arguments.COMMON):
        assert re.search(rf"\b{key}\b", PAGE), key
    bounds = PAGE[PAGE.index("## Bounds") :]
    for bound in (marks.MAX_VALUES, marks.MAX_DEPTH, walk.MAX_DEPTH, network.MAX_NODES, expressions.MAX_LENGTH):
        assert f"{bound:,}" in bounds
    assert f"{marks.MAX_BYTES // 1_000_000} MB" in bounds
