"""Documents of networks as data: a graph with all ops, a flat spec, and layer types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnscope.ir import Graph, Intent, Node, Value
from cnnscope.ir.graph import NO_INTENT, PadWord
from cnnscope.render.documents.document import INLINE, OMITTED, Count, Document, Omitted, Shape


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


@dataclass(frozen=True, kw_only=True)
class GraphParam:
    """A parameter or buffer of the network."""

    key: str
    shape: Sequence[Count]
    """as stored"""
    dtype: str
    trainable: bool
    buffer: bool
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
                unused=key in unused,
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
class OpArgument:
    """An argument of a layer type."""

    name: str
    required: bool
    default: str | None
    takes: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class OpFacts:
    """A layer type."""

    tag: str
    category: str
    about: str
    accepts: Sequence[str]
    short: str | None
    decorates: bool
    arguments: Sequence[OpArgument]
    examples: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class OpsDocument(Document):
    """All layer types: ``cnnscope ops``."""

    format: Literal["cnnscope.ops"] = "cnnscope.ops"
    ops: Sequence[OpFacts]


@dataclass(frozen=True, kw_only=True)
class OpDocument(Document):
    """One layer type: ``cnnscope ops NAME``."""

    format: Literal["cnnscope.op"] = "cnnscope.op"
    facts: OpFacts = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class ExpandDocument(Document):
    """A spec without blocks, repeats and expressions: ``cnnscope expand``."""

    format: Literal["cnnscope.expand"] = "cnnscope.expand"
    spec: Mapping[str, Any]
