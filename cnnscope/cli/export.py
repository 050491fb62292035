"""``export``: the network as PyTorch code, ONNX, a spec or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from cnnscope.cli import options as o
from cnnscope.cli.layers import load
from cnnscope.cli.output import Format, Output
from cnnscope.cli.weights import MapFile, name_map
from cnnscope.errors import CnnscopeError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from cnnscope.ir import Graph

Target = Literal["pytorch", "onnx", "spec", "json"]
SUFFIXES: dict[str, Target] = {".py": "pytorch", ".onnx": "onnx", ".yaml": "spec", ".yml": "spec", ".json": "json"}


def export(
    source: o.Source,
    to: Annotated[Target | None, typer.Option(help="What to write; without it, what the suffix of -o says.")] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel="Output",
            help="Write to a file: .py .onnx .yaml .json; else to stdout, but for ONNX.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel="Network", help="Weights for ONNX (fresh ones without it)."),
    ] = None,
    mapping: MapFile = None,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Write the network as a PyTorch module, an ONNX file, a spec, or JSON."""
    target = to or _by_suffix(path)
    if target != "onnx" and weights is not None:
        hint = "the other formats have no weights in them; `cnnscope weights map -o` writes weights"
        raise CnnscopeError.of("E400", "`--weights` goes with `--to onnx`", hint=hint)
    if target == "onnx" and path is None:
        raise CnnscopeError.of("E400", "an ONNX file needs a name", hint="say `-o model.onnx`")
    graph = load(source, input or (), set or ()).graph
    output = Output(Format.table, path, quiet=quiet or form is not None)
    if target == "onnx":
        assert path is not None
        _onnx(graph, path, weights, mapping)
        if not output.quiet:
            typer.echo(f"wrote {path}", err=True)
    else:
        output.emit_text(_text(graph, target).rstrip("\n"))
    if path is not None and form is not None:
        _report(path, target, form)


def _by_suffix(path: Path | None) -> Target:
    if path is None:
        raise CnnscopeError.of("E400", "missing option `--to`", hint=f"one of {', '.join(get_args(Target))}")
    if path.suffix.lower() not in SUFFIXES:
        hint = did_you_mean(path.suffix.lower(), SUFFIXES) or f"use {', '.join(SUFFIXES)}, or say --to"
        raise CnnscopeError.of("E404", f"`{path.name}` does not tell a format", hint=hint)
    return SUFFIXES[path.suffix.lower()]


def _text(graph: Graph, target: Target) -> str:
    if target == "pytorch":
        from cnnscope.nn.export.pytorch.source import pytorch_source

        return pytorch_source(graph)
    if target == "spec":
        from cnnscope.nn.export.spec.source import spec_source

        return spec_source(graph)
    from cnnscope.render.documents.document import plain
    from cnnscope.render.documents.graph import graph_document

    return json.dumps(plain(graph_document(graph)), indent=2, ensure_ascii=False)


def _onnx(graph: Graph, path: Path, weights: Path | None, mapping: str | None) -> None:
    from cnnscope.nn.export.onnx_file import write_onnx

    write_onnx(graph, path, None if weights is None else _weights(graph, weights, mapping))


def _weights(graph: Graph, file: Path, mapping: str | None) -> dict[str, Tensor]:
    from cnnscope.nn.checkpoint import read_header
    from cnnscope.nn.weights import compare, state_dict

    checkpoint = read_header(file)
    return state_dict(graph, file, compare(graph, checkpoint, name_map(graph, checkpoint, mapping)))


def _report(path: Path, target: Target, form: Format) -> None:
    from cnnscope.render.files import File, FilesReport

    Output(form).emit(FilesReport((File(path, target, path.stat().st_size),)))
