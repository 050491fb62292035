"""The published schema of JSON documents, and whether a document keeps it."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

import cnnscope

FIRST: dict[str, Any] = json.loads(Path(__file__).with_name("documents-1.0.json").read_text())
"""The schema that was published as version 1.0, which later ones only add keys to."""
SCHEMA: dict[str, Any] = json.loads(Path(cnnscope.__file__).with_name("schemas").joinpath("documents.json").read_text())


@cache
def validator(name: str | None = None, *, first: bool = False) -> Draft7Validator:
    """What checks a document of the format ``cnnscope.NAME``, or of any format; by the ``first`` schema or today's."""
    schema = FIRST if first else SCHEMA
    one = {"definitions": schema["definitions"], "$ref": f"#/definitions/{name}"}
    return Draft7Validator(schema if name is None else one)


def valid(document: Any) -> Any:
    """The document, which keeps the schema of its own format and the one of all documents, today and in version 1.0 if
    that has documents of its kind."""
    name = document["format"].removeprefix("cnnscope.")
    for first in (False, True)[: 1 + (name in FIRST["definitions"])]:
        validator(name, first=first).validate(document)
        validator(first=first).validate(document)
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
