"""``ops``: the layer types a spec can name."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.output import Color, Output
from cnnscope.errors import CnnscopeError, did_you_mean


def _complete(incomplete: str) -> list[str]:
    from cnnscope.ops import REGISTRY

    return [tag for tag in REGISTRY if tag.startswith(incomplete)]


def ops(
    name: Annotated[
        str | None, typer.Argument(autocompletion=_complete, help="A layer type; without it, all are listed.")
    ] = None,
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """The reference of layer types: arguments, defaults, worked examples."""
    from cnnscope.ops import REGISTRY
    from cnnscope.render.reference import OpList, OpReference

    output = Output.of(form, path, color, quiet)
    if name is None:
        output.emit(OpList.of_registry(quiet))
    elif name in REGISTRY:
        output.emit(OpReference(REGISTRY[name]))
    else:
        hint = did_you_mean(name.lower(), REGISTRY) or "`cnnscope ops` lists them"
        raise CnnscopeError.of("E201", f"unknown layer type `{name}`", hint=hint)
