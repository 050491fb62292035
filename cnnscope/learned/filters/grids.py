"""Grids of numbers as people type them: kernels and inputs of examples, in exact fractions."""

from __future__ import annotations

import re
from fractions import Fraction

from cnnscope.errors import CnnscopeError
from cnnscope.render.kernels import Planes, Rows

MOST_NUMBERS = 1024
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?(/\d+)?", re.IGNORECASE)
_LONGEST = 24
_HINT = 'write numbers apart by spaces, rows apart by semicolons: "1 0 -1; 2 0 -2; 1 0 -1"'


def planes(text: str, option: str) -> Planes:
    """One grid a channel; channels are apart by ``|``. `CnnscopeError` as `grid`, E487 where sizes differ."""
    found = tuple(grid(part, option) for part in text.split("|"))
    sizes = [f"{len(rows)}x{len(rows[0])}" for rows in found]
    if len(set(sizes)) > 1:
        other = next(i for i, size in enumerate(sizes) if size != sizes[0])
        raise CnnscopeError.of(
            "E487", f"the channels of `{option}` differ in size: the first is {sizes[0]}, the {_ordinal(other)} "
            f"{sizes[other]}", hint="give every channel the same rows and columns",
        )  # fmt: skip
    _check_count(len(found) * len(found[0]) * len(found[0][0]), option)
    return found


def grid(text: str, option: str) -> Rows:
    """The rows of a kernel or an input, from the text of ``option``.

    Numbers may be fractions (``1/9``) and are separated by spaces or commas. `CnnscopeError` E487 where the text is no
    grid of numbers, E489 where it has too many.
    """
    rows = [row.replace(",", " ").split() for row in text.replace("\n", ";").strip().rstrip(";").split(";")]
    count = sum(map(len, rows))
    _check_count(count, option)
    if not all(rows):
        where = "is empty" if count == 0 else f"has an empty row, the {_ordinal(rows.index([]))}"
        raise CnnscopeError.of("E487", f"`{option}` {where}", hint=_HINT)
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        other = next(i for i, length in enumerate(lengths) if length != lengths[0])
        raise CnnscopeError.of(
            "E487", f"the rows of `{option}` differ in length: the first has {lengths[0]} numbers, the "
            f"{_ordinal(other)} {lengths[other]}", hint="give every row the same length",
        )  # fmt: skip
    return tuple(tuple(number(word, option) for word in row) for row in rows)


def _check_count(count: int, option: str) -> None:
    if count > MOST_NUMBERS:
        raise CnnscopeError.of("E489", f"`{option}` has {count:,} numbers, more than anyone follows step by step",
                               hint=f"give at most {MOST_NUMBERS:,}")  # fmt: skip


def number(word: str, option: str) -> Fraction:
    """One number, exactly; E487 where the text is none."""
    if re.fullmatch(r"[+-]?(inf(inity)?|nan)", word, re.IGNORECASE):
        raise CnnscopeError.of("E487", f"`{option}` has `{word}` in it, which is not finite", hint=_HINT)
    if len(word) > _LONGEST or not _NUMBER.fullmatch(word):
        shown = word if len(word) <= _LONGEST else f"{word[:_LONGEST]}..."
        raise CnnscopeError.of("E487", f"`{shown}` in `{option}` is no number", hint=_HINT)
    whole, _, divisor = word.partition("/")
    if divisor and int(divisor) == 0:
        raise CnnscopeError.of("E487", f"`{word}` in `{option}` divides by zero", hint=_HINT)
    return Fraction(whole) / int(divisor or 1)


def _ordinal(index: int) -> str:
    place = index + 1
    ending = "th" if 10 < place % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"
