"""``rf``: what every layer sees of the image, or one unit of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cnnscope.cli import options as o
from cnnscope.cli.flat import flat
from cnnscope.cli.layers import Looking, Question, answer
from cnnscope.cli.output import Output, picture_kind
from cnnscope.errors import CnnscopeError
from cnnscope.options.group import Option, group
from cnnscope.options.network import LayerOptions, LevelOptions
from cnnscope.render.formats import PICTURES

if TYPE_CHECKING:
    from cnnscope.render.layers import LayerReport
    from cnnscope.render.unit import UnitReport


@group("Picture")
class UnitOptions:
    """What is drawn."""

    unit: Annotated[str | None, Option("The pixels that one unit sees.", metavar="LAYER:Y,X")] = None
    image: Annotated[
        Path | None, Option("A picture to draw under the field of --unit, with -o out.png.", metavar="FILE")
    ] = None
    plot: Annotated[Path | None, Option("Plot growth against depth: png, svg or pdf.", metavar="FILE")] = None


@flat
def rf(
    sources: o.Sources, loading: o.Loading, level: LevelOptions, pictures: UnitOptions, looking: Looking,
    writing: o.Writing,
) -> None:  # fmt: skip
    """Receptive fields: theoretical, and clipped to this input's pixels."""
    unit, image, plot, path = pictures.unit, pictures.image, pictures.plot, writing.output
    kind = picture_kind(path, writing.form, PICTURES) if unit is not None else None
    output = Output.of(writing.form, None if kind else path, writing.color, writing.quiet)
    _refuse(sources, unit is not None, kind, plot, path, image)
    if unit is not None:
        layer, position = parse_unit(unit)
        report = loading.load(sources[0]).unit(layer, position)
        if kind is None or path is None:
            output.emit(replace(report, bare=writing.quiet))
        else:
            output.emit_file(path, kind, _unit_picture(report, kind, image))
        return
    layers = LayerOptions(level=level.level)
    if plot is not None:
        kind = check_picture(plot)
        output.emit_file(plot, kind, _plot(loading.load(sources[0]).layers("rf", layers), kind))
        return
    answer(Question("rf", sources, loading, layers, looking, exact=len(sources) == 1), output)


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
