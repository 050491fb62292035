"""The schema of JSON documents: generated from their dataclasses, and what version 1.0 of it said is still true."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, Literal

import pytest
from documents import FIRST, SCHEMA

from cnnscope.render.documents import schema
from cnnscope.render.documents.document import INLINE, OMITTED, Omitted, keywords, plain

ANNOTATIONS = ("title", "description", "default", "examples")
"""Keywords that do not decide whether a document is valid."""
Json = dict[str, Any]


def test_the_published_schema_is_the_generated_one() -> None:
    assert schema.FILE.read_text(encoding="utf-8") == schema.written(), (
        "write it anew: python -m cnnscope.render.documents.schema"
    )


@pytest.mark.parametrize("name", [choice["$ref"].rpartition("/")[2] for choice in FIRST["oneOf"]])
def test_every_statement_of_version_1_is_kept(name: str) -> None:
    """The same keys are required, with the same types, values and bounds; keys that may be there have been added."""
    found = list(_changes(name, _resolved(FIRST, name), _resolved(SCHEMA, name)))
    assert not found


def test_a_schema_that_asks_for_less_is_noticed() -> None:
    before = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0}}}
    loose: list[Json] = [
        {**before, "required": []}, {**before, "required": ["a", "b"]}, {**before, "properties": {}},
        {**before, "additionalProperties": False},
        {**before, "properties": {"a": {"type": "integer"}}}, {**before, "properties": {"a": {"type": "number"}}},
        {**before, "properties": {"a": {"type": ["integer", "null"], "minimum": 0}}},
    ]  # fmt: skip
    more = {**before, "properties": {**before["properties"], "b": {"type": "string"}}}  # type: ignore[dict-item]
    first = _normal(before, {})
    assert not list(_changes("", first, _normal(before, {})))
    assert not list(_changes("", first, _normal(more, {})))
    assert all(list(_changes("", first, _normal(other, {}))) for other in loose)


def test_published_documents_are_the_same_as_in_version_1() -> None:
    assert SCHEMA["oneOf"][: len(FIRST["oneOf"])] == FIRST["oneOf"]


@dataclass(frozen=True, kw_only=True)
class Inner:
    """What is inside. Told to nobody.

    A second paragraph.
    """

    size: Annotated[int, keywords(minimum=1)] | None
    """in pixels"""


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str = field(metadata={"key": "title"})
    inner: Inner = field(metadata=INLINE)
    other: Inner | None
    kind: Literal["a", "b"] | None
    box: Sequence[tuple[int, int]]
    by_name: Mapping[str, float]
    by_kind: Mapping[Literal["x"], bool]
    share: Fraction
    args: Mapping[str, Any]
    only: Literal[True] | Omitted = OMITTED


def test_keys_types_and_descriptions_come_from_the_fields() -> None:
    found = schema._object(Outer)
    pair = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
    assert found["required"] == ["title", "size", "other", "kind", "box", "by_name", "by_kind", "share", "args"]
    assert found["properties"] == {
        "title": {"type": "string"},
        "size": {"type": ["integer", "null"], "minimum": 1, "description": "in pixels"},
        "other": {"anyOf": [{"$ref": "#/definitions/inner"}, {"type": "null"}]},
        "kind": {"enum": ["a", "b", None]},
        "box": {"type": "array", "items": pair},
        "by_name": {"type": "object", "additionalProperties": {"type": "number"}},
        "by_kind": {"type": "object", "properties": {"x": {"type": "boolean"}}, "additionalProperties": False},
        "share": {"type": "string"}, "args": {"type": "object"}, "only": {"const": True},
    }  # fmt: skip
    assert schema._object(Inner)["description"] == "What is inside. Told to nobody."


def test_values_become_plain_in_the_order_of_the_fields() -> None:
    inner = Inner(size=3)
    made = Outer(
        name="n", inner=inner, other=None, kind="a", box=((1, 2),), by_name={"x": float("nan")}, by_kind={},
        share=Fraction(1, 2), args={"k": (1, inner)},
    )  # fmt: skip
    assert list(plain(made).items()) == [
        ("title", "n"), ("size", 3), ("other", None), ("kind", "a"), ("box", [[1, 2]]), ("by_name", {"x": None}),
        ("by_kind", {}), ("share", "1/2"), ("args", {"k": [1, {"size": 3}]}),
    ]  # fmt: skip
    with pytest.raises(TypeError, match="a document cannot contain a object"):
        plain(object())


# -- schemas in one form, whatever way they are written ----------------------------------------------------------------


def _resolved(schema: Json, name: str) -> Json:
    return _normal(schema["definitions"][name], schema)


def _normal(part: Any, whole: Json) -> Json:
    """The part without references and ``allOf``, with null and constants said in one way: ``nullable``, ``enum``."""
    rest = {key: value for key, value in part.items() if key not in ANNOTATIONS}
    found: Json = {}
    if "$ref" in rest:
        target: Any = whole
        for key in rest.pop("$ref").removeprefix("#/").split("/"):
            target = target[key]
        found = _both(found, _normal(target, whole))
    for one in rest.pop("allOf", []):
        found = _both(found, _normal(one, whole))
    for key in ("anyOf", "oneOf"):
        choices = [_normal(one, whole) for one in rest.pop(key, [])]
        some = [choice for choice in choices if choice != {"type": "null"}]
        found = _both(found, {"nullable": True} if len(some) < len(choices) else {})
        found = _both(found, some[0] if len(some) == 1 else {"anyOf": some} if some else {})
    return _both(found, _keywords(rest, whole))


def _keywords(rest: Json, whole: Json) -> Json:
    own: Json = {}
    for key, value in rest.items():
        match key, value:
            case "type", list():
                (own["type"],) = (one for one in value if one != "null")
                own["nullable"] = True
            case "const", _:
                own["enum"] = [value]
            case "enum", list():
                own |= {"nullable": True} if None in value else {}
                own["enum"] = sorted(one for one in value if one is not None)
            case "properties", dict():
                own["properties"] = {name: _normal(one, whole) for name, one in value.items()}
            case (("items" | "additionalProperties"), dict()):
                own[key] = _normal(value, whole)
            case _:
                own[key] = set(value) if key == "required" else value
    return own


def _both(a: Json, b: Json) -> Json:
    """What is valid for both."""
    found = {**a, **b}
    if "properties" in a and "properties" in b:
        names = {**a["properties"], **b["properties"]}
        found["properties"] = {n: _both(a["properties"].get(n, {}), b["properties"].get(n, {})) for n in names}
    if "items" in a and "items" in b:
        found["items"] = _both(a["items"], b["items"])
    if "required" in a or "required" in b:
        found["required"] = a.get("required", set()) | b.get("required", set())
    if "enum" in found:  # says more than these
        found = {key: value for key, value in found.items() if key not in ("type", "pattern")}
    return found


def _changes(path: str, before: Json, now: Json) -> Iterator[str]:
    """What ``now`` does not say as ``before`` did, apart from new keys."""
    for key in {*before, *now}:
        old, new = before.get(key), now.get(key)
        if key == "properties":
            for name, inner in (old or {}).items():
                yield from _changes(f"{path}.{name}", inner, (new or {}).get(name, {}))
        elif isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(f"{path}[]", old, new)
        elif key == "required":
            yield from (f"{path}.{name} is required in one alone" for name in (old or set()) ^ (new or set()))
        elif old != new and not (key == "type" and new == "object"):
            yield f"{path}: {key} was {json.dumps(old)}, is {json.dumps(new)}"
