"""A kernel slid over an input, every step of it: windows, products, sums, and the matrix that does the same at once.

Networks compute cross-correlation and call it convolution: y[i] = sum_k w[k] x[i * stride + k * dilation - pad]. The
kernel is not flipped; signal processing flips it first. Both are here, exact.
Source: Goodfellow, Bengio & Courville 2016, "Deep Learning", section 9.1, equations 9.4 to 9.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from math import prod

from cnnscope.errors import CnnscopeError
from cnnscope.render.sliding import Rows, SlideReport, Step

_LARGEST_MATRIX = 65_536


def slide(kernel: Rows, signal: Rows, *, stride: int = 1, pad: int = 0, dilation: int = 1) -> SlideReport:
    """Every step of ``kernel`` over ``signal``; both are one row (a signal) or several (an image).

    Stride, padding with zeros and dilation are the same on both axes of an image. A kernel of one row may slide over
    one. `CnnscopeError`: E488 where the kernel does not fit, E489 where the steps are too many to print.
    """
    pads = (0 if len(kernel) == len(signal) == 1 else pad, pad)
    extents = _outputs(kernel, signal, stride, pads, dilation)
    numbers = len(signal) * len(signal[0])
    if prod(extents) * numbers > _LARGEST_MATRIX:
        raise CnnscopeError.of("E489", f"{prod(extents):,} steps over {numbers:,} numbers are more than anyone follows",
                               hint="give a smaller input, less padding or a larger stride")  # fmt: skip
    steps, backwards = (
        tuple(_steps(rows, signal, extents, stride, pads, dilation)) for rows in (kernel, _turned(kernel))
    )
    output, flipped = (_grid([step.total for step in some], extents[1]) for some in (steps, backwards))
    return SlideReport(kernel, signal, stride, pad, dilation, steps, output, flipped)


def _outputs(kernel: Rows, signal: Rows, stride: int, pads: tuple[int, int], dilation: int) -> tuple[int, int]:
    """(rows, columns) of the output: floor((n + 2 pad - dilation (k - 1) - 1) / stride) + 1."""
    found = []
    axes = ("rows", "numbers" if len(kernel) == len(signal) == 1 else "columns")
    for axis, n, k, pad in zip(axes, _size(signal), _size(kernel), pads, strict=True):
        span = dilation * (k - 1) + 1
        if span > n + 2 * pad:
            spread = f" spread over {span} by its dilation" if dilation > 1 else ""
            padding = f" and {2 * pad} of padding" if pad else ""
            raise CnnscopeError.of("E488", f"the kernel has {k} {axis}{spread}, and the input {n}{padding}",
                                   hint="give a larger input or more padding")  # fmt: skip
        found.append((n + 2 * pad - span) // stride + 1)
    return found[0], found[1]


def _steps(
    kernel: Rows, signal: Rows, extents: tuple[int, int], stride: int, pads: tuple[int, int], dilation: int
) -> Iterator[Step]:
    rows, columns = _size(signal)
    weights = [weight for row in kernel for weight in row]
    for y, x in product(*map(range, extents)):
        row = [Fraction(0)] * (rows * columns)
        window = []
        for weight, (i, j) in zip(weights, product(*map(range, _size(kernel))), strict=True):
            at_y, at_x = y * stride + i * dilation - pads[0], x * stride + j * dilation - pads[1]
            inside = 0 <= at_y < rows and 0 <= at_x < columns
            window.append(signal[at_y][at_x] if inside else Fraction(0))
            if inside:
                row[at_y * columns + at_x] = weight
        yield Step((y, x), tuple(window), tuple(weights), tuple(row))


def _turned(kernel: Rows) -> Rows:
    """By half a turn, which is a flip along every axis."""
    return tuple(row[::-1] for row in kernel[::-1])


def _size(rows: Rows) -> tuple[int, int]:
    return len(rows), len(rows[0])


def _grid(values: list[Fraction], width: int) -> Rows:
    return tuple(tuple(values[start : start + width]) for start in range(0, len(values), width))
