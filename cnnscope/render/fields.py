"""Receptive fields as text and as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from cnnscope.analysis.receptive_field import Field
from cnnscope.render.numbers import ABSENT

WHOLE_IMAGE = "image"
"""Stands where a unit sees everything and no local path is left."""
VARIES = "varies"
"""Stands where no single size describes the field."""

Exact = Mapping[str, list[int]]
"""Smallest (``min``) and largest (``max``) field of a row over its positions, clipped to the image."""


def field_record(field: Field) -> dict[str, Any]:
    """A field as plain JSON values: rationals as strings, None where there is no single answer."""
    return {
        "size": _plain(field.size), "size_min": _plain(field.size_min), "stride": _rationals(field.stride),
        "padding": _plain(field.padding), "centre0": _rationals(field.centre0), "jitter": _rationals(field.jitter),
        "via": list(field.via), "position_dependent": field.position_dependent,
    }  # fmt: skip


def size_text(field: Field) -> str:
    """``5x5``; ``188-204x188-204`` where phases differ; ``image``, ``varies`` or ``-`` where there is no size."""
    if field.size is None or field.size_min is None:
        return VARIES if field.position_dependent else WHOLE_IMAGE if field.via else ABSENT
    axes = zip(field.size_min, field.size, strict=True)
    return "x".join(str(high) if low == high else f"{low}-{high}" for low, high in axes)


def reach_text(field: Field) -> str:
    """`size_text`, and whether global paths add the rest of the image: ``16x16 + image``."""
    return size_text(field) + (f" + {WHOLE_IMAGE}" if field.size is not None and field.via else "")


def extent_text(field: Field | None) -> str:
    """How far the units of a whole network see along local paths, in words."""
    if field is None:
        return ABSENT
    if field.size is None:
        return "differs from position to position" if field.position_dependent else size_text(field)
    return f"{size_text(field)} at most, along local paths"


def stride_text(field: Field) -> str:
    """Pixels between neighbouring units, per axis."""
    return _joined(field.stride)


def padding_text(field: Field) -> str:
    """Pixels before the image that the first unit reads, per axis."""
    return _joined(field.padding)


def centre_text(field: Field) -> str:
    """Centre of the first unit's field, per axis; with its jitter where centres are not evenly spaced."""
    jitter = field.jitter
    uneven = f" +-{_joined(jitter)}" if jitter and any(jitter) else ""
    return _joined(field.centre0) + uneven


def via_text(field: Field) -> str:
    """What lets a unit see the whole image beside its local field."""
    return ", ".join(field.via)


def exact_text(exact: Exact) -> str:
    """``3x3 to 5x5``, or one size where all are equal."""
    low, high = ("x".join(map(str, exact[key])) for key in ("min", "max"))
    return low if low == high else f"{low} to {high}"


def _joined(values: Sequence[int | Fraction] | None) -> str:
    """One number where all axes agree, else one an axis."""
    if not values:
        return ABSENT
    return str(values[0]) if len(set(values)) == 1 else ", ".join(map(str, values))


def _plain(values: Sequence[int] | None) -> list[int] | None:
    return None if values is None else list(values)


def _rationals(values: Sequence[Fraction] | None) -> list[str] | None:
    return None if values is None else [str(value) for value in values]
