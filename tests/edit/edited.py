"""Edited networks in torch: whether every layer has the shape, and the network the parameters, that were predicted."""

from __future__ import annotations

import torch

from cnnscope.analysis.summary import summarize
from cnnscope.edits import Change, Edited, apply
from cnnscope.edits.parse import parse
from cnnscope.ir import Graph
from cnnscope.nn.build import build

FEW = 10**9
"""MACs up to which a network is run here."""


def edit(graph: Graph, *changes: str | Change) -> Edited:
    return apply(graph, [parse(change) if isinstance(change, str) else change for change in changes])


def totals(graph: Graph) -> tuple[int, int]:
    found = summarize(graph)
    assert not found.unsupported
    return found.totals.params, found.totals.macs or 0


def run(graph: Graph) -> None:
    """Builds the graph in torch and runs it; every node has the shape, the module the parameters, that it says."""
    network = build(graph).eval()
    assert sum(p.numel() for p in network.parameters()) == totals(graph)[0]
    values = {name: torch.zeros(value.shape) for name, value in graph.inputs.items()}
    with torch.inference_mode():
        for node, call in zip(graph.nodes, network.calls, strict=True):
            if not node.training_only:
                values[node.name] = call(*(values[name] for name in node.inputs))
                assert tuple(values[node.name].shape) == node.output.shape, node.name
