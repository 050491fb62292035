"""Recurrences of files that no layer of torch computes: other activations, convolutions, states given or returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Literal

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Expand, Mix, Reshape, Running, Shape, Step
from cnnscope.ops.traced import Traced
from cnnscope.ops.window import extents

Cell = Literal["lstm", "gru", "rnn"]
GATES: Mapping[Cell, int] = {"lstm": 4, "gru": 3, "rnn": 1}
_APPLIES: Mapping[Cell, int] = {"lstm": 9, "gru": 8, "rnn": 1}
FUNCTIONS = (
    "linear", "tanh", "sigmoid", "hard_sigmoid", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "swish",
    "softplus", "softsign", "mish", "exponential", "hard_tanh", "hard_silu", "hard_swish", "log_sigmoid",
)  # fmt: skip
"""The activations that a cell may have, by Keras' names."""


class Unrolled(Traced, tag="recurrence", category="other"):
    """A recurrence over steps, computed step by step: (N, T, F) -> (N, T, hidden), the states of all steps.

    With a ``kernel`` products of matrices become convolutions: (N, T, C, n...) -> (N, T, hidden, m...); that of the
    input has ``stride``, ``pad`` (low and high for each axis) and ``dilation``, that of the state keeps its size.
    ``cell_too`` appends the cell of an LSTM to each state, which doubles ``hidden``. Inputs after the first are the
    states before the first step. Gates are in the order of Keras (LSTM: i, f, c, o; GRU: z, r, h).

    Parameters: gates * hidden * (F + hidden) (times the positions of the kernel) and the biases, of which a GRU with
    ``reset_after`` has two. MACs: T times the products. FLOPs add 1 a gate unit, 1 for each of its biases, and for each
    unit what applies the gates, as `Recurrent`. What a step of a convolutional recurrence reads grows with every step
    before it and is not stated.
    Source: Hochreiter & Schmidhuber 1997; Cho et al. 2014; Shi et al. 2015 (convolutional LSTM), equation 3.
    """

    cell: Cell
    hidden: int
    activation: str = "tanh"
    gate: str = "sigmoid"
    bias: bool = True
    reset_after: bool = True
    cell_too: bool = False
    kernel: Shape = ()
    stride: Shape = ()
    pad: tuple[tuple[int, int], ...] = ()
    dilation: Shape = ()
    arity = (1, 3)

    @property
    def two_biases(self) -> bool:
        return self.bias and self.cell == "gru" and self.reset_after

    def _spatial(self, x: Value) -> Shape:
        size = x.shape[3:]
        if len(size) != len(self.kernel):
            raise ShapeError(f"it needs steps, channels and {len(self.kernel)} axes of positions, not {len(size)}")
        return extents(size, self.kernel, self.stride, self.pad, self.dilation)

    def output(self, x: Sequence[Value]) -> Value:
        features = self.hidden * (2 if self.cell_too else 1)
        return replace(x[0], shape=(*x[0].shape[:2], features, *self._spatial(x[0])))

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        units = GATES[self.cell] * self.hidden
        shapes = {
            "weight_ih": (units, x[0].shape[2], *self.kernel), "weight_hh": (units, self.hidden, *self.kernel),
        }  # fmt: skip
        biases = () if not self.bias else ("bias_ih", "bias_hh") if self.two_biases else ("bias_ih",)
        return shapes | dict.fromkeys(biases, (units,))

    def _positions(self, x: Value) -> int:
        return prod(x.shape[:2]) * prod(self._spatial(x))

    def macs(self, x: Sequence[Value]) -> int:
        matrices = (prod(shape) for role, shape in self.weights(x).items() if role.startswith("weight"))
        return self._positions(x[0]) * sum(matrices)

    def elementwise(self, x: Sequence[Value]) -> int:
        gates = GATES[self.cell] * (3 if self.two_biases else 2 if self.bias else 1)
        return self._positions(x[0]) * self.hidden * (gates + _APPLIES[self.cell])

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...] | None:
        if self.kernel:
            return None
        shape = self.output(x).shape
        state: tuple[Step, ...] = (Mix(1, shape[2]), Reshape((shape[0], 1, shape[2])), Expand(shape))
        return ((Running(1, "recurrence"), Mix(2, shape[2])), *(state,) * (len(x) - 1))

    def label(self) -> str:
        return f"{self.cell} {self.hidden}"
