"""``diff``: two architectures, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cnnscope.cli import options as o
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Format, Output, picture_kind
from cnnscope.render.formats import PICTURES


def diff(
    a: Annotated[str, typer.Argument(metavar="A", autocompletion=o.complete_source, help="The network to start from.")],
    b: Annotated[str, typer.Argument(metavar="B", autocompletion=o.complete_source, help="The one to compare with.")],
    input: o.Input = None,
    form: o.FormatOption = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", rich_help_panel="Output",
            help="Write to a file: .svg .png .pdf .dot draw it, .json .csv .tsv .md .txt hold the table.",
        ),
    ] = None,
    theme: Annotated[
        Literal["light", "dark"], typer.Option(rich_help_panel="Output", help="Background of a picture.")
    ] = "light",
    quiet: o.Quiet = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", rich_help_panel="Output", help="Equal layers one by one.")
    ] = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> int:  # fmt: skip
    """Compare two architectures layer by layer; exit with 1 if they differ."""
    from dataclasses import replace

    kind = picture_kind(path, form, (*PICTURES, "dot"))
    first, second = (load(source, input or (), ()) for source in (a, b))
    report = first.diff(second)
    if path is not None and kind is not None:
        from cnnscope.render.diagram.difference import picture

        Output(form or Format.table, color=color, quiet=quiet).emit_file(path, kind, picture(report, kind, theme))
    else:
        Output.of(form, path, color, quiet).emit(replace(report, verbose=verbose, bare=quiet))
    return 0 if report.equal else 1
