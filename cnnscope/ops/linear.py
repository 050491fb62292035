"""Fully connected layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Mix, Shape, Step
from cnnscope.ops.arguments import Bool, Pos
from cnnscope.ops.base import Case, Op
from cnnscope.ops.saved import INPUT, NOTHING, Kept, TrainStep


class Linear(Op, tag="linear", category="linear"):
    """y = W x + b over the last axis: a flat vector, or every token alike.

    (N, ..., F) -> (N, ..., out). Parameters: out * F, and out for the bias. MACs: positions * F * out.
    FLOPs add 1 an output for the bias.
    """

    out: Pos
    bias: Bool = True
    foreign = ("dense", "fc")
    accepts = ("flat", "tokens")
    short = "out"
    aliases = {"units": "out", "out_features": "out", "num_output": "out", "use_bias": "bias", "activation": "act"}
    decorates = True

    def output(self, x: Sequence[Value]) -> Value:
        return replace(x[0], shape=(*x[0].shape[:-1], self.out))

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        weight = {"weight": (self.out, x[0].shape[-1])}
        return weight | {"bias": (self.out,)} if self.bias else weight

    def macs(self, x: Sequence[Value]) -> int:
        return x[0].numel * self.out

    def elementwise(self, x: Sequence[Value]) -> int:
        return self.output(x).numel if self.bias else 0

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Mix(len(x[0].shape) - 1, self.out, via="dense"),),)

    def label(self) -> str:
        return str(self.out)

    def saved(self, step: TrainStep) -> Kept:
        return INPUT if step.trains else NOTHING

    cases = (
        Case(x=(120,), args={"out": 84}, shape=(84,), params=10_164, macs=10_080, kind="flat"),
        Case(x=(197, 192), args={"out": 768, "bias": False}, shape=(197, 768), params=147_456, macs=29_048_832,
             kind="tokens"),
    )  # fmt: skip
