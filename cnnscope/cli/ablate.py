"""``ablate``: a network without some of its layers."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Output
from cnnscope.errors import CnnscopeError


def ablate(
    source: o.Source,
    remove: Annotated[
        list[str],
        typer.Option(
            "--remove", metavar="A,B,...", rich_help_panel="Network",
            help="Layers or groups of layers to leave out together; each --remove is a variant of its own.",
        ),
    ],
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:  # fmt: skip
    """Leave layers out and compare what remains: parameters, MACs, receptive field, output."""
    from dataclasses import replace

    output = Output.of(form, path, color, quiet)
    variants = [parse_names(text) for text in remove]
    output.emit(replace(load(source, input or (), set or ()).ablate(*variants), bare=quiet))


def parse_names(text: str) -> tuple[str, ...]:
    """``conv3,conv4`` as names, each once; E490 where one is empty."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise CnnscopeError.of("E490", f"`--remove {text}` names no layer", hint="write `--remove conv3,conv4`")
    return names
