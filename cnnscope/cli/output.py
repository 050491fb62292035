"""Where results and errors go: stdout carries the result, stderr everything else, ``-o`` a complete file or none."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, TextIO

import typer

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.files import write_bytes, write_text

if TYPE_CHECKING:
    from cnnscope.render.result import Result

BROKEN_PIPE = 128 + 13
"""What a shell reports for a program that SIGPIPE ended."""


UNBOUNDED = 1_000
"""Characters a line may have where no terminal limits it."""


class Format(StrEnum):
    """How a result is written."""

    table = "table"
    json = "json"
    csv = "csv"
    tsv = "tsv"
    markdown = "markdown"


class Color(StrEnum):
    """When to colour. ``auto``: on a terminal, unless NO_COLOR is set or the terminal cannot."""

    auto = "auto"
    always = "always"
    never = "never"

    def on(self, stream: TextIO) -> bool:
        """Whether to colour what goes to ``stream``."""
        if self is not Color.auto:
            return self is Color.always
        return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


SUFFIXES = {
    ".json": Format.json, ".csv": Format.csv, ".tsv": Format.tsv, ".md": Format.markdown, ".txt": Format.table,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Output:
    """Where one result goes, and how it is written there."""

    format: Format
    path: Path | None = None
    color: Color = Color.auto
    quiet: bool = False

    @classmethod
    def of(cls, form: Format | None, path: Path | None, color: Color, quiet: bool = False) -> Output:
        """From the options; the suffix of ``-o`` picks the format where ``-f`` does not. E404 for an unknown suffix."""
        if form is None and path is not None:
            form = SUFFIXES.get(path.suffix.lower())
            if form is None:
                known = ", ".join(SUFFIXES)
                hint = did_you_mean(path.suffix.lower(), SUFFIXES) or f"use {known}, or say -f"
                raise CnnscopeError.of("E404", f"`{path.name}` does not tell a format", hint=hint)
        return cls(form or Format.table, path, color, quiet)

    def emit(self, result: Result) -> None:
        """Writes the result to where it belongs."""
        if self.path is None and self.format is Format.table and (sys.stdout.isatty() or self.color is Color.always):
            self.write(lambda: self._draw(result))
        else:
            self.emit_text(_WRITERS[self.format](result))

    def emit_text(self, text: str) -> None:
        """Writes text that is complete but for its last newline."""
        if self.path is None:
            self.write(lambda: print(text))
            return
        write_text(self.path, text + "\n")
        if not self.quiet:
            print(f"wrote {self.path}", file=sys.stderr)

    def emit_file(self, path: Path, kind: str, content: str | bytes) -> None:
        """Writes a file of a format of its own, and says so as the ``cnnscope.files`` document."""
        from cnnscope.render.files import File, FilesReport

        data = content.encode() if isinstance(content, str) else content
        write_bytes(path, data)
        self.emit(FilesReport((File(path, kind, len(data)),)))

    def _draw(self, result: Result) -> None:
        from rich.console import Console

        colored = self.color.on(sys.stdout)
        width = max(get_terminal_size().columns, result.table().narrowest) if sys.stdout.isatty() else UNBOUNDED
        console = Console(force_terminal=colored, color_system="standard" if colored else None, width=width)
        console.print(result, highlight=False)

    def write(self, action: Callable[[], None]) -> None:
        """Writes to stdout; a reader that has gone away ends the program without a word."""
        try:
            action()
            sys.stdout.flush()
        except BrokenPipeError:
            with contextlib.suppress(OSError, ValueError):  # so that nothing is flushed into the pipe at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None


_WRITERS: dict[Format, Callable[[Result], str]] = {
    Format.table: str,
    Format.json: lambda result: result.to_json(),
    Format.csv: lambda result: result.to_csv(),
    Format.tsv: lambda result: result.to_tsv(),
    Format.markdown: lambda result: result.to_markdown(),
}


def picture_kind(path: Path | None, form: Format | None, kinds: Sequence[str]) -> str | None:
    """The picture format that ``-o`` asks for; None where it asks for text.

    E404 where its suffix is of neither, E405 where its folder does not exist: before any work.
    """
    if path is None:
        return None
    kind = path.suffix.lower().removeprefix(".")
    if kind in kinds:
        check_folder(path)
        return kind
    if form is None and path.suffix.lower() not in SUFFIXES:
        known = (*(f".{kind}" for kind in kinds), *SUFFIXES)
        hint = did_you_mean(path.suffix.lower(), known) or f"use {', '.join(known)}, or say -f"
        raise CnnscopeError.of("E404", f"`{path.name}` does not tell a format", hint=hint)
    return None


def check_folder(path: Path) -> None:
    """E405 where the folder of a file to be written does not exist."""
    if not path.resolve().parent.is_dir():
        raise CnnscopeError.of("E405", f"cannot write `{path}`: no such file or directory")
