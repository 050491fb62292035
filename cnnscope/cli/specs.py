"""The commands ``check expand zoo ops schema``: models of the zoo, specs, layer types, and JSON schemas."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from cnnscope.cli import options as o
from cnnscope.cli.flat import flat
from cnnscope.cli.output import Texting, Writing
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.options.group import Option, group


@flat
def check(
    loading: o.Loading,
    writing: Writing,
    sources: o.OptionalSources = None,
    every: Annotated[bool, typer.Option("--all", help="Every model of the zoo.")] = False,
) -> int:
    """Compare parameters and MACs with a spec's `reference:`; exit with 1 if they differ."""
    from cnnscope.render.checks import CheckReport
    from cnnscope.sources import zoo

    chosen = (*(sources or ()), *(zoo.names() if every else ()))
    if not chosen:
        raise CnnscopeError.of("E400", "missing argument `SOURCE`", hint="name a model, or say `--all`")
    reports = [loading.load(source).check() for source in dict.fromkeys(chosen)]
    comparands = tuple(comparand for report in reports for comparand in report.comparands)
    merged = CheckReport(comparands)
    writing.emit(merged)
    return 0 if merged.ok else 1


@group("Output")
class Expanding:
    """How the expanded spec is written."""

    form: Annotated[
        Literal["yaml", "json"], Option("YAML text, or JSON with the spec as data.", flags=("--format", "-f"))
    ] = "yaml"


@flat(output="Write to a file.")
def expand(source: o.Source, loading: o.Loading, expanding: Expanding, texting: Texting) -> None:
    """Print a spec with all blocks, repeats, defaults and expressions expanded."""
    from cnnscope import questions
    from cnnscope.render.documents.document import plain
    from cnnscope.render.export import ExpandDocument
    from cnnscope.sources.inputs import parse_inputs
    from cnnscope.spec.marks import parse

    text = str(questions.expand(source, input=parse_inputs(loading.input or ()), set=loading.settings))
    if expanding.form == "json":
        document = plain(ExpandDocument(spec=parse(text, source).plain()))
        text = json.dumps(document, indent=2, ensure_ascii=False)
    texting.put(text, texting.output)


@flat
def zoo(
    sorting: o.Sorting,
    writing: Writing,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", autocompletion=o.complete_source,
            help="Only models of these names, or with these letters in their names; `*` and `?` as in a shell.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """List the models of the zoo with parameters, MACs, receptive field and origin."""
    from cnnscope import questions

    writing.emit(questions.zoo(*(names or ())).view(sort=sorting.sort, top=sorting.top))


def _complete(incomplete: str) -> list[str]:
    from cnnscope.ops import REGISTRY
    from cnnscope.spec.structures import STRUCTURES_EXPLAINED

    return [word for word in (*REGISTRY, *STRUCTURES_EXPLAINED) if word.startswith(incomplete)]


@flat
def ops(
    writing: Writing,
    name: Annotated[
        str | None, typer.Argument(autocompletion=_complete, help="A layer type; without it, all are listed.")
    ] = None,
) -> None:
    """The reference of layer types: arguments, defaults, worked examples."""
    from cnnscope import questions

    writing.emit(questions.layer_types(name))


@flat(output="Write to a file.")
def schema(
    texting: Texting,
    document: Annotated[
        str | None, typer.Argument(help="A document, as `summary`; without it, the spec language's schema.")
    ] = None,
) -> None:
    """Print a JSON Schema (draft-07): of specs, for an editor's completion, or of a command's JSON."""
    from cnnscope.spec.jsonschema import language

    chosen = language() if document is None else _document(document)
    texting.put(json.dumps(chosen, indent=2), texting.output)


def _document(name: str) -> dict[str, Any]:
    from importlib.resources import files

    published: dict[str, Any] = json.loads(files("cnnscope").joinpath("schemas/documents.json").read_text())
    names = [choice["$ref"].rpartition("/")[2] for choice in published.pop("oneOf")]
    if name not in names:
        hint = did_you_mean(name, names) or f"documents: {', '.join(names)}"
        raise CnnscopeError.of("E408", f"no document is called `{name}`", hint=hint)
    return published | {"title": f"cnnscope.{name}", "allOf": [{"$ref": f"#/definitions/{name}"}]}
