"""Layers that are short for several plain ones, by which the reader of specs replaces them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from cnnscope.ir.graph import Value
from cnnscope.ops import activation
from cnnscope.ops.arguments import ArgumentError, Bool, Choice, Integer, Maybe, Pads, Pos, Size
from cnnscope.ops.base import Case, Op

ACTIVATIONS = tuple(
    op.tag
    for op in vars(activation).values()
    if isinstance(op, type) and issubclass(op, Op) and op.__module__ == activation.__name__ and op.tag
)
PlainLayer = Mapping[str, Any]


class Composite(Op):
    """An op that never becomes a node: `layers` returns, as plain data, the layers that replace it.

    The result is a list of layers in the spec language, one ``{op: arguments}`` pair each, with all arguments: the
    reader puts them under this layer's name like the layers of a block, and applies no ``defaults`` to them. ``name``
    is set if an inner layer has one. The reader handles ``norm:``, ``act:`` and ``frozen:`` of the composite itself;
    norm and act come after the last layer. Inner layers have ``norm: none`` and ``act: none``.
    """

    def layers(self, channels: int) -> list[PlainLayer]:
        """Returns the layers that replace this one, for an input with this number of channels."""
        raise NotImplementedError

    def infer(self, x: Sequence[Value]) -> Value:
        raise TypeError(f"`{self.tag}` must be replaced by its layers")


class SqueezeExcite(Composite, tag="se", category="attention"):
    """Squeeze and excite: one factor a channel from the image's channel means, multiplied on.

    x * gate(W2 act(W1 mean(x))) with ``squeeze`` channels in between, or channels / ``ratio`` (16 if neither is
    given). Parameters: 2 C S + S + C. MACs: 2 C S. Source: Hu et al. 2018, section 3 (equation 3).
    """

    squeeze: Annotated[int | None, Maybe(Integer(1))] = None
    ratio: Annotated[int | None, Maybe(Integer(1))] = None
    act: Annotated[str, Choice(ACTIVATIONS)] = "relu"
    gate: Annotated[str, Choice(ACTIVATIONS)] = "sigmoid"
    accepts = ("map",)
    short = "squeeze"
    aliases = {"reduction": "ratio", "squeeze_channels": "squeeze", "rd_ratio": "ratio"}

    @classmethod
    def read(cls, args: Mapping[str, object], ndim: int | None = None) -> Self:
        op = super().read(args, ndim)
        if op.squeeze is not None and op.ratio is not None:
            raise ArgumentError("`se` takes `squeeze` or `ratio`, not both", where=("ratio",))
        return op

    def layers(self, channels: int) -> list[PlainLayer]:
        squeeze = self.squeeze or max(channels // (self.ratio or 16), 1)
        plain = {"kernel": 1, "bias": True, "norm": "none"}
        gate = [
            {"globalavgpool": {"name": "mean"}},
            {"conv": {"out": squeeze, **plain, "act": self.act, "name": "reduce"}},
            {"conv": {"out": channels, **plain, "act": self.gate, "name": "expand"}},
        ]
        return [{"mul": {"paths": {"x": [], "gate": gate}, "norm": "none", "act": "none", "name": "scale"}}]

    cases = (
        Case(x=(64, 14, 14), args={"squeeze": 16}, shape=(64, 14, 14), params=2_128, macs=2_048),
        Case(x=(32, 7, 7), args={"ratio": 4, "act": "silu"}, shape=(32, 7, 7), params=552, macs=512),
        Case(x=(32, 9), args={}, shape=(32, 9), params=162, macs=128),
    )


class SeparableConv(Composite, tag="sepconv", category="conv"):
    """Separable convolution: a depthwise one without bias, then a 1x1 convolution to ``out`` channels.

    (N, C, n...) -> (N, out, as a convolution of this kernel, ...). Parameters: C prod(kernel) + C out, and out for the
    bias. MACs: output positions * C * (prod(kernel) + out). Source: Chollet 2017 (Xception), section 1; Sifre 2014.
    """

    out: Pos
    kernel: Size
    stride: Size = (1,)
    pad: Pads = ((0, 0),)
    dilation: Size = (1,)
    bias: Bool = True
    foreign = ("separableconv", "separableconvolution")
    accepts = ("map",)
    aliases = {
        "filters": "out", "kernel_size": "kernel", "strides": "stride", "padding": "pad", "dilation_rate": "dilation",
        "use_bias": "bias", "activation": "act",
    }  # fmt: skip
    decorates = True

    def layers(self, channels: int) -> list[PlainLayer]:
        plain = {"norm": "none", "act": "none"}
        pad = self.pad if isinstance(self.pad, str) else [list(sides) for sides in self.pad]
        window = {"kernel": list(self.kernel), "stride": list(self.stride), "pad": pad, "dilation": list(self.dilation)}
        return [
            {"depthwise": {**window, "bias": False, **plain, "name": "depthwise"}},
            {"conv": {"out": self.out, "kernel": 1, "bias": self.bias, **plain, "name": "pointwise"}},
        ]

    cases = (
        Case(x=(64, 19, 19), args={"out": 128, "kernel": 3, "pad": "half", "bias": False}, shape=(128, 19, 19),
             params=8_768, macs=3_165_248),
        Case(x=(4, 9), args={"out": 6, "kernel": 3, "stride": 2}, shape=(6, 4), params=42, macs=144),
    )  # fmt: skip
