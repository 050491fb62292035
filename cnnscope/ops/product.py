"""Products: fully connected layers, and in traces matrix products, attention, computed weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Expand, Mix, Permute, Shape, Step, Taps, Via, Whole
from cnnscope.ops.arguments import Bool, Pos
from cnnscope.ops.base import Case, Category, Op
from cnnscope.ops.conv import Conv, TransposedConv
from cnnscope.ops.saved import FLOAT, INPUT, NOTHING, Kept, TrainStep
from cnnscope.ops.traced import Called, Traced, broadcast, kind_of


class Linear(Op, tag="linear", category="linear"):
    """y = W x + b over the last axis: a flat vector, or every token alike.

    (N, ..., F) -> (N, ..., out). Parameters: out * F, and out for the bias. MACs: positions * F * out.
    FLOPs add 1 an output for the bias.
    """

    out: Pos
    bias: Bool = True
    foreign = ("dense", "fc", "gemm", "lazylinear")
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


class MatMul(Called, Traced, tag="matmul", category="linear"):
    """Matrix product of two tensors: (..., m, k) x (..., k, n) -> (..., m, n), leading axes broadcast.

    MACs: output elements * k. No other arithmetic. Source: the broadcasting is numpy's `matmul`.
    """

    arity = (2, 2)

    def output(self, x: Sequence[Value]) -> Value:
        a, b = x
        shape = (*broadcast((a.shape[:-2], b.shape[:-2])), a.shape[-2], b.shape[-1])
        axes = [v.batch_axis + len(shape) - len(v.shape) for v in x if v.batch_axis is not None]
        kept = [axis for axis in axes if shape[axis] == 1]
        batch = kept[0] if kept else None
        return Value(shape, a.dtype, batch, kind_of(shape, batch))

    def macs(self, x: Sequence[Value]) -> int:
        return self.output(x).numel * x[0].shape[-1]

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        shape = self.output(x).shape
        axes = (len(x[0].shape) - 1, len(x[1].shape) - 2)
        return tuple((Whole((axis,), "attention"), Expand(shape)) for axis in axes)


class Bilinear(Traced, tag="bilinear", category="linear"):
    """y_k = a^T W_k b + bias_k over the last axes: (..., F), (..., G) -> (..., out).

    Parameters: out * F * G, and out for the bias. MACs: positions * out * F * G. FLOPs add the F * G products of a and
    b, which all outputs share, and 1 an output for the bias. Source: torch.nn.Bilinear.
    """

    out: int
    bias: bool = True
    arity = (2, 2)

    def output(self, x: Sequence[Value]) -> Value:
        return replace(x[0], shape=(*x[0].shape[:-1], self.out))

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        weight = {"weight": (self.out, x[0].shape[-1], x[1].shape[-1])}
        return weight | {"bias": (self.out,)} if self.bias else weight

    def macs(self, x: Sequence[Value]) -> int:
        return self.out * x[0].numel * x[1].shape[-1]

    def elementwise(self, x: Sequence[Value]) -> int:
        return x[0].numel * x[1].shape[-1] + (self.output(x).numel if self.bias else 0)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return tuple((Mix(len(v.shape) - 1, self.out, via="dense"),) for v in x)

    def label(self) -> str:
        return str(self.out)


class Distances(Called, Traced, tag="cdist", category="other"):
    """The distance of every row of one tensor to every row of another: (..., m, k), (..., n, k) -> (..., m, n).

    No MACs. FLOPs: 3 k an output element (difference, power, sum). Source: torch.cdist with norm ``p``.
    """

    p: float = 2.0
    arity = (2, 2)

    def output(self, x: Sequence[Value]) -> Value:
        a, b = x
        shape = (*broadcast((a.shape[:-2], b.shape[:-2])), a.shape[-2], b.shape[-2])
        axes = [v.batch_axis + len(shape) - len(v.shape) for v in x if v.batch_axis is not None]
        batch = next((axis for axis in axes if axis < len(shape) - 2 and shape[axis] == 1), None)
        return Value(shape, a.dtype, batch, kind_of(shape, batch))

    def elementwise(self, x: Sequence[Value]) -> int:
        return 3 * self.output(x).numel * x[0].shape[-1]

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        shape = self.output(x).shape
        rank = len(x[1].shape)
        row: tuple[Step, ...] = (Whole((len(x[0].shape) - 1,), "attention"), Expand(shape))
        turned = Permute((*range(rank - 2), rank - 1, rank - 2))
        return (row, (Whole((rank - 1,), "attention"), turned, Expand(shape)))


class ScaledDotProduct(Called, Traced, tag="sdpa", category="attention"):
    """softmax(Q K^T / sqrt(d) + mask) V: (..., t, d), (..., s, d), (..., s, e) -> (..., t, e), whichever the kernel.

    MACs: t s (d + e) for each head. FLOPs add the scale and 5 for the softmax of each attention weight, and 1 if
    ``masked``; a constant mask is no input. With fewer heads in K and V than in Q each serves several. Other leading
    axes are broadcast.
    Source: Vaswani et al. 2017, section 3.2.1.
    """

    masked: bool = False
    arity = (3, 4)

    def output(self, x: Sequence[Value]) -> Value:
        q, v = x[0], x[2]
        shape = (*broadcast([value.shape[:-2] for value in x[:3]]), q.shape[-2], v.shape[-1])
        axes = [value.batch_axis + len(shape) - len(value.shape) for value in x[:3] if value.batch_axis is not None]
        batch = next((axis for axis in axes if axis < len(shape) - 2 and shape[axis] == 1), None)
        return Value(shape, q.dtype, batch, kind_of(shape, batch))

    def _weights_count(self, x: Sequence[Value]) -> int:
        return prod(self.output(x).shape[:-1]) * x[1].shape[-2]

    def macs(self, x: Sequence[Value]) -> int:
        return self._weights_count(x) * (x[0].shape[-1] + x[2].shape[-1])

    def elementwise(self, x: Sequence[Value]) -> int:
        return self._weights_count(x) * (6 + self.masked)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        shape = self.output(x).shape
        rows, columns = ([len(v.shape) - n for v in x[:3]] for n in (2, 1))
        query: tuple[Step, ...] = (Mix(columns[0], shape[-1]),)
        if len(x[0].shape) != len(shape) or x[0].shape[:-2] != shape[:-2]:
            query += (Expand(shape),)
        key = (Whole((rows[1], columns[1]), "attention"), *self._heads(shape, x[1]), Expand(shape))
        value = (Whole((rows[2],), "attention"), *self._heads(shape, x[2]), Expand(shape))
        mask = (Whole((len(x[3].shape) - 1,), "attention"), Expand(shape)) if len(x) == 4 else ()
        return (query, key, value, mask)[: len(x)]

    @staticmethod
    def _heads(whole: Shape, k: Value) -> tuple[Step, ...]:
        if len(k.shape) < 3 or k.shape[-3] in (1, whole[-3]):
            return ()
        return (Taps(len(k.shape) - 3, whole[-3], 1, ((0,),) * (whole[-3] // k.shape[-3])),)

    def saved(self, step: TrainStep) -> Kept:
        """Query, key, value and output, and a logarithm for each row of weights."""
        return Kept((0, 1, 2), output=True, image_bytes=FLOAT * prod(self.output(step.x).shape[:-1]))


class _Computed(Called):
    """A layer some of whose weights other ops compute: its inputs are x and those weights.

    Every output element reads all of them.
    """

    arity = (2, 3)

    def __init_subclass__(cls, tag: str = "", category: Category = "", **kwargs: Any) -> None:
        super().__init_subclass__(category=category, **kwargs)
        cls.tag = tag  # the tag of the layer that it computes, which stays in the registry

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        layer = super().reads(x)
        assert layer is not None
        shape = self.output(x).shape
        via: Via = "dense"
        return (*layer, *((Whole(tuple(range(len(w.shape))), via, keep=False), Expand(shape)) for w in x[1:]))


class ComputedConv(_Computed, Conv, tag="conv", category="conv"):
    """`Conv` with a computed weight: weight standardisation (Qiao et al. 2019), dynamic filters."""


class ComputedTransposedConv(_Computed, TransposedConv, tag="upconv", category="conv"):
    """`TransposedConv` with a computed weight."""


class ComputedLinear(_Computed, Linear, tag="linear", category="linear"):
    """`Linear` with a computed weight."""
