"""An export as a result: a PyTorch module, a spec or JSON as text, or an ONNX file that is yet to be written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from cnnscope.errors import CnnscopeError, did_you_mean, explained
from cnnscope.ir import Graph, Intent, Node, Value
from cnnscope.ir.graph import NO_INTENT, PadWord
from cnnscope.nn.mapping import name_map
from cnnscope.options.network import ExportFormat, ExportOptions
from cnnscope.render.documents.document import INLINE, OMITTED, Count, Document, Omitted, Shape, plain
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

    @explained
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
        raise CnnscopeError.of("E404", f"`{path.name or path}` has no known suffix", hint=hint)
    return SUFFIXES[path.suffix.lower()]


def _text(graph: Graph, to: ExportFormat) -> str:
    if to == "pytorch":
        from cnnscope.nn.export.pytorch import pytorch_source

        return pytorch_source(graph)
    if to == "spec":
        from cnnscope.nn.export.spec import spec_source

        return spec_source(graph)
    return json.dumps(plain(graph_document(graph)), indent=2, ensure_ascii=False)


def _weights(graph: Graph, file: Path, mapping: str | None) -> dict[str, Tensor]:
    from cnnscope.nn.checkpoint import read_header
    from cnnscope.nn.weights import compare, state_dict

    checkpoint = read_header(file)
    return state_dict(graph, file, compare(graph, checkpoint, name_map(graph, checkpoint, mapping)))


@dataclass(frozen=True, kw_only=True)
class GraphValue:
    """What an op or an input yields."""

    shape: Shape
    dtype: str
    kind: Literal["map", "tokens", "flat", "tensor"]
    batched: bool
    """whether the batch is an axis of its own, which the shape leaves out"""


@dataclass(frozen=True, kw_only=True)
class GraphInput:
    """An input of the network."""

    name: str
    value: GraphValue = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class GraphIntent:
    """What the author stated about an op and its numbers do not show."""

    pad: PadWord | Omitted = OMITTED
    """the word for padding; `half` is dilation * (kernel - 1) // 2 on both sides, `same` gives ceil(n / stride)"""
    like: str | Omitted = OMITTED
    """the op or input whose spatial size the output takes"""
    computed: Sequence[Count] | Omitted = OMITTED
    """axes of the output, batch included, whose extent was computed from shapes"""
    fixed: Sequence[Count] | Omitted = OMITTED
    """axes of the output, batch included, whose extent was written as a number"""


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """One op of the network."""

    name: str
    layer: str
    """the row the op belongs to"""
    op: str
    category: str
    args: Mapping[str, Any]
    inputs: Sequence[str]
    output: GraphValue
    params: Mapping[str, str]
    """role to key"""
    macs: Count | None
    elementwise: Count | None
    training_only: bool
    intent: GraphIntent | Omitted = OMITTED
    lost: Sequence[str] | Omitted = OMITTED
    """operands of a traced call that the op does not have: it is not rebuilt from its arguments alone"""


@dataclass(frozen=True, kw_only=True)
class GraphParam:
    """A parameter or buffer of the network."""

    key: str
    shape: Sequence[Count]
    """as stored"""
    dtype: str
    trainable: bool
    buffer: bool
    persistent: Literal[False] | Omitted = OMITTED
    """false for a buffer that takes memory, and that neither a state dict nor a weight file has"""
    unused: bool


@dataclass(frozen=True, kw_only=True)
class GraphDocument(Document):
    """The graph with its ops, arguments, shapes and weights: ``cnnscope export --to json``."""

    format: Literal["cnnscope.graph"] = "cnnscope.graph"
    name: str
    layout: Literal["CHW", "HWC"]
    """how the author writes shapes; those here are channel-first"""
    inputs: Sequence[GraphInput]
    nodes: Sequence[GraphNode]
    """in execution order"""
    outputs: Sequence[str]
    params: Sequence[GraphParam]
    scopes: Mapping[str, str]
    """what kind each group of layers is"""


def graph_document(graph: Graph) -> GraphDocument:
    """The ``cnnscope.graph`` document. Shapes are without batch, and whole where the batch is folded in."""
    unused = set(graph.unused)
    return GraphDocument(
        name=graph.name,
        layout=graph.layout,
        inputs=[GraphInput(name=name, value=_value(value)) for name, value in graph.inputs.items()],
        nodes=[_node(graph, node) for node in graph.nodes],
        outputs=graph.outputs,
        params=[
            GraphParam(
                key=key, shape=param.shape, dtype=param.dtype, trainable=param.trainable, buffer=param.buffer,
                persistent=OMITTED if param.persistent else False, unused=key in unused,
            )
            for key, param in graph.params.items()
        ],
        scopes=graph.scopes,
    )  # fmt: skip


def _node(graph: Graph, node: Node) -> GraphNode:
    x = graph.values(node)
    return GraphNode(
        name=node.name, layer=node.layer, op=node.op.tag, category=node.op.category, args=node.op.arguments(),
        inputs=node.inputs, output=_value(node.output), params=node.params, macs=node.op.macs(x),
        elementwise=node.op.elementwise(x), training_only=node.training_only, intent=_intent(node.intent),
        lost=node.lost or OMITTED,
    )  # fmt: skip


def _intent(intent: Intent) -> GraphIntent | Omitted:
    if intent == NO_INTENT:
        return OMITTED
    return GraphIntent(
        pad=intent.pad or OMITTED, like=intent.like or OMITTED, computed=intent.computed or OMITTED,
        fixed=intent.fixed or OMITTED,
    )  # fmt: skip


def _value(value: Value) -> GraphValue:
    batched = value.batch_axis is not None
    return GraphValue(shape=value.features, dtype=value.dtype, kind=value.kind, batched=batched)


@dataclass(frozen=True, kw_only=True)
class ExpandDocument(Document):
    """A spec without blocks, repeats and expressions: ``cnnscope expand``."""

    format: Literal["cnnscope.expand"] = "cnnscope.expand"
    spec: Mapping[str, Any]
