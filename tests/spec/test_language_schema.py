"""The JSON Schema of the language takes every good spec and refuses what it can know to be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from test_bad_specs import BAD
from test_emit import ZOO

from cnnscope.errors import CnnscopeError
from cnnscope.ops import REGISTRY
from cnnscope.spec import load
from cnnscope.spec.emit import expand
from cnnscope.spec.jsonschema import language
from cnnscope.spec.marks import parse

SCHEMA = language()
VALIDATOR = Draft7Validator(SCHEMA)

BEYOND_A_SCHEMA = {
    "e103-everything-left-out", "e105-deep-blocks", "e105-huge-repeat", "e105-many-wildcards", "e105-repeats-multiply",
    "e106-column-twice", "e106-short-row", "e110-block-uses-itself", "e110-recursion", "e202-inside-a-parameter",
    "e202-like-and-size",
    "e202-split-without-paths", "e202-table-column", "e203-default-of-a-parameter",
    "e203-fraction-of-channels", "e203-hwc-undeclared",
    "e203-table-cell", "e203-too-many-axes", "e203-when", "e204-missing-argument", "e204-missing-parameter",
    "e204-norm-argument", "e204-spec-parameter", "e205-beyond-the-block", "e205-freeze", "e205-later-layer",
    "e205-left-out", "e205-like", "e205-reuse-of-a-sum", "e205-several-inputs", "e205-training-only",
    "e205-unknown-block", "e205-unknown-layer", "e205-unknown-parameter", "e206-channels-of-several-inputs",
    "e206-divides-by-zero", "e206-inside-blocks", "e206-not-a-number", "e206-not-exact", "e206-too-large",
    "e207-input-name", "e207-same-name", "e301-groups", "e301-inputs-of-a-layer", "e301-inside-a-block",
    "e301-kernel-too-big", "e301-like-a-vector", "e301-linear-on-a-map", "e301-overflow", "e301-split", "e302-list",
    "e302-other-axes",
    "e302-projection", "e302-projection-of-a-vector", "e302-shortcut", "e303-named", "e303-paths", "e304-reuse",
}  # fmt: skip
"""What depends on other parts of the file, on arithmetic or on shapes."""


def data(path: Path) -> Any:
    return parse(path.read_bytes(), path.name).plain()


def test_it_is_a_draft_07_schema_and_plain_json() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_every_reference_has_a_definition() -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(value) for value in node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    assert references(SCHEMA) <= {f"#/definitions/{name}" for name in SCHEMA["definitions"]}


def test_every_layer_type_is_described() -> None:
    for tag in REGISTRY:
        assert SCHEMA["definitions"][f"op.{tag}"]["description"]


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
def test_the_zoo_and_its_flat_form_are_valid(path: Path) -> None:
    VALIDATOR.validate(data(path))
    VALIDATOR.validate(parse(expand(load(path)), "flat").plain())


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=lambda path: path.stem)
def test_bad_specs(path: Path) -> None:
    try:
        document = data(path)
    except CnnscopeError:
        pytest.skip("not even YAML")
    assert VALIDATOR.is_valid(document) == (path.stem in BEYOND_A_SCHEMA)
