"""Sampling: interpolation to another size, and subsampling on a grid that follows the content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Self

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Shape, Spread, Step, Taps
from cnnscope.ops.arguments import ArgumentError, Bool, Choice, MaybeSize, Number, Size
from cnnscope.ops.base import Case, Op
from cnnscope.ops.saved import FLOAT, INDEX, NOTHING, Kept, TrainStep
from cnnscope.ops.window import size_text

_REACH = {"nearest": (0,), "bilinear": (0, 1), "bicubic": (-1, 0, 1, 2)}
"""Pixels that an output may read along an axis, relative to the pixel at or before its source coordinate."""


class Upsample(Op, tag="upsample", category="resize"):
    """Interpolates a map to ``scale`` times its size, or to ``size`` (``like: NAME`` takes that layer's).

    (N, C, n...) -> (N, C, n * scale, ...). ``bilinear`` is linear or trilinear in one or three dimensions; ``bicubic``
    (Keys 1981, a = -0.75) is two-dimensional. Output o stands at (o + 1/2) n / m - 1/2 of the input (``nearest``: the
    pixel floor(o n / m)), with ``align_corners`` at o (n - 1) / (m - 1), pixels beyond the border repeated.
    FLOPs: 2 a tap (2^d, bicubic 16) and output element, none for nearest. Source: the rules are torch's `interpolate`.
    """

    scale: MaybeSize = None
    size: MaybeSize = None
    mode: Annotated[str, Choice(tuple(_REACH))] = "nearest"
    align_corners: Bool = False
    accepts = ("map",)
    short = "scale"
    like = "size"
    symmetric = True
    aliases = {"scale_factor": "scale", "factor": "scale", "interpolation": "mode"}

    @classmethod
    def read(cls, args: Mapping[str, object], ndim: int | None = None) -> Self:
        op = super().read(args, ndim)
        if (op.scale is None) == (op.size is None):
            raise ArgumentError("`upsample` needs either `scale` or `size`", code="E204")
        if op.align_corners and op.mode == "nearest":
            raise ArgumentError("`align_corners` has no meaning for `mode: nearest`", where=("align_corners",))
        return op

    def _spatial(self, size: Shape) -> Shape:
        if self.mode == "bicubic" and len(size) != 2:
            raise ShapeError(f"`mode: bicubic` is for two spatial axes, not {len(size)}")
        if self.size is not None:
            return self.size
        assert self.scale is not None
        return tuple(n * s for n, s in zip(size, self.scale, strict=True))

    def output(self, x: Sequence[Value]) -> Value:
        return replace(x[0], shape=(*x[0].shape[:2], *self._spatial(x[0].shape[2:])))

    def elementwise(self, x: Sequence[Value]) -> int:
        taps = len(_REACH[self.mode]) ** len(x[0].shape[2:])
        return 0 if self.mode == "nearest" else 2 * taps * self.output(x).numel

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        size = x[0].shape[2:]
        axes = enumerate(zip(size, self._spatial(size), strict=True), start=2)
        return (tuple(self._taps(axis, n, m) for axis, (n, m) in axes),)

    def _taps(self, axis: int, n: int, m: int) -> Taps:
        ratio = Fraction(n - 1, max(m - 1, 1)) if self.align_corners else Fraction(n, m)
        step, period = ratio.numerator, ratio.denominator
        shift = step - period if self.mode != "nearest" and not self.align_corners else 0
        taps = tuple(_pixels(self.mode, 2 * step * phase + shift, 2 * period) for phase in range(period))
        return Taps(axis, m, step, taps, "clamp", sized=self.align_corners)

    def label(self) -> str:
        return f"to {size_text(self.size)}" if self.scale is None and self.size else f"x{size_text(self.scale or ())}"

    keeps = NOTHING
    cases = (
        Case(x=(8, 4, 4), args={"scale": 2}, shape=(8, 8, 8)),
        Case(x=(8, 4, 4), args={"scale": 2, "mode": "bilinear"}, shape=(8, 8, 8)),
        Case(x=(8, 3, 4), args={"scale": [1, 3], "mode": "bilinear", "align_corners": True}, shape=(8, 3, 12)),
        Case(x=(2, 5, 7), args={"size": [9, 3], "mode": "bicubic"}, shape=(2, 9, 3)),
        Case(x=(2, 5, 7), args={"size": 6, "mode": "nearest"}, shape=(2, 6, 6)),
        Case(x=(2, 5), args={"size": 8, "mode": "bilinear"}, shape=(2, 8)),
        Case(x=(1, 2, 3, 2), args={"scale": 2, "mode": "bilinear"}, shape=(1, 4, 6, 4)),
    )


def _pixels(mode: str, source: int, unit: int) -> tuple[int, ...]:
    """The pixels with a weight other than zero at the coordinate source / unit: one pixel if it lies exactly there."""
    first, beyond = divmod(source, unit)
    return tuple(first + step for step in _REACH[mode]) if beyond else (first,)


class PolyphasePool(Op, tag="aps", category="pool"):
    """Adaptive polyphase sampling: of the prod(stride) grids of every ``stride``-th pixel, the one of largest norm.

    (N, C, n s, ...) -> (N, C, n, ...), y[c, i] = x[c, s i + g], g the offset whose pixels, all channels together, have
    the largest p-norm: the same content whichever way the image is shifted around. Extents must be multiples of the
    stride. No weights; FLOPs: 2 an input element (power and sum). At a tie the first grid is taken.
    Source: Chaman & Dokmanic 2021 ("Truly shift-invariant convolutional neural networks"), section 3.
    """

    stride: Size = (2,)
    p: Annotated[float, Number(1.0)] = 2.0
    accepts = ("map",)
    short = "stride"
    aliases = {"strides": "stride", "kernel": "stride", "apspool_criterion": "p", "norm": "p"}
    symmetric = True
    polyphase = True

    def output(self, x: Sequence[Value]) -> Value:
        size = x[0].shape[2:]
        if any(n % s for n, s in zip(size, self.stride, strict=True)):
            raise ShapeError(
                f"stride {size_text(self.stride)} must divide {size_text(size)}",
                hint="put `- pad` or `- crop` before it, or choose another input size",
            )
        return replace(x[0], shape=(*x[0].shape[:2], *(n // s for n, s in zip(size, self.stride, strict=True))))

    def elementwise(self, x: Sequence[Value]) -> int:
        return 2 * x[0].numel

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        axes = range(1, len(x[0].shape))
        places = enumerate(zip(self.output(x).shape[2:], self.stride, strict=True), start=2)
        windows = (Taps(axis, n, s, (tuple(range(s)),)) for axis, (n, s) in places)
        return ((Spread(tuple(axes), "norm-statistics"), *windows),)

    def label(self) -> str:
        return f"/{size_text(sorted(set(self.stride)))}"

    def saved(self, step: TrainStep) -> Kept:
        """The input, its absolute values, and two indices for each image."""
        return Kept((0,), image_bytes=FLOAT * step.x[0].numel + 2 * INDEX)

    cases = (
        Case(x=(4, 16, 16), args={}, shape=(4, 8, 8)),
        Case(x=(3, 18, 20), args={"stride": [3, 2], "p": 1}, shape=(3, 6, 10)),
        Case(x=(2, 600), args={"stride": 4, "p": 3}, shape=(2, 150)),
        Case(x=(2, 6, 8, 10), args={"stride": 2}, shape=(2, 3, 4, 5)),
    )
