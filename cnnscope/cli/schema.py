"""``schema``: JSON Schemas of the spec language and of the documents that ``-f json`` writes."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cnnscope.cli import options as o
from cnnscope.cli.output import Format, Output
from cnnscope.errors import CnnscopeError, did_you_mean


def schema(
    document: Annotated[
        str | None, typer.Argument(help="A document, as `summary`; without it, the spec language's schema.")
    ] = None,
    path: o.OutputPath = None,
    debug: o.Debug = False,
) -> None:
    """Print a JSON Schema (draft-07): of specs, for an editor's completion, or of a command's JSON."""
    from cnnscope.spec.jsonschema import language

    chosen = language() if document is None else _document(document)
    Output(Format.json, path).emit_text(json.dumps(chosen, indent=2))


def _document(name: str) -> dict[str, Any]:
    from importlib.resources import files

    published: dict[str, Any] = json.loads(files("cnnscope").joinpath("schemas/documents.json").read_text())
    names = [choice["$ref"].rpartition("/")[2] for choice in published.pop("oneOf")]
    if name not in names:
        hint = did_you_mean(name, names) or f"documents: {', '.join(names)}"
        raise CnnscopeError.of("E408", f"no document is called `{name}`", hint=hint)
    return published | {"title": f"cnnscope.{name}", "allOf": [{"$ref": f"#/definitions/{name}"}]}
