"""A graph as plain data: every op with its arguments, inputs, output and weights."""

from __future__ import annotations

from typing import Any

from cnnscope.ir import Graph, Node, Value


def graph_document(graph: Graph) -> dict[str, Any]:
    """The graph as JSON has it, without a header. Shapes are without batch, and whole where the batch is folded in."""
    unused = set(graph.unused)
    return {
        "name": graph.name,
        "layout": graph.layout,
        "inputs": [{"name": name, **_value(value)} for name, value in graph.inputs.items()],
        "nodes": [_node(graph, node) for node in graph.nodes],
        "outputs": list(graph.outputs),
        "params": [
            {
                "key": key, "shape": list(param.shape), "dtype": param.dtype, "trainable": param.trainable,
                "buffer": param.buffer, "unused": key in unused,
            }
            for key, param in graph.params.items()
        ],
        "scopes": dict(graph.scopes),
    }  # fmt: skip


def _node(graph: Graph, node: Node) -> dict[str, Any]:
    x = graph.values(node)
    return {
        "name": node.name,
        "layer": node.layer,
        "op": node.op.tag,
        "category": node.op.category,
        "args": node.op.arguments(),
        "inputs": list(node.inputs),
        "output": _value(node.output),
        "params": dict(node.params),
        "macs": node.op.macs(x),
        "elementwise": node.op.elementwise(x),
        "training_only": node.training_only,
    }


def _value(value: Value) -> dict[str, Any]:
    return {
        "shape": list(value.features), "dtype": value.dtype, "kind": value.kind,
        "batched": value.batch_axis is not None,
    }  # fmt: skip
