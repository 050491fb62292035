"""Weights that only look shared: exporters of ONNX store equal constants once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from cnnscope.ir import Graph, Param


def untied(graph: Graph) -> Graph:
    """The graph with a weight of its own for each layer that only looks as if it shared one.

    A weight is really shared if it has the name of a layer and serves all its readers alike. One without such a name,
    or one that is the scale of a norm and its running variance as well, is a constant that was stored once.
    """
    roles = defaultdict[str, set[str]](set)
    for node in graph.nodes:
        for role, key in node.params.items():
            roles[key].add(role)
    loose = {key for key, served in roles.items() if len(served) > 1 or "." not in key.partition("::")[0]}
    taken: set[str] = set()
    params: dict[str, Param] = dict(graph.params)
    nodes = []
    for node in graph.nodes:
        keys = dict(node.params)
        buffers = node.op.buffers(graph.values(node))
        for role, key in node.params.items():
            param = graph.params[key]
            statistic = role in buffers and not param.buffer
            if key in loose and (key in taken or (statistic and len(roles[key]) > 1)):
                keys[role] = f"{node.name}.{role}"
                params[keys[role]] = replace(param, trainable=False, buffer=True) if statistic else param
            else:
                taken.add(key)
        nodes.append(node if keys == node.params else replace(node, params=keys))
    return replace(graph, nodes=tuple(nodes), params=params)
