"""Where gradients go in training: which ops the backward pass goes through, which are in training mode.

A tensor needs a gradient if a trained weight lies at or before it (``Param.trainable`` says which are trained); nothing
before the first trained weight is kept or differentiated. A layer is in training mode if one of its own weights is
trained, or, without weights, if its input needs a gradient: a frozen batch norm stays in eval mode.
"""

from __future__ import annotations

from cnnscope.ir import Graph
from cnnscope.ops.base import Op
from cnnscope.ops.saved import Kept, TrainStep


def steps(graph: Graph) -> tuple[TrainStep, ...]:
    """Every node that runs on an image, in order; heads that exist for training only are left out."""
    needs = dict.fromkeys(graph.inputs, False)
    result = []
    for node in graph.nodes:
        if node.training_only:
            continue
        reads = tuple(needs[name] for name in node.inputs)
        trains = any(graph.params[key].trainable for key in node.params.values())
        needs[node.name] = trains or any(reads)
        result.append(TrainStep(node, graph.values(node), reads, trains))
    return tuple(result)


def keeps(step: TrainStep) -> Kept:
    """What autograd keeps for one op; inputs and output stand for it where no rule says it."""
    kept = step.node.op.saved(step) if isinstance(step.node.op, Op) else None
    return kept or Kept(tuple(range(len(step.x))), output=True, exact=False)
