"""The text of a spec: its file, ruamel.yaml's parser events and errors, and plain scalars.

Scalars follow the YAML 1.2 core schema: ``no`` is a string, ``1e-3`` a number, ``.nan`` an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span
from cnnscope.files import os_reason, read_named
from cnnscope.ops.arguments import MAX_INT

MAX_BYTES = 2_000_000


def read_file(path: Path) -> bytes:
    """Returns the bytes of a spec file, at most one more than allowed; raises E109 if it cannot be read."""
    try:
        return read_named(path, MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file", "check the path") from None
    except IsADirectoryError:
        raise _unreadable(path, "this is a folder", "name a file in it") from None
    except PermissionError:
        raise _unreadable(path, "you may not read this file", "check its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        hint = f"or pass it on: `cnnscope summary - < {path}`" if path.is_fifo() else None
        raise _unreadable(path, f"the file cannot be read: {os_reason(error)}", hint) from None


def _unreadable(path: Path, message: str, hint: str | None) -> CnnscopeError:
    return CnnscopeError.of("E109", message, span=Span(str(path), 1, 1), hint=hint)


def events(text: str, filename: str) -> Iterator[tuple[str, Any]]:
    """Yields ruamel.yaml's events by class name; raises its syntax errors as E101."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            yield type(event).__name__, event
    except MarkedYAMLError as error:
        raise CnnscopeError(_syntax_error(error, text, filename)) from None
    except YAMLError as error:  # raised by ruamel's reader for characters that YAML does not allow
        raise CnnscopeError(_character_error(error, text, filename)) from None


def _syntax_error(error: Any, text: str, filename: str) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    span = Span(filename, mark.line + 1, mark.column + 1) if mark else Span(filename, 1, 1)
    problem = str(error.problem or error.context or "it cannot be read").strip().replace("'", "`")
    lines = text.splitlines()
    line = lines[span.line - 1] if span.line <= len(lines) else ""
    hint = None
    if "${" in line and '"${' not in line and "'${" not in line:
        hint = 'quote expressions: "${4 * w}"'
    elif "\t" in line[: len(line) - len(line.lstrip())]:
        hint = "indent with spaces, not tabs"
    elif problem.startswith("mapping values"):
        hint = "quote text that holds a colon"
    notes: tuple[Note, ...] = ()
    if error.context and error.context_mark and error.problem:
        notes = (Note(str(error.context), Span(filename, error.context_mark.line + 1, error.context_mark.column + 1)),)
    return Diagnostic("E101", f"not YAML: {problem}", span, notes, hint)


def _character_error(error: Any, text: str, filename: str) -> Diagnostic:
    position = getattr(error, "position", None)
    if not isinstance(position, int) or position >= len(text):
        return Diagnostic("E101", "not YAML: it holds characters that YAML does not allow", Span(filename, 1, 1))
    before = text[:position]
    place = Span(filename, before.count("\n") + 1, position - before.rfind("\n"))
    return Diagnostic("E101", f"not YAML: character U+{ord(text[position]):04X} is not allowed", place)


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
    """Returns the value of a plain scalar by the YAML 1.2 core schema. Numbers must be finite and whole ones fit 64
    bits (E203).
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        digits = text.lstrip("+-0ox")  # counted first: converting a million digits would take minutes
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
