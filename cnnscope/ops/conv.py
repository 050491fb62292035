"""Convolutions in one to three dimensions: plain, depthwise and transposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Annotated, Self

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Mix, Shape, Step, Taps
from cnnscope.ops.arguments import ArgumentError, Bool, Choice, Pads, PerAxis, Pos, Size
from cnnscope.ops.base import Case, Op
from cnnscope.ops.saved import FLOAT, INPUT, SAVES_INPUT, Kept, TrainStep
from cnnscope.ops.window import BORDERS, check_border, extents, resolve_pad, size_text, span, window_taps

PadMode = Annotated[str, Choice(tuple(BORDERS))]
_TORCH_NAMES = {
    "kernel_size": "kernel", "filters": "out", "out_channels": "out", "channels": "out", "units": "out",
    "padding": "pad", "strides": "stride", "dilation_rate": "dilation", "use_bias": "bias", "activation": "act",
    "padding_mode": "pad_mode", "size": "kernel",
}  # fmt: skip


class Conv(Op, tag="conv", category="conv"):
    """N-D convolution (cross-correlation, as every framework has it).

    (N, C, n...) -> (N, out, floor((n + pads - dilation * (kernel - 1) - 1) / stride) + 1, ...).
    Parameters: out * C / groups * prod(kernel), and out for the bias.
    MACs: output elements * C / groups * prod(kernel); padding positions count. FLOPs add 1 an output for the bias.
    Source: Dumoulin & Visin 2016, section 2; groups: Krizhevsky et al. 2012, section 3.2.
    """

    out: Pos
    kernel: Size
    stride: Size = (1,)
    pad: Pads = ((0, 0),)
    dilation: Size = (1,)
    groups: Pos = 1
    bias: Bool = True
    pad_mode: PadMode = "zeros"
    foreign = ("convolution", "convolutional", "lazyconv")
    accepts = ("map",)
    aliases = _TORCH_NAMES
    decorates = True

    def bind(self, x: Sequence[Value]) -> Op:
        pad = resolve_pad(self.pad, x[0].spatial, self.kernel, self.stride, self.dilation)
        return replace(self, pad=pad)

    def output(self, x: Sequence[Value]) -> Value:
        channels = x[0].shape[1]
        if channels % self.groups or self.out % self.groups:
            raise ShapeError(f"groups {self.groups} must divide in-channels {channels} and out {self.out}")
        assert not isinstance(self.pad, str)
        size = x[0].shape[2:]
        check_border(self.pad_mode, size, self.pad)
        return replace(x[0], shape=(x[0].shape[0], self.out, *self._spatial(size)))

    def _spatial(self, size: Shape) -> Shape:
        assert not isinstance(self.pad, str)
        return extents(size, self.kernel, self.stride, self.pad, self.dilation)

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        weight = {"weight": (self.out, x[0].shape[1] // self.groups, *self.kernel)}
        return weight | {"bias": (self.out,)} if self.bias else weight

    def macs(self, x: Sequence[Value]) -> int:
        return self.output(x).numel * (x[0].shape[1] // self.groups) * prod(self.kernel)

    def elementwise(self, x: Sequence[Value]) -> int:
        return self.output(x).numel if self.bias else 0

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        assert not isinstance(self.pad, str)
        size = self._spatial(x[0].shape[2:])
        taps = window_taps(size, self.kernel, self.stride, self.pad, self.dilation, BORDERS[self.pad_mode])
        return ((Mix(1, self.out, self.groups), *taps),)

    def label(self) -> str:
        parts = [size_text(self.kernel), str(self.out)]
        if max(self.stride) > 1:
            parts.append("/" + size_text(sorted(set(self.stride))))
        if max(self.dilation) > 1:
            parts.append("d" + size_text(sorted(set(self.dilation))))
        if self.groups > 1:
            parts.append("depthwise" if self.groups == self.out else f"g{self.groups}")
        return " ".join(parts)

    def saved(self, step: TrainStep) -> Kept:
        """The input, or a padded copy if torch pads in a step of its own: unevenly, or with pixels other than zeros."""
        x, pads = step.x[0], [pair for pair in self.pad if not isinstance(pair, str)]
        if self.pad_mode == "zeros" and all(low == high for low, high in pads):
            return INPUT
        padded = x.shape[1] * prod(n + low + high for n, (low, high) in zip(x.spatial, pads, strict=True))
        own = self.pad_mode in SAVES_INPUT and step.reads[0]
        return Kept((0,) if own else (), image_bytes=FLOAT * padded)

    cases = (
        Case(x=(3, 227, 227), args={"out": 96, "kernel": 11, "stride": 4}, shape=(96, 55, 55),
             params=34_944, macs=105_415_200),
        Case(x=(96, 27, 27), args={"out": 256, "kernel": 5, "pad": "half", "groups": 2}, shape=(256, 27, 27),
             params=307_456, macs=223_948_800),
        Case(x=(4, 9, 9), args={"out": 4, "kernel": [1, 3], "stride": [2, 1], "pad": [0, 1], "bias": False},
             shape=(4, 5, 9), params=48, macs=2_160),
        Case(x=(2, 8, 8), args={"out": 3, "kernel": 3, "stride": 2, "pad": "same"}, shape=(3, 4, 4),
             params=57, macs=864),
        Case(x=(2, 9, 9), args={"out": 2, "kernel": 3, "dilation": 2, "pad": "half", "pad_mode": "reflect"},
             shape=(2, 9, 9), params=38, macs=2_916),
        Case(x=(2, 6, 6), args={"out": 2, "kernel": 3, "pad": {"top": 2, "right": 1}, "pad_mode": "circular"},
             shape=(2, 6, 5), params=38, macs=1_080),
        Case(x=(1, 8000), args={"out": 32, "kernel": 80, "stride": 16}, shape=(32, 496), params=2_592, macs=1_269_760),
        Case(x=(3, 16, 112, 112), args={"out": 64, "kernel": [3, 7, 7], "stride": [1, 2, 2], "pad": "half",
             "bias": False}, shape=(64, 16, 56, 56), params=28_224, macs=1_416_167_424),
    )  # fmt: skip


class Depthwise(Op, tag="depthwise", category="conv"):
    """Depthwise convolution: each channel has kernels of its own (``multiplier`` of them). A `Conv` with groups = C.

    Source: Howard et al. 2017 (MobileNets), section 3.1.
    """

    kernel: Size
    stride: Size = (1,)
    pad: Pads = ((0, 0),)
    dilation: Size = (1,)
    multiplier: Pos = 1
    bias: Bool = True
    pad_mode: PadMode = "zeros"
    foreign = ("depthwiseconv",)
    accepts = ("map",)
    aliases = _TORCH_NAMES | {"depth_multiplier": "multiplier"}
    decorates = True

    def bind(self, x: Sequence[Value]) -> Op:
        channels = x[0].shape[1]
        conv = Conv(
            out=channels * self.multiplier, kernel=self.kernel, stride=self.stride, pad=self.pad,
            dilation=self.dilation, groups=channels, bias=self.bias, pad_mode=self.pad_mode,
        )  # fmt: skip
        return conv.bind(x)

    cases = (
        Case(x=(32, 112, 112), args={"kernel": 3, "pad": "half", "bias": False}, shape=(32, 112, 112),
             params=288, macs=3_612_672),
        Case(x=(3, 8, 8), args={"kernel": 3, "multiplier": 2}, shape=(6, 6, 6), params=60, macs=1_944),
    )  # fmt: skip


class TransposedConv(Op, tag="upconv", category="conv"):
    """Transposed convolution: every input element stamps a kernel onto the output.

    (N, C, n...) -> (N, out, (n - 1) * stride - low - high + dilation * (kernel - 1) + 1 + out_pad, ...), where padding
    cuts ``low`` and ``high`` of the output's two ends. A word for it means what it means for the convolution that is
    turned around, so `same` makes n * stride, and an odd pixel is cut at the bottom and right, as in Keras.
    MACs: input elements * out / groups * prod(kernel). FLOPs add 1 an output for the bias.
    Source: Dumoulin & Visin 2016, section 4, relationship 14.
    """

    out: Pos
    kernel: Size
    stride: Size = (1,)
    pad: Pads = ((0, 0),)
    out_pad: Annotated[tuple[int, ...], PerAxis(0)] = (0,)
    dilation: Size = (1,)
    groups: Pos = 1
    bias: Bool = True
    foreign = ("convtranspose", "convolutiontranspose", "lazyconvtranspose", "deconv")
    accepts = ("map",)
    aliases = _TORCH_NAMES | {"output_padding": "out_pad"}
    decorates = True

    @classmethod
    def read(cls, args: Mapping[str, object], ndim: int | None = None) -> Self:
        op = super().read(args, ndim)
        if op.pad == "same" and any(op.out_pad):
            raise ArgumentError("`out_pad` has no meaning for `pad: same`, which states the size", where=("out_pad",))
        return op

    def bind(self, x: Sequence[Value]) -> Op:
        if self.pad != "same":
            return replace(self, pad=resolve_pad(self.pad, x[0].spatial, self.kernel, self.stride, self.dilation))
        beyond = [span(k, d) - s for k, d, s in zip(self.kernel, self.dilation, self.stride, strict=True)]
        cuts = tuple((max(n, 0) // 2, max(n, 0) - max(n, 0) // 2) for n in beyond)
        return replace(self, pad=cuts, out_pad=tuple(max(-n, 0) for n in beyond))

    def output(self, x: Sequence[Value]) -> Value:
        channels = x[0].shape[1]
        if channels % self.groups or self.out % self.groups:
            raise ShapeError(f"groups {self.groups} must divide in-channels {channels} and out {self.out}")
        for extra, stride, dilation in zip(self.out_pad, self.stride, self.dilation, strict=True):
            if extra >= max(stride, dilation):
                raise ShapeError(f"out_pad {extra} must be smaller than the stride {stride} or the dilation {dilation}")
        return replace(x[0], shape=(x[0].shape[0], self.out, *self._spatial(x[0].shape[2:])))

    def _spatial(self, size: Shape) -> Shape:
        assert not isinstance(self.pad, str)
        axes = zip(size, self.kernel, self.stride, self.pad, self.out_pad, self.dilation, strict=True)
        result = tuple((n - 1) * s - sum(cut) + span(k, d) + extra for n, k, s, cut, extra, d in axes)
        if min(result) < 1:
            raise ShapeError(f"padding {max(map(max, self.pad))} leaves nothing of the output: {size_text(result)}")
        return result

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        weight = {"weight": (x[0].shape[1], self.out // self.groups, *self.kernel)}
        return weight | {"bias": (self.out,)} if self.bias else weight

    def macs(self, x: Sequence[Value]) -> int:
        return x[0].numel * (self.out // self.groups) * prod(self.kernel)

    def elementwise(self, x: Sequence[Value]) -> int:
        return self.output(x).numel if self.bias else 0

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        assert not isinstance(self.pad, str)
        size = self._spatial(x[0].shape[2:])
        axes = enumerate(zip(size, self.kernel, self.stride, self.pad, self.dilation, strict=True), start=2)
        taps = (Taps(axis, n, 1, transposed_taps(k, s, low, d)) for axis, (n, k, s, (low, _), d) in axes)
        return ((Mix(1, self.out, self.groups), *taps),)

    def label(self) -> str:
        return f"{size_text(self.kernel)} {self.out} x{size_text(sorted(set(self.stride)))}"

    keeps = INPUT
    cases = (
        Case(x=(6, 8, 8), args={"out": 6, "kernel": 2, "stride": 2, "groups": 3}, shape=(6, 16, 16),
             params=54, macs=3_072),
        Case(x=(2, 5, 5), args={"out": 3, "kernel": 4, "stride": 2, "pad": 1}, shape=(3, 10, 10),
             params=99, macs=2_400),
        Case(x=(2, 5, 7), args={"out": 1, "kernel": [3, 2], "stride": [2, 3], "pad": [1, 0], "out_pad": [1, 0],
             "bias": False}, shape=(1, 10, 20), params=12, macs=420),
        Case(x=(2, 7), args={"out": 2, "kernel": 3, "dilation": 2}, shape=(2, 11), params=14, macs=84),
        Case(x=(2, 5, 6), args={"out": 3, "kernel": 3, "stride": 2, "pad": "same"}, shape=(3, 10, 12),
             params=57, macs=1_620),
        Case(x=(2, 5), args={"out": 2, "kernel": 2, "stride": 3, "pad": "same"}, shape=(2, 15), params=10, macs=40),
        Case(x=(1, 5, 6), args={"out": 1, "kernel": 4, "stride": 2, "pad": {"top": 2, "right": 1}}, shape=(1, 10, 13),
             params=17, macs=480),
        Case(x=(1, 3, 4, 5), args={"out": 2, "kernel": 2, "stride": 2}, shape=(2, 6, 8, 10), params=18, macs=960),
    )  # fmt: skip


def transposed_taps(kernel: int, stride: int, pad: int, dilation: int) -> tuple[tuple[int, ...], ...]:
    """For each output phase o in 0..stride-1 the inputs (o + pad - dilation * j) / stride that are whole numbers."""
    phases: list[list[int]] = [[] for _ in range(stride)]
    for j in reversed(range(kernel)):
        o = (dilation * j - pad) % stride
        phases[o].append((o + pad - dilation * j) // stride)
    return tuple(map(tuple, phases))
