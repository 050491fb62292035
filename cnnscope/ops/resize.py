"""Sampling: interpolation to another size, and subsampling on a grid that follows the content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Annotated, Self

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Shape, Spread, Step, Taps
from cnnscope.ops import sampling
from cnnscope.ops.arguments import ArgumentError, Bool, Choice, MaybeFactors, MaybeSize, Number, Size
from cnnscope.ops.base import Case, Op
from cnnscope.ops.saved import FLOAT, INDEX, NOTHING, Kept, TrainStep
from cnnscope.ops.window import size_text

_READS: dict[str, sampling.Reads] = {
    "nearest": sampling.below, "nearest-exact": sampling.nearest, "bilinear": sampling.linear, "bicubic": sampling.cubic
}  # fmt: skip
_TAPS = {"bilinear": 2, "bicubic": 4}
"""Pixels along an axis for which torch works out a weight."""


class Upsample(Op, tag="upsample", category="resize"):
    """Interpolates a map to ``scale`` times its size (floor(n s)), or to ``size`` (``like: NAME`` takes that layer's).

    (N, C, n...) -> (N, C, m...). ``bilinear`` is linear or trilinear in one or three dimensions; ``bicubic`` (Keys
    1981, a = -0.75) is two-dimensional. Output o stands at (o + 1/2) r - 1/2 of the input (``nearest``: the pixel
    floor(o r), ``nearest-exact``: floor((o + 1/2) r)), with r = 1 / s for a ``scale``, n / m for a ``size``; with
    ``align_corners`` at o (n - 1) / (m - 1); pixels beyond the border repeated. ``antialias`` widens the kernel by r
    where it shrinks the map. FLOPs: 2 a tap (2^d, bicubic 16; those of the wide kernel) and output element, none for
    nearest. Source: the rules are torch's `interpolate`.
    """

    scale: MaybeFactors = None
    size: MaybeSize = None
    mode: Annotated[str, Choice(tuple(_READS))] = "nearest"
    align_corners: Bool = False
    antialias: Bool = False
    foreign = ("upsampling", "upsamplingnearest", "upsamplingbilinear", "interpolate", "resize", "resizing")
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
        for word in ("align_corners", "antialias"):
            if getattr(op, word) and not op._weighs:
                raise ArgumentError(f"`{word}` has no meaning for `mode: {op.mode}`", where=(word,))
        return op

    @property
    def _weighs(self) -> bool:
        return self.mode in _TAPS

    def _spatial(self, size: Shape) -> Shape:
        if self.mode == "bicubic" and len(size) != 2:
            raise ShapeError(f"`mode: bicubic` is for two spatial axes, not {len(size)}")
        if self.antialias and len(size) != 2:
            raise ShapeError(f"`antialias` is for two spatial axes, not {len(size)}")
        if self.size is not None:
            return self.size
        assert self.scale is not None
        scaled = tuple(int(n * s) for n, s in zip(size, self.scale, strict=True))
        if 0 in scaled:
            raise ShapeError(f"a `scale` of {self._factors} leaves nothing of {size_text(size)}")
        return scaled

    def output(self, x: Sequence[Value]) -> Value:
        return replace(x[0], shape=(*x[0].shape[:2], *self._spatial(x[0].shape[2:])))

    def elementwise(self, x: Sequence[Value]) -> int:
        if not self._weighs:
            return 0
        y = self.output(x)
        if not self.antialias:
            taps: int = _TAPS[self.mode] ** len(y.shape[2:])
            return 2 * taps * y.numel
        (steps,) = self.reads(x)
        read = (sum(len(s.taps[o % len(s.taps)]) for o in range(s.size)) for s in steps if isinstance(s, Taps))
        return int(2 * y.shape[0] * y.shape[1] * prod(read))

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        size = x[0].shape[2:]
        factors = self.scale or (None,) * len(size)
        axes = enumerate(zip(size, self._spatial(size), factors, strict=True), start=2)
        return (tuple(self._taps(axis, n, m, s) for axis, (n, m, s) in axes),)

    def _taps(self, axis: int, n: int, m: int, scale: float | None) -> Taps:
        ratio = Fraction(n, m) if scale is None else 1 / sampling.factor(scale)
        sized = self.align_corners or (self._forgets(n, m) and ratio != Fraction(n, m))
        if self._forgets(n, m):
            ratio = Fraction(n, m)
        if self.align_corners:
            line = sampling.corners(n, m)
        else:
            line = sampling.Line(ratio) if self.mode == "nearest" else sampling.half_pixel(ratio)
        line = line._replace(sized=sized)
        if self.antialias:  # torch leaves the corners where they are
            line = line._replace(shift=(line.ratio - 1) / 2)
            return sampling.sampled(axis, m, line, sampling.widened(self.mode, line.ratio), "drop")
        return sampling.sampled(axis, m, line, _READS[self.mode])

    def _forgets(self, n: int, m: int) -> bool:
        """Whether torch takes the sizes in place of a factor: along an axis that keeps its size, or doubles it by
        ``nearest``. There torch's gradient and its kernel for channels last do; the kernel for channels first does not.
        """
        return not self.antialias and {"nearest": m in (n, 2 * n), "bilinear": m == n}.get(self.mode, False)

    def label(self) -> str:
        if self.size is not None:
            return f"to {size_text(self.size)}"
        return f"x{self._factors}"

    @property
    def _factors(self) -> str:
        return "x".join(f"{s:.6g}" for s in self.scale or ())

    keeps = NOTHING
    cases = (
        Case(x=(8, 4, 4), args={"scale": 2}, shape=(8, 8, 8)),
        Case(x=(8, 4, 4), args={"scale": 2, "mode": "bilinear"}, shape=(8, 8, 8)),
        Case(x=(8, 3, 4), args={"scale": [1, 3], "mode": "bilinear", "align_corners": True}, shape=(8, 3, 12)),
        Case(x=(2, 5, 7), args={"size": [9, 3], "mode": "bicubic"}, shape=(2, 9, 3)),
        Case(x=(2, 5, 7), args={"size": 6, "mode": "nearest"}, shape=(2, 6, 6)),
        Case(x=(2, 5), args={"size": 8, "mode": "bilinear"}, shape=(2, 8)),
        Case(x=(1, 2, 3, 2), args={"scale": 2, "mode": "bilinear"}, shape=(1, 4, 6, 4)),
        Case(x=(2, 7, 5), args={"scale": [0.5, 1.5], "mode": "bilinear"}, shape=(2, 3, 7)),
        Case(x=(2, 7), args={"scale": 1.3}, shape=(2, 9)),
        Case(x=(2, 7, 5), args={"scale": 0.7, "mode": "nearest-exact"}, shape=(2, 4, 3)),
        Case(x=(2, 9, 8), args={"scale": 0.4, "mode": "bicubic", "antialias": True}, shape=(2, 3, 3)),
        Case(x=(2, 9, 8), args={"size": [4, 11], "mode": "bilinear", "antialias": True}, shape=(2, 4, 11)),
    )


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
