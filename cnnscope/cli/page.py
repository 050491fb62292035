"""``page``: the network as a page to click through."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.diagram import file_name
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Format, Output
from cnnscope.errors import CnnscopeError
from cnnscope.files import write_text
from cnnscope.render.numbers import printable


def page(
    source: o.Source,
    path: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", rich_help_panel="Page", help="Where to; else NAME.html here."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel="Page", help="A picture to lie under the receptive fields."),
    ] = None,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """Write an interactive page: click a unit, see its receptive field."""
    from cnnscope.render.files import File, FilesReport

    if path is not None and path.suffix.lower() not in ("", ".html", ".htm"):
        raise CnnscopeError.of("E404", f"`{path.name}` is not the name of a page", hint="use .html")
    model = load(source, input or (), set or ())
    target = path or Path(f"{file_name(model.name)}.html")
    with announced(f"drawing {model.name}", quiet):
        content = model.page(image=image)
    write_text(target, content)
    report = FilesReport((File(target, "html", len(content.encode())),))
    Output(form or Format.table, color=color, quiet=quiet).emit(report)


PATIENCE = 1.0
"""Seconds without a word."""


@contextmanager
def announced(what: str, quiet: bool = False, after: float | None = None) -> Iterator[None]:
    """Says on stderr what takes so long, once it has taken ``after`` seconds, or `PATIENCE`."""
    timer = Timer(
        PATIENCE if after is None else after, lambda: print(f"{printable(what)} ...", file=sys.stderr, flush=True)
    )
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
