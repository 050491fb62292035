"""What an op keeps in memory for the backward pass: the tensors that torch's autograd saves on a CPU at float32.

Tests compare with `torch.autograd.graph.saved_tensors_hooks`. Weights are in memory anyway and are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from cnnscope.ir.graph import Node, Value

FLOAT, INDEX, FLAG = 4, 8, 1
"""Bytes of a number at float32, of an index of max pooling, of a truth value."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What an op keeps: inputs by number, perhaps its output, and bytes of other tensors.

    ``image_bytes`` are bytes for each image of the batch, ``fixed_bytes`` those that do not depend on the batch.
    ``exact`` is False if there is no rule for the op; its inputs and output are an estimate of what it keeps then.
    """

    inputs: tuple[int, ...] = ()
    output: bool = False
    image_bytes: int = 0
    fixed_bytes: int = 0
    exact: bool = True


NOTHING, INPUT, OUTPUT = Kept(), Kept((0,)), Kept(output=True)
SAVES_INPUT = ("reflect", "replicate")
"""Modes of padding whose gradient torch computes from the input; other modes need only its size."""


@dataclass(frozen=True)
class TrainStep:
    """How one node takes part in a training step.

    ``x`` are the values it reads. ``reads`` says for each of them whether its gradient is needed, ``trains`` whether
    weights of the node itself are trained.
    """

    node: Node
    x: tuple[Value, ...]
    reads: tuple[bool, ...]
    trains: bool

    @property
    def differentiated(self) -> bool:
        """Whether the backward pass goes through the node."""
        return self.trains or any(self.reads)

    @property
    def training(self) -> bool:
        """Whether the node is in training mode."""
        return self.trains or (any(self.reads) and not self.node.op.weights(self.x))

    @property
    def y(self) -> Value:
        """The node's output."""
        return self.node.output
