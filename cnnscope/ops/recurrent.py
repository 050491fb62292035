"""Recurrent layers over the steps of a sequence: LSTM, GRU, and the plain RNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Annotated, Any, ClassVar

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Kind, Value
from cnnscope.ir.steps import Expand, Mix, Running, Shape, Step, Whole
from cnnscope.ops.arguments import Bool, Choice, NonNegative, Pos
from cnnscope.ops.base import Case, Category, Op
from cnnscope.ops.saved import FLOAT, Kept, TrainStep


class Recurrent(Op):
    """Base of recurrent layers: the states of all steps of the last layer, those of both directions side by side.

    (N, T, F) -> (N, T, out), in traces without ``batch_first`` (T, N, F) -> (T, N, out); out is hidden (or
    ``projection``), twice that if ``bidirectional``. Parameters as torch names them. With g gates, MACs a step, layer
    and direction: g * hidden * (F + out), and hidden * projection. FLOPs add for each gate unit 1, 3 with biases, and
    for each unit what applies the gates. A step reads the steps up to its own; with ``bidirectional`` one half of its
    features reads those, the other half those from its own on.
    """

    gates: ClassVar[int]
    applies: ClassVar[int]
    """FLOPs for each unit and step to apply the gates."""
    hidden: Pos
    layers: Pos = 1
    bidirectional: Bool = False
    bias: Bool = True
    batch_first: Bool = True
    accepts: ClassVar[tuple[Kind, ...]] = ("tokens",)
    remedies = {"map": "put `- tokens` before it"}
    short = "hidden"
    aliases = {
        "units": "hidden", "hidden_size": "hidden", "num_layers": "layers", "use_bias": "bias", "out": "hidden",
        "proj_size": "projection", "activation": "nonlinearity",
    }  # fmt: skip

    @property
    def _out(self) -> int:
        return self.hidden

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def output(self, x: Sequence[Value]) -> Value:
        if x[0].kind == "tokens" and not self.batch_first:
            raise ShapeError("tokens have the batch first; `batch_first: false` is for traces in which time is first")
        return replace(x[0], shape=(*x[0].shape[:-1], self._out * self._directions))

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        units = self.gates * self.hidden
        shapes: dict[str, Shape] = {}
        for layer in range(self.layers):
            features = self._out * self._directions if layer else x[0].shape[-1]
            for suffix in ("", "_reverse")[: self._directions]:
                shapes[f"weight_ih_l{layer}{suffix}"] = (units, features)
                shapes[f"weight_hh_l{layer}{suffix}"] = (units, self._out)
                if self.bias:
                    shapes |= {f"bias_{part}_l{layer}{suffix}": (units,) for part in ("ih", "hh")}
                if self._out != self.hidden:
                    shapes[f"weight_hr_l{layer}{suffix}"] = (self._out, self.hidden)
        return shapes

    def macs(self, x: Sequence[Value]) -> int:
        matrices = (prod(shape) for shape in self.weights(x).values() if len(shape) == 2)
        return prod(x[0].shape[:-1]) * sum(matrices)

    def elementwise(self, x: Sequence[Value]) -> int:
        each = self.hidden * (self.gates * (3 if self.bias else 1) + self.applies)
        return prod(x[0].shape[:-1]) * self.layers * self._directions * each

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        shape = self.output(x).shape
        last = len(shape) - 1
        time = 1 if self.batch_first and last == 2 else 0
        mixed = Mix(last, shape[-1])
        if self.bidirectional:
            return ((Whole((time,), "recurrence"), mixed, Expand(shape)),)
        return ((Running(time, "recurrence"), mixed),)

    def label(self) -> str:
        return f"{self.hidden}" + (f" x{self.layers}" if self.layers > 1 else "") + (" both" * self.bidirectional)

    def saved(self, step: TrainStep) -> Kept:
        """An estimate: the input, the output, and for every step the units of the gates and the state.

        What is kept depends on the kernel. On a CPU torch runs an LSTM in oneDNN, whose workspace has no stated size.
        """
        units = prod(step.x[0].features[:-1]) * self.layers * self._directions * self.hidden
        return Kept((0,), output=True, image_bytes=FLOAT * units * (self.gates + 1), exact=False)


class LSTM(Recurrent, tag="lstm", category="other"):
    """Long short-term memory: gates i, f, o and a cell that they write, keep and show; the states of all steps.

    (N, T, F) -> (N, T, hidden), or ``projection``; twice that if ``bidirectional``. Parameters, as in torch.nn.LSTM:
    4 hidden (F + hidden + 2) for a layer and direction. MACs: T times its matrices. FLOPs add 12 a gate unit, and 9.
    A step reads all steps before it, with ``bidirectional`` all steps; `token: -1` picks the last one.
    Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000 (forget gate); Sak et al. 2014 (projection).
    """

    projection: NonNegative = 0
    gates = 4
    applies = 9

    @property
    def _out(self) -> int:
        return self.projection or self.hidden

    def output(self, x: Sequence[Value]) -> Value:
        if self.projection >= self.hidden:
            raise ShapeError(f"projection {self.projection} must be smaller than hidden {self.hidden}")
        return super().output(x)

    cases = (
        Case(x=(7, 6), args={"hidden": 5}, shape=(7, 5), params=260, macs=1_540, kind="tokens"),
        Case(x=(7, 6), args={"hidden": 5, "layers": 2, "bidirectional": True}, shape=(7, 10), params=1_200,
             macs=7_280, kind="tokens"),
        Case(x=(4, 6), args={"hidden": 5, "projection": 3, "bias": False}, shape=(4, 3), params=195, macs=780,
             kind="tokens"),
    )  # fmt: skip


class GRU(Recurrent, tag="gru", category="other"):
    """Gated recurrent unit: gates r and z and a candidate; the states of all steps.

    (N, T, F) -> (N, T, hidden), twice that if ``bidirectional``. Parameters, as in torch.nn.GRU:
    3 hidden (F + hidden + 2) for a layer and direction. MACs: T times its matrices. FLOPs add 9 a gate unit, and 8.
    A step reads all steps before it, with ``bidirectional`` all steps. Source: Cho et al. 2014, section 2.3.
    """

    gates = 3
    applies = 8
    cases = (
        Case(x=(7, 6), args={"hidden": 4}, shape=(7, 4), params=144, macs=840, kind="tokens"),
        Case(x=(7, 6), args={"hidden": 4, "layers": 2, "bidirectional": True, "bias": False}, shape=(7, 8), params=528,
             macs=3_696, kind="tokens"),
    )  # fmt: skip


class RNN(Recurrent, tag="rnn", category="other"):
    """Plain recurrence, h' = tanh(W x + V h + b) (or relu); the states of all steps.

    (N, T, F) -> (N, T, hidden), twice that if ``bidirectional``. Parameters, as in torch.nn.RNN:
    hidden (F + hidden + 2) for a layer and direction. MACs: T times its matrices. FLOPs add 3 a unit, and 1.
    A step reads all steps before it, with ``bidirectional`` all steps. Source: Elman 1990.
    """

    nonlinearity: Annotated[str, Choice(("tanh", "relu"))] = "tanh"
    gates = 1
    applies = 1
    foreign = ("simplernn",)
    cases = (
        Case(x=(7, 6), args={"hidden": 4}, shape=(7, 4), params=48, macs=280, kind="tokens"),
        Case(x=(3, 2), args={"hidden": 3, "layers": 2, "nonlinearity": "relu"}, shape=(3, 3), params=45, macs=99,
             kind="tokens"),
    )  # fmt: skip


class _Started(Recurrent):
    """A recurrent layer of a trace with given first states: its inputs are x and those, (layers * directions, N, out).

    Every output element reads all of them. Costs are those of the layer.
    """

    accepts = ("map", "tokens", "flat")
    arity = (2, 3)

    def __init_subclass__(cls, tag: str = "", category: Category = "", **kwargs: Any) -> None:
        super().__init_subclass__(category=category, **kwargs)
        cls.tag = tag  # the tag of the layer, which stays in the registry

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        shape = self.output(x).shape
        states = ((Whole(tuple(range(len(s.shape))), "recurrence", keep=False), Expand(shape)) for s in x[1:])
        return (*super().reads(x), *states)


class StartedLSTM(_Started, LSTM, tag="lstm", category="other"):
    """`LSTM` with a first state and a first cell."""


class StartedGRU(_Started, GRU, tag="gru", category="other"):
    """`GRU` with a first state."""


class StartedRNN(_Started, RNN, tag="rnn", category="other"):
    """`RNN` with a first state."""
