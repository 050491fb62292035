"""Interpolation by rules that torch's `interpolate` lacks, as files have them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from math import floor, prod
from typing import Literal, NamedTuple

from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Border, Step
from cnnscope.ops import sampling
from cnnscope.ops.traced import Traced

Kernel = Literal["linear", "cubic"]


class Stretch(NamedTuple):
    """An axis of n elements that becomes one of ``size``. Output o stands at ``o * ratio + shift`` of the input.

    Ratio and shift are fractions, (numerator, denominator). ``sized`` says that they depend on the size of the input.
    """

    axis: int
    size: int
    ratio: tuple[int, int]
    shift: tuple[int, int]
    sized: bool = False

    @property
    def line(self) -> sampling.Line:
        return sampling.Line(Fraction(*self.ratio), Fraction(*self.shift), self.sized)


class Resample(Traced, tag="resample", category="resize"):
    """Interpolates along the axes of ``stretches``, one after the other: linear (2 taps), or cubic (4 taps).

    Elements beyond the border repeat the last one; with ``inside`` they have no weight, and the weights of the others
    are divided by their sum. FLOPs: 2 a tap (2^d or 4^d) and output element.
    Source: Keys 1981, equation 4 (cubic convolution with the coefficient a); the operator `Resize` of ONNX.
    """

    kernel: Kernel
    stretches: tuple[Stretch, ...]
    coefficient: float = -0.75
    inside: bool = False

    def output(self, x: Sequence[Value]) -> Value:
        sizes = {s.axis: s.size for s in self.stretches}
        return replace(x[0], shape=tuple(sizes.get(axis, n) for axis, n in enumerate(x[0].shape)))

    def elementwise(self, x: Sequence[Value]) -> int:
        taps: int = (2 if self.kernel == "linear" else 4) ** len(self.stretches)
        return 2 * taps * prod(self.output(x).shape)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        kernel = sampling.linear if self.kernel == "linear" else sampling.cubic
        border: Border = "drop" if self.inside else "clamp"
        return (tuple(sampling.sampled(s.axis, s.size, s.line, kernel, border) for s in self.stretches),)

    def label(self) -> str:
        return f"{self.kernel} to {'x'.join(str(s.size) for s in self.stretches)}"

    def weighed(self, stretch: Stretch, n: int) -> Iterator[list[tuple[int, float]]]:
        """Yields, for each output of an axis of ``n`` elements, those that it reads with their weights."""
        for o in range(stretch.size):
            x = o * stretch.line.ratio + stretch.line.shift
            first = floor(x)
            read = [(first + i, self._weight(abs(float(x - first - i)))) for i in range(-1, 3)]
            if not self.inside:
                yield [(min(max(j, 0), n - 1), weight) for j, weight in read if weight]
                continue
            own = [(j, weight) for j, weight in read if weight and 0 <= j < n]
            total = sum(weight for _, weight in own)
            yield [(j, weight / total) for j, weight in own]

    def _weight(self, t: float) -> float:
        """The weight of an element at the distance ``t``."""
        if self.kernel == "linear":
            return max(0.0, 1 - t)
        a = self.coefficient
        if t <= 1:
            return ((a + 2) * t - (a + 3)) * t * t + 1
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else 0.0
