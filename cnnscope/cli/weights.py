"""The commands ``weights check`` and ``weights map``: whether a file of weights fits a network, and how names match."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.flat import flat
from cnnscope.cli.output import WeightsWriting, Writing
from cnnscope.options.network import Mapping

app = typer.Typer(help="Weight files beside a network.", no_args_is_help=True, rich_markup_mode="markdown")

WeightFile = Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors, .pt or .pth file of weights.")]


@app.command()
@flat(verbose="List every tensor, with all columns.")
def check(source: o.Source, file: WeightFile, mapping: Mapping, loading: o.Loading, writing: Writing) -> int:
    """Compare names and shapes in FILE with the network's, reading its header only; exit with 1 if it does not fit."""
    report = loading.load(source).check_weights(file, map=mapping.map)
    writing.emit(replace(report, verbose=writing.verbose))
    return 0 if report.comparison.fits else 1


@app.command("map")
@flat(output="Write the mapping (.json), or the weights under the network's names (.safetensors .pt .pth).")
def map_(source: o.Source, file: WeightFile, loading: o.Loading, writing: WeightsWriting) -> int:
    """Propose which tensor of FILE is which weight of the network, by shape and order; exit with 1 if some remain."""
    report = loading.load(source).map_weights(file)
    if writing.picture is None:
        writing.emit(report)
    else:
        if report.proposal.complete:
            report.write(writing.picture)
            writing.say(f"wrote {writing.picture}")
        writing.show(report)
    return 0 if report.proposal.complete else 1
