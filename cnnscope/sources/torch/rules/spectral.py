"""Rules for Fourier transforms of real numbers, and for complex numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from cnnscope.ir.steps import Expand, Reshape, Whole
from cnnscope.ops.spectral import Fourier
from cnnscope.sources.torch.recording import dtype_name
from cnnscope.sources.torch.rules import Tracer, records
from cnnscope.sources.torch.rules.movement import move
from cnnscope.sources.torch.rules.pointwise import elementwise


def _fourier(fn: str) -> Any:
    def rule(trace: Tracer, out: Tensor, x: Tensor, dim: Sequence[int], *rest: Any) -> None:
        axes = tuple(sorted(axis % x.dim() for axis in dim))
        trace.emit(Fourier(fn, axes, tuple(out.shape[axis] for axis in axes), dtype_name(out)), [x], out, fn=fn)

    return rule


records("_fft_r2c")(_fourier("rfft"))
records("_fft_c2r")(_fourier("irfft"))


@records("view_as_real")
def view_as_real(trace: Tracer, out: Tensor, x: Tensor) -> None:
    """Shows the real and the imaginary part along a new last axis."""
    move(trace, out, "view_as_real", x, (Reshape((*x.shape, 1)), Expand((*x.shape, 2))))


@records("view_as_complex")
def view_as_complex(trace: Tracer, out: Tensor, x: Tensor) -> None:
    move(trace, out, "view_as_complex", x, (Whole((x.dim() - 1,), "dense", keep=False),))


@records("_conj", "_conj_physical", "conj_physical", "_neg_view")
def conjugate(trace: Tracer, out: Tensor, x: Tensor) -> None:
    move(trace, out, "conj", x, ())


@records("complex", "polar")
def pair(trace: Tracer, out: Tensor, real: Tensor, imaginary: Tensor) -> None:
    elementwise(trace, out, "complex", [real, imaginary])
