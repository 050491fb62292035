"""The part of a spec that is not the network: reference totals, files beside it, what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cnnscope.spec import problems as check
from cnnscope.spec.marks import Marked
from cnnscope.spec.problems import Problems, kind_of

KEYS = ("about", "reference", "weights", "data", "preprocess", "labels")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value must be: in words, as a test of the plain value, as JSON Schema."""

    words: str
    holds: Callable[[Any], bool]
    schema: Mapping[str, Any]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_label(value: Any) -> bool:
    return _is_text(value) or _is_number(value)


def _one_or_more(one: Callable[[Any], bool], most: int) -> Callable[[Any], bool]:
    return lambda value: one(value) or (isinstance(value, list) and 1 <= len(value) <= most and all(map(one, value)))


def _one_or_list(schema: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1, "maxItems": most}]}


_MANY = 100_000
_TEXT_SCHEMA = {"type": "string", "minLength": 1}
_SIZE_SCHEMA = {"type": "integer", "minimum": 1}
TEXT = Kind("text", _is_text, _TEXT_SCHEMA)
COUNT = Kind("a whole number >= 0", _is_count, {"type": "integer", "minimum": 0})
SIZE = Kind(
    "a size in pixels, or one per axis",
    _one_or_more(lambda value: _is_count(value) and value > 0, 3), _one_or_list(_SIZE_SCHEMA, 3),
)  # fmt: skip
NUMBERS = Kind("a number, or one per channel", _one_or_more(_is_number, _MANY), _one_or_list({"type": "number"}, _MANY))
BORDERS = ("crop", "reflect", "zero", "mean", "circular")
"""What lies beyond an image when it is moved: a larger crop of the picture, its mirror image, black, grey, itself."""
BORDER = Kind(f"one of {', '.join(BORDERS)}", lambda value: value in BORDERS, {"enum": list(BORDERS)})
LABELS = Kind(
    "a file, or a list of names",
    lambda value: _is_text(value) or (isinstance(value, list) and _one_or_more(_is_label, _MANY)(value)),
    {"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}]},
)

FIELDS: Mapping[str, Mapping[str, Kind]] = {
    "about": {"title": TEXT, "year": COUNT, "source": TEXT},
    "reference": {"params": COUNT, "macs": COUNT, "source": TEXT},
    "preprocess": {"resize": SIZE, "crop": SIZE, "mean": NUMBERS, "std": NUMBERS, "border": BORDER},
}
"""Sections by key, and what each of their values must be."""
FILES: Mapping[str, Kind] = {"weights": TEXT, "data": TEXT, "labels": LABELS}


def read_metadata(top: Mapping[str, Marked], problems: Problems) -> dict[str, Any]:
    """Plain values by key; what is wrong is recorded and left out."""
    result: dict[str, Any] = {}
    for key, kinds in FIELDS.items():
        if key in top:
            with problems.caught():
                check.mapping(top[key], f"`{key}`", example=f"`{key}: {{{', '.join(f'{f}: ...' for f in kinds)}}}`")
                check.only(top[key], kinds, f"`{key}`", problems)
                result[key] = {
                    field: value.plain()
                    for field, value in top[key].entries.items()
                    if field in kinds and _good(f"`{field}` of `{key}`", value, kinds[field], problems)
                }
    for key, kind in FILES.items():
        if key in top and _good(f"`{key}`", top[key], kind, problems):
            result[key] = top[key].plain()
    return result


def _good(what: str, value: Marked, kind: Kind, problems: Problems) -> bool:
    good = kind.holds(value.plain())
    if not good:
        problems.add("E203", f"{what} is {kind.words}, not {kind_of(value)}", value.span)
    return good
