"""The part of a spec that is not the network: reference totals, files beside it, what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cnnscope.spec import problems as check
from cnnscope.spec.marks import Marked
from cnnscope.spec.problems import Problems, kind_of

KEYS = ("about", "reference", "weights", "data", "preprocess", "labels")


def _count(value: Marked) -> str | None:
    good = isinstance(value.value, int) and not isinstance(value.value, bool) and value.value >= 0
    return None if good else "a whole number >= 0"


def _text(value: Marked) -> str | None:
    return None if isinstance(value.value, str) and value.value else "text"


def _size(value: Marked) -> str | None:
    sizes = value.value if isinstance(value.value, list) else [value]
    good = 1 <= len(sizes) <= 3 and all(isinstance(n.value, int) and n.value is not True and n.value > 0 for n in sizes)
    return None if good else "a size in pixels, or a list of them"


def _numbers(value: Marked) -> str | None:
    numbers = value.value if isinstance(value.value, list) else [value]
    good = numbers and all(isinstance(n.value, (int, float)) and not isinstance(n.value, bool) for n in numbers)
    return None if good else "a number, or one per channel"


def _names(value: Marked) -> str | None:
    if isinstance(value.value, list):
        good = bool(value.value) and all(isinstance(label.value, (str, int, float)) for label in value.value)
        return None if good else "a file, or a list of names"
    return "a file, or a list of names" if _text(value) else None


FIELDS: Mapping[str, Mapping[str, Callable[[Marked], str | None]]] = {
    "about": {"title": _text, "year": _count, "source": _text, "notes": _text},
    "reference": {"params": _count, "macs": _count, "source": _text},
    "preprocess": {"resize": _size, "crop": _size, "mean": _numbers, "std": _numbers},
}
"""Sections by key, and what each of their values must be (the check answers what it expected)."""
FILES: Mapping[str, Callable[[Marked], str | None]] = {"weights": _text, "data": _text, "labels": _names}


def read_metadata(top: Mapping[str, Marked], problems: Problems) -> dict[str, Any]:
    """Plain values by key; what is wrong is recorded and left out."""
    result: dict[str, Any] = {}
    for key, fields in FIELDS.items():
        if key in top:
            with problems.caught():
                check.mapping(top[key], f"`{key}`", example=f"`{key}: {{{', '.join(f'{f}: ...' for f in fields)}}}`")
                check.only(top[key], fields, f"`{key}`", problems)
                result[key] = {
                    field: value.plain()
                    for field, value in top[key].entries.items()
                    if field in fields and _good(f"`{field}` of `{key}`", value, fields[field], problems)
                }
    for key, expected in FILES.items():
        if key in top and _good(f"`{key}`", top[key], expected, problems):
            result[key] = top[key].plain()
    return result


def _good(what: str, value: Marked, expected: Callable[[Marked], str | None], problems: Problems) -> bool:
    wanted = expected(value)
    if wanted:
        problems.add("E203", f"{what} is {wanted}, not {kind_of(value)}", value.span)
    return wanted is None
