"""Where gradients go in training: which ops the backward pass goes through, which are in training mode.

A tensor needs a gradient if a trained weight lies at or before it (``Param.trainable`` says which are trained); nothing
before the first trained weight is kept or differentiated. A layer is in training mode if one of its own weights is
trained, or, without weights, if its input needs a gradient: a frozen batch norm stays in eval mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from cnnscope.ir import Graph, Node, Value


@dataclass(frozen=True)
class Step:
    """How one node takes part in training.

    ``x`` and ``y`` are what it reads and yields, ``reads`` says of which inputs a gradient is needed, ``trains`` that
    weights of its own are trained, ``training`` that it is in training mode.
    """

    node: Node
    x: tuple[Value, ...]
    reads: tuple[bool, ...]
    trains: bool

    @property
    def differentiated(self) -> bool:
        """Whether the backward pass goes through it."""
        return self.trains or any(self.reads)

    @property
    def training(self) -> bool:
        return self.trains or (any(self.reads) and not self.node.op.weights(self.x))

    @property
    def y(self) -> Value:
        return self.node.output


def steps(graph: Graph) -> tuple[Step, ...]:
    """Every node that runs on an image, in order; heads that exist for training only are left out."""
    needs = dict.fromkeys(graph.inputs, False)
    result = []
    for node in graph.nodes:
        if node.training_only:
            continue
        reads = tuple(needs[name] for name in node.inputs)
        trains = any(graph.params[key].trainable for key in node.params.values())
        needs[node.name] = trains or any(reads)
        result.append(Step(node, graph.values(node), reads, trains))
    return tuple(result)
