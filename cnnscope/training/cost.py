"""What a step of training costs beyond inference: activations kept for the backward pass, and the MACs of that pass.

Each tensor that is kept is counted once, however many ops need it. What the loss keeps is not counted, nor are the
gradients of activations, which live one layer at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from cnnscope.analysis.cost import nbytes
from cnnscope.ir import Graph
from cnnscope.ops import product, tokens
from cnnscope.ops.saved import TrainStep
from cnnscope.training.gradients import keeps, steps


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of activations at float32: ``kept`` for the backward pass; ``peak`` the most alive in the forward pass.

    ``peak`` counts what is kept and what the forward pass is working on. ``estimated`` names rows without a rule.
    """

    kept: int
    peak: int
    estimated: tuple[str, ...]


def memory(graph: Graph, batch: int) -> Memory:
    """Activation memory of one training step on ``batch`` images."""
    run = steps(graph)
    storage = {name: name for name in graph.inputs}
    size = {name: batch * nbytes(value) for name, value in graph.inputs.items()}
    born, dies = dict.fromkeys(graph.inputs, 0), dict.fromkeys(graph.inputs, 0)
    forever: dict[str, int] = {}
    extra, estimated = [0] * len(run), list[str]()
    for at, step in enumerate(run):
        node = step.node
        shared = bool(node.inputs) and node.is_view and not (step.training and node.op.category == "regularization")
        storage[node.name] = storage[node.inputs[0]] if shared else node.name
        if not shared:
            size[node.name] = 0 if node.op.is_view and not node.inputs else batch * nbytes(node.output)
            born[node.name] = at
        for name in (*node.inputs, node.name):
            dies[storage[name]] = at
        if not step.differentiated:
            continue
        kept = keeps(step)
        names = [node.inputs[i] for i in kept.inputs] + ([node.name] if kept.output else [])
        forever |= {storage[name]: at for name in names if storage[name] not in forever}
        extra[at] = batch * kept.image_bytes + kept.fixed_bytes
        if not kept.exact:
            estimated.append(node.layer)
    for name in graph.outputs:
        if name in storage:
            dies[storage[name]] = len(run) - 1
    dies |= dict.fromkeys(forever, len(run) - 1)
    change = [0] * (len(run) + 1)
    for name, last in dies.items():
        change[born[name]] += size[name]
        change[last + 1] -= size[name]
    alive = peak = 0
    for at, delta in enumerate(change[:-1]):
        alive += delta + extra[at]
        peak = max(peak, alive)
    kept_bytes = sum(size[name] for name in forever) + sum(extra)
    return Memory(kept_bytes, peak, tuple(dict.fromkeys(estimated)))


@dataclass(frozen=True, slots=True)
class Work:
    """MACs an image. ``frozen`` of the ``forward`` ones lie before anything trained: their results could be stored."""

    forward: int
    frozen: int
    backward: int
    unknown: tuple[str, ...] = ()


def work(graph: Graph) -> Work:
    """MACs of one training step an image; what is unknown is left out, and named."""
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
    """A product of ``macs`` costs as much again for each factor whose gradient is needed: weights, inputs.

    Attention is several products: those of its weights, and two of activations, each of which has two factors.
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
