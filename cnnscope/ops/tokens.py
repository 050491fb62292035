"""Tokens: maps as sequences, class token, positions, layer scale, one token, the mean of tokens, self-attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Expand, Mix, Permute, Place, Reshape, Shape, Step, Taps, Whole
from cnnscope.ops.arguments import AnyInt, Bool, Pos, Real
from cnnscope.ops.base import Case, Op, channel_axis
from cnnscope.ops.saved import FLOAT, INPUT, NOTHING, Kept, TrainStep

_REMEDIES = {"map": "put `- tokens` before it"}


class Tokens(Op, tag="tokens", category="movement"):
    """Reads a map as a sequence of its positions, row by row: (N, C, n...) -> (N, prod(n), C).

    Source: Dosovitskiy et al. 2021, section 3.1.
    """

    accepts = ("map",)
    is_view = True

    def output(self, x: Sequence[Value]) -> Value:
        n, channels, *size = x[0].shape
        return replace(x[0], shape=(n, prod(size), channels), kind="tokens")

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        n, channels, *size = x[0].shape
        return ((Reshape((n, channels, prod(size))), Permute((0, 2, 1))),)

    keeps = NOTHING
    cases = (
        Case(x=(192, 14, 14), args={}, shape=(196, 192)),
        Case(x=(8, 5), args={}, shape=(5, 8)),
        Case(x=(4, 2, 3, 3), args={}, shape=(18, 4)),
    )


class ClassToken(Op, tag="classtoken", category="attention"):
    """Puts a learned token in front: (N, T, C) -> (N, T + 1, C). Parameters: C.

    Source: Devlin et al. 2019, section 3; on images Dosovitskiy et al. 2021, equation 1.
    """

    accepts = ("tokens",)
    remedies = _REMEDIES

    def output(self, x: Sequence[Value]) -> Value:
        n, t, c = x[0].shape
        return replace(x[0], shape=(n, t + 1, c))

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {"weight": (1, 1, x[0].shape[2])}

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Place(1, 1, x[0].shape[1] + 1),),)

    keeps = NOTHING
    cases = (Case(x=(196, 192), args={}, shape=(197, 192), params=192, kind="tokens"),)


class Position(Op, tag="position", category="attention"):
    """Adds a learned vector to every token: (N, T, C) -> the same. Parameters: T C. FLOPs: 1 an element.

    Source: Dosovitskiy et al. 2021, equation 1 and appendix D.4.
    """

    accepts = ("tokens",)
    remedies = _REMEDIES
    flops = 1

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {"weight": (1, *x[0].shape[1:])}

    def anchored(self, x: Sequence[Value]) -> tuple[int, ...]:
        return (1, 2)

    keeps = NOTHING
    cases = (Case(x=(197, 192), args={}, shape=(197, 192), params=37_824, kind="tokens"),)


class Token(Op, tag="token", category="movement"):
    """Picks one token, counted from 0 (or from the end, -1): (N, T, C) -> (N, C).

    Source: Dosovitskiy et al. 2021, equation 4 (the class token is token 0).
    """

    index: AnyInt
    accepts = ("tokens",)
    remedies = _REMEDIES
    short = "index"
    is_view = True

    def output(self, x: Sequence[Value]) -> Value:
        n, t, c = x[0].shape
        if not -t <= self.index < t:
            raise ShapeError(f"there is no token {self.index} among {t}", hint=f"they are numbered 0 to {t - 1}")
        return replace(x[0], shape=(n, c), kind="tensor" if x[0].kind == "tensor" else "flat")

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Taps(1, 1, 1, ((self.index % x[0].shape[1],),)), Reshape(self.output(x).shape)),)

    keeps = NOTHING
    cases = (
        Case(x=(197, 192), args={"index": 0}, shape=(192,), kind="tokens"),
        Case(x=(5, 8), args={"index": -1}, shape=(8,), kind="tokens"),
    )


class TokenMean(Op, tag="tokenmean", category="pool"):
    """The mean of all tokens: (N, T, C) -> (N, C). FLOPs: 1 an input element.

    Source: Dosovitskiy et al. 2021, appendix D.3 (global average pooling as head).
    """

    accepts = ("tokens",)
    remedies = {"map": "use `globalavgpool`"}

    def output(self, x: Sequence[Value]) -> Value:
        n, _, c = x[0].shape
        return replace(x[0], shape=(n, c), kind="tensor" if x[0].kind == "tensor" else "flat")

    def elementwise(self, x: Sequence[Value]) -> int:
        return x[0].numel

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Whole((1,), "global-pool", keep=False),),)

    keeps = NOTHING
    cases = (Case(x=(196, 192), args={}, shape=(192,), kind="tokens"),)


class LayerScale(Op, tag="layerscale", category="norm"):
    """Multiplies every channel by a learned factor that starts at ``init``: y = weight * x.

    Shape unchanged; the channels are axis 1 of a map, the last axis of tokens. Parameters: C. FLOPs: 1 an element.
    Source: Touvron et al. 2021 (CaiT), section 2.
    """

    init: Real = 1e-6
    short = "init"
    aliases = {"init_values": "init"}
    flops = 1

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {"weight": (x[0].shape[channel_axis(x[0])],)}

    def saved(self, step: TrainStep) -> Kept:
        return INPUT if step.trains else NOTHING

    cases = (
        Case(x=(96, 56, 56), args={}, shape=(96, 56, 56), params=96),
        Case(x=(197, 192), args={"init": 0.1}, shape=(197, 192), params=192, kind="tokens"),
    )


class Attention(Op, tag="attention", category="attention"):
    """Self-attention: softmax(Q K^T / sqrt(C / heads)) V for each head, then a linear layer over the joined heads.

    (N, T, C) -> the same. Parameters, as in torch.nn.MultiheadAttention: 4 C^2, and 4 C with ``bias``.
    MACs: 4 T C^2 + 2 T^2 C. FLOPs add the scaling of the queries (T C), 5 for the softmax of each of the heads T^2
    attention weights, and the biases (4 T C). Source: Vaswani et al. 2017, section 3.2.
    """

    heads: Pos
    bias: Bool = True
    foreign = ("multiheadattention",)
    accepts = ("tokens",)
    remedies = {"map": "put `- tokens` before it"}
    short = "heads"
    aliases = {"num_heads": "heads", "qkv_bias": "bias"}

    def output(self, x: Sequence[Value]) -> Value:
        if len(x[0].shape) != 3:
            raise ShapeError(f"`attention` needs tokens TxC but gets {len(x[0].shape) - 1} axes")
        if x[0].shape[2] % self.heads:
            raise ShapeError(f"heads {self.heads} must divide the {x[0].shape[2]} channels")
        return x[0]

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        c = x[0].shape[2]
        into, out = {"in_proj_weight": (3 * c, c)}, {"out_proj.weight": (c, c)}
        if not self.bias:
            return into | out
        return into | {"in_proj_bias": (3 * c,)} | out | {"out_proj.bias": (c,)}

    def macs(self, x: Sequence[Value]) -> int:
        n, t, c = x[0].shape
        return n * (4 * t * c * c + 2 * t * t * c)

    def elementwise(self, x: Sequence[Value]) -> int:
        n, t, c = x[0].shape
        return n * (t * c + 5 * self.heads * t * t + (4 * t * c if self.bias else 0))

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Whole((1,), "attention"), Mix(2, x[0].shape[2]), Expand(x[0].shape)),)

    def label(self) -> str:
        return f"{self.heads} heads" if self.heads > 1 else "1 head"

    def saved(self, step: TrainStep) -> Kept:
        """Query, key, value, joined heads, a logarithm for each row of weights; if it trains, a copy of the input."""
        _, t, c = step.x[0].shape
        return Kept(image_bytes=FLOAT * ((5 if step.trains else 4) * t * c + self.heads * t))

    cases = (
        Case(x=(197, 192), args={"heads": 3}, shape=(197, 192), params=148_224, macs=43_951_488, kind="tokens"),
        Case(x=(5, 8), args={"heads": 2, "bias": False}, shape=(5, 8), params=256, macs=1_680, kind="tokens"),
    )
