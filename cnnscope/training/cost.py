"""What a step of training costs beyond inference: activations kept for the backward pass, and the MACs of that pass.

A tensor needs a gradient if a trained weight lies at or before it (``Param.trainable`` says which are trained); nothing
before the first trained weight is kept or differentiated. A layer is in training mode if one of its own weights is
trained, or, without weights, if its input needs a gradient: a frozen batch norm stays in eval mode.

Each tensor that is kept is counted once, however many ops need it. What the loss keeps is not counted, nor are the
gradients of activations, which live one layer at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from operator import add

from cnnscope.analysis.cost import lifetimes
from cnnscope.ir import Graph, Node
from cnnscope.ops import product, tokens
from cnnscope.ops.base import Op
from cnnscope.ops.saved import Kept, TrainStep


def steps(graph: Graph) -> tuple[TrainStep, ...]:
    """Every node that runs at inference, in order; auxiliary heads for training are left out."""
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
    """What autograd keeps for one op. Without a rule, its inputs and output are the estimate."""
    kept = step.node.op.saved(step) if isinstance(step.node.op, Op) else None
    return kept or Kept(tuple(range(len(step.x))), output=True, exact=False)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of activations: ``kept`` for the backward pass, and ``peak``, the most alive in the forward
    pass.

    ``peak`` counts what is kept and what the forward pass is using. ``estimated`` names rows without a rule.
    """

    kept: int
    peak: int
    estimated: tuple[str, ...]


def memory(graph: Graph, batch: int) -> Memory:
    """Activation memory of one training step on ``batch`` images."""
    run = steps(graph)
    tensors = lifetimes(graph, [step.node for step in run], [_aliased(step) for step in run], batch=batch)
    rules = {at: keeps(step) for at, step in enumerate(run) if step.differentiated}
    kept = {tensors.storage[name] for at, rule in rules.items() for name in _saved(run[at].node, rule)}
    times = [batch if step.node.name in graph.per_image else 1 for step in run]
    extra = [n * rules[at].image_bytes + rules[at].fixed_bytes if at in rules else 0 for at, n in enumerate(times)]
    to_the_end = replace(tensors, dies=tensors.dies | dict.fromkeys(kept, len(run) - 1))
    peak = max(map(add, to_the_end.alive(len(run)), accumulate(extra)), default=0)
    estimated = dict.fromkeys(run[at].node.layer for at, rule in rules.items() if not rule.exact)
    return Memory(sum(tensors.size[name] for name in kept) + sum(extra), peak, tuple(estimated))


def _saved(node: Node, rule: Kept) -> list[str]:
    """Names of the values that a node keeps."""
    return [node.inputs[i] for i in rule.inputs] + [node.name] * rule.output


def _aliased(step: TrainStep) -> bool:
    """Whether the output shares the first input's memory; dropout and similar ops in training mode write a new
    tensor."""
    node = step.node
    return bool(node.inputs) and node.is_view and not (step.training and node.op.category == "regularization")


@dataclass(frozen=True, slots=True)
class Work:
    """MACs per image.

    ``frozen`` of the ``forward`` MACs are before the first trained layer: their results could be stored.
    """

    forward: int
    frozen: int
    backward: int
    unknown: tuple[str, ...] = ()


def work(graph: Graph) -> Work:
    """MACs of one training step per image; ops with unknown MACs are left out and named."""
    forward = frozen = back = 0
    unknown = []
    for step in steps(graph):
        macs = step.node.op.macs(step.x)
        if macs is None:
            unknown.append(step.node.layer)
            continue
        forward += macs
        frozen += 0 if step.differentiated else macs
        back += backward_macs(step, macs)
    return Work(forward, frozen, back, tuple(dict.fromkeys(unknown)))


def backward_macs(step: TrainStep, macs: int) -> int:
    """MACs of a node's backward pass: ``macs`` for each factor (weights, inputs) whose gradient is needed.

    Attention consists of several products: those with its weights, and two of activations, which have two factors each.
    """
    match step.node.op:
        case product.MatMul():
            return macs * sum(step.reads)
        case product.ScaledDotProduct():
            return 2 * macs if step.differentiated else 0
        case tokens.Attention():
            _, t, c = step.x[0].shape
            mixing = 2 * t * t * c
            return (2 * mixing if step.differentiated else 0) + (macs - mixing) * (step.trains + any(step.reads))
    return macs * (step.trains + any(step.reads[:1]))
