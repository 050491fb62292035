"""Subsampling whose grid follows the content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Spread, Step, Taps
from cnnscope.ops.arguments import Number, Size
from cnnscope.ops.base import Case, Op
from cnnscope.ops.saved import FLOAT, INDEX, Kept, TrainStep
from cnnscope.ops.window import size_text


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
