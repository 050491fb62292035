"""``check``: totals against what the spec's author says they are."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Output
from cnnscope.errors import CnnscopeError


def check(
    sources: o.OptionalSources = None,
    every: Annotated[bool, typer.Option("--all", help="Every model of the zoo.")] = False,
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> int:
    """Compare parameters and MACs with a spec's `reference:`; exit with 1 if they differ."""
    from cnnscope.render.checks import CheckReport
    from cnnscope.sources import zoo

    output = Output.of(form, path, color, quiet)
    chosen = (*(sources or ()), *(zoo.names() if every else ()))
    if not chosen:
        raise CnnscopeError.of("E400", "missing argument `SOURCE`", hint="name a model, or say `--all`")
    reports = [load(source, (), ()).check() for source in dict.fromkeys(chosen)]
    merged = CheckReport(
        tuple(comparand for report in reports for comparand in report.comparands),
        {source: origin for report in reports for source, origin in report.references.items()},
        quiet,
    )
    output.emit(merged)
    return 0 if merged.ok else 1
