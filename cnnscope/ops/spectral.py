"""Fourier transforms, which only traces have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log2, prod

from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Expand, Shape, Step, Whole
from cnnscope.ops.traced import Traced


class Fourier(Traced, tag="fourier", category="other"):
    """Discrete Fourier transform ``fn`` of real numbers, or back to them: ``rfft`` or ``irfft``.

    Along ``axes`` the output has the extents ``sizes``. Every output element reads all of the axes. No MACs: it is no
    product of matrices. FLOPs: 2.5 n log2(P) for n real numbers, P in each transform, as FFTW counts them (Frigo &
    Johnson 2005, section II). Source: Cooley & Tukey 1965.
    """

    fn: str
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    dtype: str = "complex64"

    def _shape(self, x: Value) -> Shape:
        along = dict(zip(self.axes, self.sizes, strict=True))
        return tuple(along.get(axis, n) for axis, n in enumerate(x.shape))

    def output(self, x: Sequence[Value]) -> Value:
        batch = x[0].batch_axis
        folded = batch in self.axes
        kind = "tensor" if folded else x[0].kind
        return replace(x[0], shape=self._shape(x[0]), dtype=self.dtype, kind=kind, batch_axis=None if folded else batch)

    def elementwise(self, x: Sequence[Value]) -> int:
        real = x[0] if self.fn == "rfft" else self.output(x)
        points = prod(real.shape[axis] for axis in self.axes)
        return round(2.5 * real.numel * log2(points)) if points else 0

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Whole(self.axes, "dense"), Expand(self._shape(x[0]))),)
