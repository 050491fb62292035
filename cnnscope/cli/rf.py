"""``rf``: what every layer sees of the image, or one unit of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.layers import Question, answer, load
from cnnscope.cli.output import Color, Output
from cnnscope.errors import CnnscopeError


def rf(
    sources: o.Sources,
    input: o.Input = None,
    set: o.Settings = None,
    level: o.Level = "layer",
    unit: Annotated[
        str | None,
        typer.Option(metavar="LAYER:Y,X", rich_help_panel="Network", help="The pixels that one unit sees."),
    ] = None,
    strict: o.Strict = False,
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    columns: o.Columns = None,
    depth: o.Depth = None,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """Receptive fields: theoretical, and clipped to this input's pixels."""
    output = Output.of(form, path, color, quiet)
    if unit is not None:
        layer, position = parse_unit(unit)
        if len(sources) > 1:
            raise CnnscopeError.of("E409", "`--unit` looks at one SOURCE")
        report = load(sources[0], input or (), set or ()).unit(layer, position)
        output.emit(replace(report, bare=quiet))
        return
    question = Question(
        "rf", sources, input or (), set or (), level, 1, "float32", strict, columns, depth, verbose,
        exact=len(sources) == 1,
    )  # fmt: skip
    answer(question, output)


def parse_unit(text: str) -> tuple[str, tuple[int, ...]]:
    """``conv3:5,7`` as layer and position, ``fc`` as a layer without positions; E409 where it is neither."""
    layer, colon, position = text.partition(":")
    indices = position.split(",") if colon else []
    if not layer or not all(index.strip().isdecimal() and len(index) < 19 for index in indices):
        raise CnnscopeError.of("E409", f"`{text}` names no unit", hint="write LAYER:y,x, as `--unit conv3:5,7`")
    return layer, tuple(map(int, indices))
