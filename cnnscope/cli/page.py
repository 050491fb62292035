"""``page``: the network as a page to click through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.diagram import file_name
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Format, Output, write_file


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

    model = load(source, input or (), set or ())
    target = path or Path(f"{file_name(model.name)}.html")
    content = model.page(image=image)
    write_file(target, content)
    report = FilesReport((File(target, "html", len(content.encode())),))
    Output(form or Format.table, color=color, quiet=quiet).emit(report)
