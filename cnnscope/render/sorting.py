"""The order of rows: numbers from the largest to the smallest, texts from A to Z, what is unknown at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import inf, prod
from typing import TypeVar

from cnnscope.analysis.receptive_field import Field
from cnnscope.render.documents.network import ReceptiveField

T = TypeVar("T")
Order = int | float | Fraction | str | None
"""What a row is sorted by; None is unknown."""


def ordered(rows: Sequence[T], by: Callable[[T], Order] | None) -> tuple[T, ...]:
    """The rows by what ``by`` gives of each; rows that are alike, and all rows without ``by``, stay as they were."""
    if by is None:
        return tuple(rows)
    found = [(row, by(row)) for row in rows]
    numbers = sorted((pair for pair in found if isinstance(pair[1], int | float | Fraction)), key=_largest_first)
    texts = sorted((pair for pair in found if isinstance(pair[1], str)), key=lambda pair: str(pair[1]))
    return tuple(row for row, _ in (*numbers, *texts, *(pair for pair in found if pair[1] is None)))


def _largest_first(pair: tuple[object, Order]) -> float | Fraction:
    assert not isinstance(pair[1], str | None)
    return -pair[1]


def extent(field: Field | ReceptiveField | None) -> float | None:
    """The pixels of a receptive field; infinite for the whole image, None where no single size describes it."""
    if field is None:
        return None
    return inf if field.via else None if field.size is None else prod(field.size)


def hidden(rows: int, top: int | None, what: str = "rows") -> str:
    """``44 rows hidden`` where a table shows no more than the first ``top``, else nothing."""
    left_out = 0 if top is None else max(rows - top, 0)
    return f"{left_out:,} {what.removesuffix('s') if left_out == 1 else what} hidden" if left_out else ""
