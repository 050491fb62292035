"""Concatenations of everything before, written as a chain: cat(x0 .. xk) = cat(cat(x0 .. xk-1), xk).

A dense block written with ``torch.cat`` of all earlier maps has a number of edges quadratic in its depth, which no
layout survives. The chain computes the same values with one edge more a layer.
"""

from __future__ import annotations

from dataclasses import replace

from cnnscope.ir import Graph, Node
from cnnscope.ops.merge import Concat


def chain_concats(graph: Graph) -> tuple[Graph, int]:
    """The same network with chained concatenations, and how many were rewritten. Only for drawing: costs may differ."""
    known: dict[tuple[object, tuple[str, ...]], str] = {}
    nodes: list[Node] = []
    rewritten = 0
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            before = known.get((node.op, node.inputs[:-1])) if len(node.inputs) > 2 else None
            known[node.op, node.inputs] = node.name
            if before is not None:
                node = replace(node, inputs=(before, node.inputs[-1]))
                rewritten += 1
        nodes.append(node)
    return (replace(graph, nodes=tuple(nodes)), rewritten) if rewritten else (graph, 0)
