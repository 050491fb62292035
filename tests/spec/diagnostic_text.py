"""Diagnostics in the plainest form that shows everything, for tables of expected messages."""

from __future__ import annotations

from cnnscope.errors import CnnscopeError, Span


def text_of(error: CnnscopeError) -> str:
    """``CODE line:column+length message``, then its help and its notes, for every diagnostic."""
    lines = []
    for diagnostic in error.diagnostics:
        lines.append(f"{diagnostic.code} {place(diagnostic.span)} {diagnostic.message}")
        lines += [f"  help: {diagnostic.hint}"] if diagnostic.hint else []
        lines += [f"  note {place(note.span)} {note.message}" for note in diagnostic.notes]
    return "\n".join(lines) + "\n"


def place(span: Span | None) -> str:
    """``line:column+length``, or ``-`` for a diagnostic about no place."""
    return f"{span.line}:{span.column}+{span.length}" if span else "-"
