"""``rf``: what every layer sees of the image, or one unit of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.layers import Question, answer, load
from cnnscope.cli.output import Color, Output, picture_kind
from cnnscope.errors import CnnscopeError
from cnnscope.render.formats import PICTURES

if TYPE_CHECKING:
    from cnnscope.render.layers import LayerReport
    from cnnscope.render.unit import UnitReport


def rf(
    sources: o.Sources,
    input: o.Input = None,
    set: o.Settings = None,
    level: o.Level = "layer",
    unit: Annotated[
        str | None,
        typer.Option(metavar="LAYER:Y,X", rich_help_panel="Network", help="The pixels that one unit sees."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel="Picture", help="Under the field of --unit with -o out.png."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel="Picture", help="Growth against depth as png, svg or pdf."),
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
    kind = picture_kind(path, form, PICTURES) if unit is not None else None
    output = Output.of(form, None if kind else path, color, quiet)
    _refuse(sources, unit is not None, kind, plot, path, image)
    if unit is not None:
        layer, position = parse_unit(unit)
        model = load(sources[0], input or (), set or ())
        report = model.unit(layer, position)
        if kind is None or path is None:
            output.emit(replace(report, bare=quiet))
        else:
            output.emit_file(path, kind, _unit_picture(report, kind, image))
        return
    if plot is not None:
        kind = check_picture(plot)
        model = load(sources[0], input or (), set or ())
        output.emit_file(plot, kind, _plot(model.report("rf", level=level), kind))
        return
    question = Question(
        "rf", sources, input or (), set or (), level, 1, "float32", strict, columns, depth, verbose,
        exact=len(sources) == 1,
    )  # fmt: skip
    answer(question, output)


def _refuse(
    sources: Sequence[str], unit: bool, kind: str | None, plot: Path | None, path: Path | None, image: Path | None
) -> None:
    """E409 for options that do not go together."""
    if unit and len(sources) > 1:
        raise CnnscopeError.of("E409", "`--unit` looks at one SOURCE")
    if plot is not None and len(sources) > 1:
        raise CnnscopeError.of("E409", "`--plot` draws one SOURCE")
    if plot is not None and unit:
        raise CnnscopeError.of("E409", "`--plot` draws all layers, not `--unit`", hint="write `--unit ... -o out.png`")
    if plot is not None and path is not None:
        raise CnnscopeError.of("E409", "`--plot` and `-o` are two answers", hint="ask for one at a time")
    if image is not None and kind is None:
        raise CnnscopeError.of("E409", "`--image` lies under one unit's field",
                               hint="write `--unit conv3:5,7 --image cat.png -o out.png`")  # fmt: skip


def check_picture(path: Path) -> str:
    """The format a picture's suffix names; E604 with the known ones if it is none."""
    from cnnscope.render.formats import check_format

    return check_format(path.suffix.lower().removeprefix("."))


def _plot(report: LayerReport, kind: str) -> bytes:
    from cnnscope.render.plots.growth import growth, plot

    return plot(growth(report.graph, report.summary), kind)


def _unit_picture(report: UnitReport, kind: str, image: Path | None) -> bytes:
    from cnnscope.render.page.image import fitted
    from cnnscope.render.plots.unit import picture

    return picture(report, kind, None if image is None else fitted(image, report.graph))


def parse_unit(text: str) -> tuple[str, tuple[int, ...]]:
    """``conv3:5,7`` as layer and position, ``fc`` as a layer without positions; E409 where it is neither."""
    layer, colon, position = text.partition(":")
    indices = position.split(",") if colon else []
    if not layer or not all(index.strip().isdecimal() and len(index) < 19 for index in indices):
        raise CnnscopeError.of("E409", f"`{text}` names no unit", hint="write LAYER:y,x, as `--unit conv3:5,7`")
    return layer, tuple(map(int, indices))
