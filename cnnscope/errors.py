"""Errors as data: code, message, place, notes, help. The text a user sees is rendered from these elsewhere.

Code families: ``E1xx`` YAML and structure, ``E2xx`` names and values, ``E3xx`` shapes, ``E4xx`` sources and files.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Span:
    """Where something was written: 1-based line and column, length in characters on that line."""

    file: str
    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Note:
    """Further information about a diagnostic, with a place of its own if it has one."""

    message: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong. ``message`` is lower case with backticks round names; ``hint`` says what to do."""

    code: str
    message: str
    span: Span | None = None
    notes: tuple[Note, ...] = ()
    hint: str | None = None


class CnnscopeError(Exception):
    """Anything cnnscope refuses: one or more diagnostics, and the exit code the command line ends with."""

    exit_code = 2

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in diagnostics))
        self.diagnostics = diagnostics

    @classmethod
    def of(cls, code: str, message: str, *, span: Span | None = None, hint: str | None = None) -> CnnscopeError:
        """The common case: a single diagnostic without notes."""
        return cls(Diagnostic(code, message, span=span, hint=hint))


class ShapeError(CnnscopeError):
    """An op cannot take these inputs. Ops raise it without a place; whoever placed the op adds one with `at`."""

    def __init__(self, message: str, *, hint: str | None = None, code: str = "E301") -> None:
        super().__init__(Diagnostic(code, message, hint=hint))

    def at(self, span: Span | None, *notes: Note) -> CnnscopeError:
        """The same error with the place where the failing layer was written."""
        (diagnostic,) = self.diagnostics
        return CnnscopeError(replace(diagnostic, span=span, notes=(*diagnostic.notes, *notes)))


class UnsupportedError(CnnscopeError):
    """A model contains something no rule covers, and ``--strict`` was asked for."""

    exit_code = 3


def did_you_mean(word: str, choices: Iterable[str], *, most: int = 1) -> str | None:
    """A ``did you mean `x`?`` sentence naming the closest choices, or None where nothing is close."""
    close = difflib.get_close_matches(word, list(choices), n=most, cutoff=0.6)
    if not close:
        return None
    return f"did you mean {' or '.join(f'`{c}`' for c in close)}?"
