"""How results are written: to stdout, or with ``-o`` to a complete file or none; everything else is on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from shutil import get_terminal_size
from threading import Timer
from typing import TYPE_CHECKING, Annotated, ClassVar, TextIO

from cnnscope.errors import CnnscopeError
from cnnscope.files import write_text
from cnnscope.options.group import Option, group
from cnnscope.render.numbers import printable
from cnnscope.render.style import MOVING, PICTURES

if TYPE_CHECKING:
    from cnnscope.render.illustrated import Drawing, Page
    from cnnscope.render.result import File, Result

PATIENCE = 1.0
"""Seconds before a slow step is announced."""

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


@group("Output")
class Quiet:
    """How much is printed beside a result."""

    quiet: Annotated[bool, Option("The result alone, without notes around it.", flags=("--quiet", "-q"))] = False
    debug: Annotated[bool, Option("Show the traceback of an error.")] = False

    def say(self, *lines: str) -> None:
        """Prints lines on stderr, unless ``--quiet``."""
        if not self.quiet:
            for line in lines:
                print(line, file=sys.stderr)

    def put(self, text: str, path: Path | None = None) -> None:
        """Writes text that is complete but for its last newline to a file or, without one, to stdout."""
        if path is None:
            print(text)
            return
        write_text(path, text + "\n")
        self.say(f"wrote {path}")

    @contextmanager
    def announced(self, what: str, after: float | None = None) -> Iterator[None]:
        """Says on stderr which step is slow, after ``after`` seconds (`PATIENCE` by default)."""
        timer = Timer(
            PATIENCE if after is None else after, lambda: print(f"{printable(what)} ...", file=sys.stderr, flush=True)
        )
        timer.daemon = True
        if not self.quiet:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()


@group("Output")
class Destination:
    """Where a result is written."""

    output: Annotated[
        Path | None,
        Option(
            "Write to a file; its suffix picks the format: .json .csv .tsv .md .txt.",
            flags=("--output", "-o"),
            metavar="FILE",
            written=True,
        ),
    ] = None


@group("Output")
class Texting(Quiet, Destination):
    """Where a text is written that has one format only."""


@group("Output")
class Showing(Quiet):
    """How a result is printed."""

    form: Annotated[Format | None, Option("How to write the result.", flags=("--format", "-f"))] = None
    color: Annotated[Color, Option("When to use colours; NO_COLOR is respected.")] = Color.auto
    verbose: Annotated[bool, Option("Show all columns, however narrow the terminal is.", flags=("--verbose", "-v"))] = (
        False
    )

    def show(self, result: Result, form: str | None = None, path: Path | None = None) -> None:
        """Writes a result to a file or, without one, to stdout."""
        from cnnscope.render.result import FORMS

        shown = result.without_notes() if self.quiet else result
        form = form or self.form or Format.table
        if path is None and form == Format.table and (sys.stdout.isatty() or self.color is Color.always):
            self._draw(shown)
        else:
            self.put(FORMS[form](shown), path)

    def files(self, files: Sequence[File]) -> None:
        """Says which files were written, as the ``cnnscope.files`` document."""
        from cnnscope.render.result import FilesReport

        self.show(FilesReport(tuple(files)))

    def _draw(self, result: Result) -> None:
        from rich.console import Console

        from cnnscope.render.terminal import RichTable

        colored = self.color.on(sys.stdout)
        width = get_terminal_size().columns if sys.stdout.isatty() else UNBOUNDED
        console = Console(force_terminal=colored, color_system="standard" if colored else None, width=width)
        console.print(RichTable(result.table(), whole=self.verbose), highlight=False)


@group("Output")
class Writing(Showing, Destination):
    """How a result is written, and where to.

    ``KINDS`` are formats of pictures that a verb writes beside text. E404 for a file whose suffix names no format and
    E405 for a picture in a folder that does not exist, before anything is computed.
    """

    KINDS: ClassVar[Sequence[str]] = ()

    def __post_init__(self) -> None:
        if self.output is None:
            return
        if self.picture:
            check_folder(self.output)
        elif self.form is None:
            from cnnscope.render.result import form_of

            form_of(self.output, self.KINDS)

    @property
    def picture(self) -> Path | None:
        """The file to draw a picture into; None where text is asked for."""
        drawn = self.output is not None and self.output.suffix.lower().removeprefix(".") in self.KINDS
        return self.output if drawn else None

    def emit(self, result: Result) -> None:
        """Writes the result to the file of ``-o``, else to stdout."""
        from cnnscope.render.result import SUFFIXES

        form = None if self.form or self.output is None else SUFFIXES[self.output.suffix.lower()]
        self.show(result, form, self.output)

    def deliver(self, result: Result | Drawing | Page, default: Path | None = None) -> None:
        """Writes a picture with the files beside it and lists them; without a picture, writes the result as text.

        ``default`` is the file to draw into without ``-o``.
        """
        place = self.picture or (default if self.output is None else None)
        if place is None:
            self.emit(result)  # type: ignore[arg-type]  # what cannot be text has a default
            return
        self.files(result.write(place))


@group("Output")
class Pictured(Writing):
    """How a result is written that can be a picture."""

    KINDS: ClassVar[Sequence[str]] = PICTURES


@group("Output")
class Animated(Writing):
    """How a result is written that can be a picture, and one that moves."""

    KINDS: ClassVar[Sequence[str]] = MOVING


@group("Output")
class WeightsWriting(Writing):
    """How a result is written that can be a file of weights."""

    KINDS: ClassVar[Sequence[str]] = ("safetensors", "pt", "pth")


def check_folder(path: Path) -> None:
    """E405 where the folder of a file to be written does not exist."""
    if not path.resolve().parent.is_dir():
        raise CnnscopeError.of("E405", f"cannot write `{path}`: no such file or directory")
