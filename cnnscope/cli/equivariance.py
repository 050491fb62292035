"""``equivariance``: which shifts, flips and turns an architecture commutes with, whatever its weights."""

from __future__ import annotations

from dataclasses import replace

from cnnscope.cli import options as o
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Output


def equivariance(
    source: o.Source,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """Shifts, flips and turns that change nothing or move the maps along, from the architecture alone."""
    output = Output.of(form, path, color, quiet)
    report = load(source, input or (), set or ()).equivariance()
    output.emit(replace(report, bare=quiet))
