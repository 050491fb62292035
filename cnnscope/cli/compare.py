"""``compare``: finished audits beside the first of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.output import Color, Output


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="The audit to compare with: its folder, or its audit.json.")],
    others: Annotated[list[Path], typer.Argument(metavar="B...", help="Audits of which the differences are shown.")],
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", rich_help_panel="Output", help="Each metric of each magnitude.")
    ] = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """Compare finished audits; on the same images, image by image."""
    output = Output.of(form, path, color, quiet)
    from cnnscope.audits.result import load
    from cnnscope.audits.statistics import comparison
    from cnnscope.render.audit.comparison import CompareReport

    first = load(a)
    records = []
    for other in others:
        second = load(other)
        sides = comparison.side(first, str(a)), comparison.side(second, str(other))
        records.append(comparison.record(comparison.compare(first, second), *sides))
    output.emit(CompareReport(tuple(records), bare=quiet, verbose=verbose))
