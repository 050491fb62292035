"""``expand``: the flat form of a spec."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from cnnscope.cli import options as o
from cnnscope.cli.layers import parse_settings
from cnnscope.cli.output import Format, Output
from cnnscope.errors import CnnscopeError


def expand(
    source: o.Source,
    input: o.Input = None,
    set: o.Settings = None,
    form: Annotated[
        Literal["yaml", "json"],
        typer.Option("--format", "-f", rich_help_panel="Output", help="YAML text, or JSON with the spec as data."),
    ] = "yaml",
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Print a spec with every block, repeat, default and expression worked out."""
    from cnnscope.render.documents.document import plain
    from cnnscope.render.documents.ops import ExpandDocument
    from cnnscope.sources import spec_file
    from cnnscope.sources.inputs import parse_inputs
    from cnnscope.sources.resolve import resolve
    from cnnscope.spec.emit import expand as flat
    from cnnscope.spec.marks import parse

    kind = resolve(source).name
    if kind not in ("zoo", "spec"):
        raise CnnscopeError.of("E410", f"`{source}` is not a spec", hint="`expand` takes a spec or a model of the zoo")
    text = flat(spec_file.read(source, parse_inputs(input or ()), parse_settings(set or ())))
    if form == "json":
        document = plain(ExpandDocument(spec=parse(text, source).plain()))
        text = json.dumps(document, indent=2, ensure_ascii=False)
    Output(Format.table, path, quiet=quiet).emit_text(text.rstrip("\n"))
