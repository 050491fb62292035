"""Errors as a compiler prints them, and as JSON.

error[E202]: `conv` has no argument `filters`
 --> lenet5.yaml:9:12
  |
9 |   - conv: {filters: 6, kernel: 5, name: c1}
  |            ^^^^^^^
  = help: did you mean `out`?
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span
from cnnscope.render import style
from cnnscope.render.documents.document import FORMAT_VERSION, INLINE, keywords, plain
from cnnscope.render.numbers import printable

Segment = tuple[str, str]
"""A piece of text and its style."""
Lines = Callable[[str], Sequence[str]]
"""The lines of a file by its name in a `Span`; none if they cannot be had."""

EXCERPT = 100
"""Longer lines are cut to this many characters around the place of the error."""
_NEWLINE = re.compile(r"\r\n|\r|\n")
_LARGEST = 4 * 2**20


def file_lines(name: str) -> Sequence[str]:
    """The lines of a text file; none if it is not a readable, reasonably small regular file."""
    path = Path(name)
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return ()
        return text_lines(path.read_bytes())
    except (OSError, ValueError):  # gone, unreadable, or no file name: the message is shown without the line
        return ()


def text_lines(content: bytes) -> Sequence[str]:
    """The lines of a text, split where YAML splits them."""
    return _NEWLINE.split(content.decode(errors="replace").removeprefix("\ufeff"))


def text(error: CnnscopeError, lines: Lines = file_lines) -> str:
    """All diagnostics of an error as plain text, ending without a newline."""
    return "".join(piece for piece, _ in segments(error, lines)).rstrip("\n")


def segments(error: CnnscopeError, lines: Lines = file_lines) -> Iterator[Segment]:
    """All diagnostics of an error as styled text."""
    for i, diagnostic in enumerate(error.diagnostics):
        if i:
            yield "\n", ""
        yield from _diagnostic(diagnostic, lines)


def _diagnostic(diagnostic: Diagnostic, lines: Lines) -> Iterator[Segment]:
    yield f"error[{diagnostic.code}]", style.BAD
    yield f": {printable(diagnostic.message)}\n", style.TITLE
    spans = [diagnostic.span, *(note.span for note in diagnostic.notes)]
    gutter = max((len(str(span.line)) for span in spans if span), default=1)
    if diagnostic.span:
        yield from _place(diagnostic.span, gutter, lines, style.BAD)
    for note in diagnostic.notes:
        yield from _note(note, gutter, lines)
    if diagnostic.hint:
        yield f"{' ' * gutter} = ", style.NOTE
        yield "help", style.TITLE
        yield f": {printable(diagnostic.hint)}\n", ""


def _note(note: Note, gutter: int, lines: Lines) -> Iterator[Segment]:
    if note.span:
        yield "note", style.NOTE
        yield f": {printable(note.message)}\n", ""
        yield from _place(note.span, gutter, lines, style.NOTE)
    else:
        yield f"{' ' * gutter} = ", style.NOTE
        yield "note", style.TITLE
        yield f": {printable(note.message)}\n", ""


def _place(span: Span, gutter: int, lines: Lines, mark: str) -> Iterator[Segment]:
    yield f"{' ' * gutter}--> ", style.NOTE
    yield f"{printable(span.file)}:{span.line}:{span.column}\n", ""
    found = lines(span.file)
    if not 1 <= span.line <= len(found):
        return
    start, shown = _window(found[span.line - 1], span.column)
    before = shown[: span.column - 1 - start]
    indent = "".join("\t" if c == "\t" else " " * len(printable(c)) for c in before)
    length = max(1, min(span.length, len(shown) - len(before)))
    yield f"{' ' * gutter} |\n{span.line:>{gutter}} | ", style.NOTE
    yield "".join(c if c == "\t" else printable(c) for c in shown) + "\n", ""
    yield f"{' ' * gutter} | ", style.NOTE
    yield f"{indent}{'^' * length}\n", mark


def _window(line: str, column: int) -> tuple[int, str]:
    """The part of a line worth showing, and where in the line it starts."""
    if len(line) <= EXCERPT:
        return 0, line
    start = min(max(0, column - 1 - EXCERPT // 2), len(line) - EXCERPT)
    return start, line[start : start + EXCERPT]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in a file; null where there is none."""

    file: str | None
    line: int | None
    column: int | None


@dataclass(frozen=True, kw_only=True)
class ErrorNote:
    """A further place that has to do with an error."""

    message: str
    place: Place = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class ErrorItem:
    """One thing that is wrong."""

    code: Annotated[str, keywords(pattern="^E[0-9]{3}$")]
    message: str
    place: Place = field(metadata=INLINE)
    notes: Sequence[ErrorNote]
    hint: str | None


@dataclass(frozen=True, kw_only=True)
class ErrorDocument:
    """All that is wrong with what a command was given; on stderr."""

    format: Literal["cnnscope.error"] = "cnnscope.error"
    format_version: str = FORMAT_VERSION
    errors: Annotated[Sequence[ErrorItem], keywords(minItems=1)]


def document(error: CnnscopeError) -> dict[str, Any]:
    """All diagnostics of an error as a JSON document."""
    errors = [
        ErrorItem(
            code=d.code, message=d.message, place=_place_of(d.span),
            notes=[ErrorNote(message=note.message, place=_place_of(note.span)) for note in d.notes], hint=d.hint,
        )
        for d in error.diagnostics
    ]  # fmt: skip
    found: dict[str, Any] = plain(ErrorDocument(errors=errors))
    return found


def _place_of(span: Span | None) -> Place:
    if span is None:
        return Place(file=None, line=None, column=None)
    return Place(file=span.file, line=span.line, column=span.column)
