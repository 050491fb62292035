"""Peak activation memory: the greatest sum of live tensors over the execution order, at inference.

A tensor lives from the op that makes it to the last op that reads it or a view of it; network inputs live until their
last reader, outputs to the end. An op that a traced model runs in place writes over its input; no other reuse is
assumed, so a framework may need less, never more, for these tensors (its workspace apart).
"""

from __future__ import annotations

from cnnscope.analysis.cost import nbytes
from cnnscope.ir import Graph


def live_bytes(graph: Graph, *, batch: int = 1, dtype: str | None = None) -> dict[str, int]:
    """Bytes alive while each node runs, its inputs and its output included, by node name."""
    nodes = [node for node in graph.nodes if not node.training_only]
    storage = {name: name for name in graph.inputs}  # the tensor whose memory a value occupies
    size = {name: batch * nbytes(value, dtype) for name, value in graph.inputs.items()}
    born = dict.fromkeys(graph.inputs, 0)
    dies = dict.fromkeys(graph.inputs, 0)
    for step, node in enumerate(nodes):
        if node.is_view and node.inputs:
            storage[node.name] = storage[node.inputs[0]]
        else:
            storage[node.name] = node.name
            size[node.name] = 0 if node.is_view else batch * nbytes(node.output, dtype)
            born[node.name] = step
        for name in (*node.inputs, node.name):
            dies[storage[name]] = step
    for name in graph.outputs:
        if name in storage:
            dies[storage[name]] = len(nodes) - 1

    change = [0] * (len(nodes) + 2)
    for name, last in dies.items():
        change[born[name]] += size[name]
        change[last + 1] -= size[name]
    alive, result = 0, {}
    for node, delta in zip(nodes, change, strict=False):
        alive += delta
        result[node.name] = alive
    return result
