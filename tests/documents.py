"""The published schema of JSON documents, and whether a document keeps it."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

import cnnscope

SCHEMA: dict[str, Any] = json.loads(Path(cnnscope.__file__).with_name("schemas").joinpath("documents.json").read_text())


@cache
def validator(name: str | None = None) -> Draft7Validator:
    """What checks a document of the format ``cnnscope.NAME``, or of any format."""
    one = {"definitions": SCHEMA["definitions"], "$ref": f"#/definitions/{name}"}
    return Draft7Validator(SCHEMA if name is None else one)


def valid(document: Any) -> Any:
    """The document, which keeps the schema of its own format and the one of all documents."""
    validator(document["format"].removeprefix("cnnscope.")).validate(document)
    validator().validate(document)
    return document


def undeclared(document: Any, free: Collection[str]) -> set[str]:
    """Keys that the schema does not name, except below the keys ``free``, whose content has no schema."""
    return _keys(document, free) - _declared(SCHEMA)


def _keys(value: Any, free: Collection[str]) -> set[str]:
    if isinstance(value, list):
        return {key for item in value for key in _keys(item, free)}
    if not isinstance(value, dict):
        return set()
    return set(value).union(*(_keys(item, free) for name, item in value.items() if name not in free))


def _declared(schema: Any) -> set[str]:
    parts = schema if isinstance(schema, list) else list(schema.values()) if isinstance(schema, dict) else []
    own = set(schema.get("properties", {})) if isinstance(schema, dict) else set()
    return own.union(*map(_declared, parts))
