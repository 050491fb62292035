"""``diagram``: the architecture as a picture."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cnnscope.cli import options as o
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Format, Output
from cnnscope.files import write_bytes
from cnnscope.render.formats import GRAPHS, check_format

_PICTURE = "Picture"
_SUFFIXES = {"mmd": "mmd", "mermaid": "mmd", "gv": "dot"}
"""Spellings of formats beside the formats' own names."""


def diagram(
    source: o.Source,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel=_PICTURE,
            help="svg, png, pdf, tex, dot, json or mmd by its suffix; else NAME.svg here.",
        ),
    ] = None,
    view: Annotated[
        Literal["graph", "volumes", "paper"],
        typer.Option(
            rich_help_panel=_PICTURE,
            help="Boxes and arrows, feature maps to scale, or the overview with the anatomy of every distinct block.",
        ),
    ] = "graph",
    level: Annotated[
        Literal["overview", "block", "layer", "op"],
        typer.Option(rich_help_panel=_PICTURE, help="How much detail: folded blocks, all blocks, layers, or ops."),
    ] = "overview",
    heat: Annotated[
        Literal["macs", "params", "none"],
        typer.Option(rich_help_panel=_PICTURE, help="What the fill of a box shows."),
    ] = "macs",
    rf: Annotated[bool, typer.Option("--rf/--no-rf", rich_help_panel=_PICTURE, help="Receptive fields.")] = True,
    theme: Annotated[Literal["light", "dark"], typer.Option(rich_help_panel=_PICTURE, help="Background.")] = "light",
    direction: Annotated[
        Literal["TB", "LR"], typer.Option(rich_help_panel=_PICTURE, help="From top to bottom, or left to right.")
    ] = "TB",
    fit: Annotated[
        Literal["a4", "slide", "none"],
        typer.Option(rich_help_panel=_PICTURE, help="Wrap into columns and shrink to a page or a slide."),
    ] = "none",
    engine: Annotated[
        Literal["wheel", "dot"] | None,
        typer.Option(rich_help_panel=_PICTURE, help="Graphviz from pygraphviz's wheel, or the `dot` on the PATH."),
    ] = None,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """Draw the architecture: folded blocks, stages, shapes, costs and receptive fields."""
    from cnnscope.render.diagram.dot import Options
    from cnnscope.render.diagram.picture import paper_picture, picture, volumes_picture
    from cnnscope.render.files import File, FilesReport

    kind = picture_format(path)
    check_format(kind, GRAPHS)
    model = load(source, input or (), set or ())
    target = path or Path(f"{file_name(model.name)}.{kind}")
    options = Options(heat, rf, theme, direction)
    if view == "volumes":
        content, drawn = volumes_picture(model.graph, kind, theme), level
    elif view == "paper":
        content, drawn = paper_picture(model.graph, kind, options, engine=engine, fit=fit), level
    else:
        content, drawn = picture(model.graph, kind, level, options, engine=engine, fit=fit)
    write_bytes(target, content)
    if drawn != level and not quiet:
        print(f"note: drawn at level {drawn}: {level} is too much to lay out", file=sys.stderr)
    report = FilesReport((File(target, kind, len(content)),))
    Output(form or Format.table, color=color, quiet=quiet).emit(report)


def picture_format(path: Path | None) -> str:
    """The picture format a file's suffix names; svg where there is no file."""
    if path is None:
        return "svg"
    suffix = path.suffix.lower().removeprefix(".")
    return _SUFFIXES.get(suffix, suffix)


def file_name(title: str) -> str:
    """A title as a file's name: letters, digits, dots and dashes, not longer than 80."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", title).strip("-.")[:80].lower() or "model"
