"""What JSON documents consist of, and how dataclasses become plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from enum import Enum
from fractions import Fraction
from math import isfinite
from typing import Annotated, Any

from cnnscope._version import __version__


def keywords(**values: Any) -> tuple[tuple[str, Any], ...]:
    """Further keywords of JSON Schema for an annotation: ``Annotated[int, keywords(minimum=0)]``."""
    return tuple(values.items())


Count = Annotated[int, keywords(minimum=0)]
Ordinal = Annotated[int, keywords(minimum=1)]
Share = Annotated[float, keywords(minimum=0, maximum=1)]
Shape = Sequence[Count]
"""Without the batch, channel-first."""
Matrix = Sequence[Sequence[float]]
Range = tuple[int, int]
"""First and last pixel or position, both included."""
FormatVersion = Annotated[str, keywords(pattern=r"^1\.[0-9]+$")]
Hash = Annotated[str, keywords(pattern="^[0-9a-f]+$")]

FORMAT_VERSION = "1.0"


class Omitted(Enum):
    """The type of `OMITTED`, for annotations."""

    OMITTED = "omitted"


OMITTED = Omitted.OMITTED
"""The value of a key that the document leaves out."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """What every document begins with. A subclass states its own ``format``."""

    format: str
    format_version: FormatVersion = FORMAT_VERSION
    """1.x: keys are added, none is renamed or changes its meaning"""
    tool_version: str = __version__


INLINE = {"inline": True}
"""The metadata of a field whose own keys are written in its place, instead of an object with these keys."""


def key_of(field: Field[Any]) -> str:
    """The key of a field in the document: its name, unless its metadata have another."""
    return str(field.metadata.get("key", field.name))


def plain(value: Any) -> Any:
    """The value as `json` writes it: objects for dataclasses and mappings, arrays for sequences, text for rationals."""
    if isinstance(value, float):
        return value if isfinite(value) else None  # JSON has no NaN and no infinity
    if value is None or isinstance(value, str | int):
        return value
    if is_dataclass(value):
        return _object(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    raise TypeError(f"a document cannot contain a {type(value).__name__}")


def _object(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in fields(value):
        item = getattr(value, part.name)
        if "inline" in part.metadata:
            found |= _object(item)
        elif item is not OMITTED:
            found[key_of(part)] = plain(item)
    return found
