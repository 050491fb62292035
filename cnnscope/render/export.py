"""An export as a result: a PyTorch module, a spec or JSON as text, or an ONNX file that is yet to be written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph
from cnnscope.nn.mapping import name_map
from cnnscope.options.network import ExportFormat, ExportOptions
from cnnscope.render.illustrated import Text, file_name
from cnnscope.render.result import File

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES: dict[str, ExportFormat] = {
    ".py": "pytorch", ".onnx": "onnx", ".yaml": "spec", ".yml": "spec", ".json": "json"
}  # fmt: skip


@dataclass(frozen=True)
class OnnxExport:
    """A network as ONNX: it is built when it is written, as it may be larger than the memory."""

    graph: Graph
    name: str
    weights: dict[str, Tensor] | None = None

    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes the file. `CnnscopeError`: E43x for what ONNX cannot express, E405 where it cannot be written."""
        from cnnscope.nn.export.onnx_file import write_onnx

        path = Path(path)
        write_onnx(self.graph, path, self.weights)
        return (File(path, "onnx", path.stat().st_size),)


def export(graph: Graph, to: ExportFormat, options: ExportOptions | None = None) -> Text | OnnxExport:
    """The network as ``pytorch``, ``onnx``, ``spec`` or ``json``. The weights of the options are for ONNX alone.

    `CnnscopeError`: E400 another format, or weights for one without, E420 to E425 weights that do not fit, E43x what
    cannot be written.
    """
    options = options or ExportOptions()
    if to not in get_args(ExportFormat):
        hint = did_you_mean(to, get_args(ExportFormat)) or f"there are {', '.join(get_args(ExportFormat))}"
        raise CnnscopeError.of("E400", f"no export is called `{to}`", hint=hint)
    check(to, options)
    if to == "onnx":
        values = None if options.weights is None else _weights(graph, Path(options.weights), options.map)
        return OnnxExport(graph, file_name(graph.name), values)
    return Text(_text(graph, to).rstrip("\n"), to, file_name(graph.name))


def check(to: ExportFormat, options: ExportOptions) -> None:
    """E400 for weights that go into no ONNX file."""
    if to != "onnx" and options.weights is not None:
        hint = "the other formats have no weights in them; `cnnscope weights map -o` writes weights"
        raise CnnscopeError.of("E400", "`--weights` goes with `--to onnx`", hint=hint)


def format_of(path: Path | None) -> ExportFormat:
    """The format that a file's suffix names. E400 without a file, E404 for another suffix."""
    if path is None:
        raise CnnscopeError.of("E400", "missing option `--to`", hint=f"one of {', '.join(get_args(ExportFormat))}")
    if path.suffix.lower() not in SUFFIXES:
        hint = did_you_mean(path.suffix.lower(), SUFFIXES) or f"use {', '.join(SUFFIXES)}, or say --to"
        raise CnnscopeError.of("E404", f"`{path.name}` has no known suffix", hint=hint)
    return SUFFIXES[path.suffix.lower()]


def _text(graph: Graph, to: ExportFormat) -> str:
    if to == "pytorch":
        from cnnscope.nn.export.pytorch import pytorch_source

        return pytorch_source(graph)
    if to == "spec":
        from cnnscope.nn.export.spec import spec_source

        return spec_source(graph)
    from cnnscope.render.documents.document import plain
    from cnnscope.render.documents.graph import graph_document

    return json.dumps(plain(graph_document(graph)), indent=2, ensure_ascii=False)


def _weights(graph: Graph, file: Path, mapping: str | None) -> dict[str, Tensor]:
    from cnnscope.nn.checkpoint import read_header
    from cnnscope.nn.weights import compare, state_dict

    checkpoint = read_header(file)
    return state_dict(graph, file, compare(graph, checkpoint, name_map(graph, checkpoint, mapping)))
