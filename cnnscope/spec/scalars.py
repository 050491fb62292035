"""Plain YAML scalars by the 1.2 core schema: ``no`` is a string, ``1e-3`` a number, ``.nan`` an error."""

from __future__ import annotations

import re

from cnnscope.errors import CnnscopeError, Span
from cnnscope.ops.arguments import MAX_INT

Scalar = str | int | float | bool | None

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DIGITS = len(str(MAX_INT))


def resolve(text: str, span: Span | None = None) -> Scalar:
    """A plain scalar by the YAML 1.2 core schema; numbers must be finite and whole ones fit 64 bits (E203)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        digits = text.lstrip("+-0ox")  # counted first: turning a million of them into a number would take minutes
        value = int(text, 0 if text[:2] in ("0x", "0o") else 10) if len(digits) <= _DIGITS else MAX_INT + 1
        if abs(value) > MAX_INT:
            raise CnnscopeError.of("E203", f"`{_short(text)}` is beyond 64 bits", span=span)
        return value
    if _FLOAT.fullmatch(text):
        number = float(text)
        if abs(number) == float("inf"):
            raise CnnscopeError.of("E203", f"`{_short(text)}` is too large a number", span=span)
        return number
    if _NOT_FINITE.fullmatch(text):
        raise CnnscopeError.of("E203", f"`{text}` is not a finite number", span=span)
    return text


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
