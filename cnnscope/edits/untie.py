"""Weights that only look shared: exporters of ONNX store equal constants once."""

from __future__ import annotations

from dataclasses import replace

from cnnscope.ir import Graph, Param


def untied(graph: Graph) -> Graph:
    """The graph with a weight of its own for each layer, except where a weight's name is that of its first layer."""
    taken: set[str] = set()
    params: dict[str, Param] = dict(graph.params)
    nodes = []
    for node in graph.nodes:
        keys = dict(node.params)
        for role, key in node.params.items():
            if key in taken and "." not in key.partition("::")[0]:
                keys[role] = f"{node.name}.{role}"
                params[keys[role]] = graph.params[key]
            taken.add(key)
        nodes.append(node if keys == node.params else replace(node, params=keys))
    return replace(graph, nodes=tuple(nodes), params=params)
