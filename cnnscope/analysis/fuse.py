"""Graphs as a reader sees them: ops fused into units, and concatenations rewritten as chains for drawing.

A convolution with the normalisation and activation behind it is one thing to a reader. This is the one place that
decides what belongs together, whatever the source: a spec's ``conv: {norm: batch, act: relu}`` and torch's ``conv1``,
``bn1``, ``relu`` give the same unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cnnscope.ir import Graph, Node
from cnnscope.ops.merge import Concat

FOLLOWERS = {"conv": ("norm", "activation"), "linear": ("norm", "activation"), "merge": ("activation",),
             "norm": ("activation",)}  # fmt: skip
"""What an op of a category may absorb after it, in this order, each at most once."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Ops that are shown as one: ``nodes`` in execution order; the first gives the unit its name and kind."""

    nodes: tuple[Node, ...]

    @property
    def main(self) -> Node:
        return self.nodes[0]

    @property
    def last(self) -> Node:
        return self.nodes[-1]

    @property
    def name(self) -> str:
        return self.main.layer


def consumers(graph: Graph) -> dict[str, list[Node]]:
    """The nodes that read each value, by its name, in execution order."""
    readers: dict[str, list[Node]] = {name: [] for name in (*graph.inputs, *(n.name for n in graph.nodes))}
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            readers[name].append(node)
    return readers


def fuse(graph: Graph) -> tuple[Unit, ...]:
    """Every node in exactly one unit, units in order of their first node.

    A follower is absorbed if it is the only reader of what precedes it, reads nothing else, stands in the same scope,
    and the value between them is not an output of the network.
    """
    readers = consumers(graph)
    taken: set[str] = set()
    units = []
    for node in graph.nodes:
        if node.name not in taken:
            chain = (node, *_followers(node, readers, graph.outputs))
            taken.update(member.name for member in chain)
            units.append(Unit(chain))
    return tuple(units)


def _followers(node: Node, readers: dict[str, list[Node]], outputs: tuple[str, ...]) -> Iterator[Node]:
    allowed, scope = FOLLOWERS.get(node.op.category, ()), _scope(node)
    while allowed and node.name not in outputs and len(readers[node.name]) == 1:
        (node,) = readers[node.name]
        if node.op.category not in allowed or len(node.inputs) != 1 or _scope(node) != scope:
            return
        yield node
        allowed = allowed[allowed.index(node.op.category) + 1 :]


def _scope(node: Node) -> str:
    return node.layer.rpartition(".")[0]


def chain_concats(graph: Graph) -> tuple[Graph, int]:
    """The same network with chained concatenations, and how many were rewritten. Only for drawing: costs may differ.

    cat(x0 .. xk) = cat(cat(x0 .. xk-1), xk). A dense block written with ``torch.cat`` of all earlier maps has a number
    of edges quadratic in its depth, which cannot be laid out readably; the chain has one edge more per layer.
    """
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
