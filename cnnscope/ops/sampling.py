"""Which pixels along an axis an interpolated output reads, in exact arithmetic.

Output o of m stands at the source coordinate ``o * ratio + shift`` among the n pixels, pixel 0 at coordinate 0. A ratio
from a factor is 1 / factor, whatever size it was rounded to; a ratio from sizes is n / m.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from cnnscope.ir.steps import Border, Taps

MOST_PHASES = 1024
"""Beyond as many phases the outputs are listed one by one, and have no answer that is independent of the size."""
HALF = Fraction(1, 2)

Reads = Callable[[Fraction], tuple[int, ...]]
"""The pixels with a weight other than zero for an output at a source coordinate, in or out of the image."""


class Line(NamedTuple):
    """Outputs at the coordinates ``o * ratio + shift``. ``sized`` says that these depend on the size of the input."""

    ratio: Fraction
    shift: Fraction = Fraction(0)
    sized: bool = False


def factor(number: float) -> Fraction:
    """The factor that an author wrote as a number: 1.1 is 11/10, not the binary fraction next to it."""
    exact = Fraction(number)
    written = exact.limit_denominator(10_000)
    return written if abs(written - exact) <= abs(exact) * Fraction(1, 10**12) else exact


def half_pixel(ratio: Fraction) -> Line:
    """Pixels are areas, and the outer edges of both images coincide: (o + 1/2) * ratio - 1/2."""
    return Line(ratio, (ratio - 1) / 2)


def corners(n: int, m: int) -> Line:
    """The centres of the corner pixels coincide: o * (n - 1) / (m - 1)."""
    return Line(Fraction(n - 1, max(m - 1, 1)), sized=True)


def sampled(axis: int, m: int, line: Line, reads: Reads, border: Border = "clamp") -> Taps:
    """The taps of ``m`` outputs along ``axis``."""
    period = line.ratio.denominator
    many = period > MOST_PHASES
    taps = tuple(reads(o * line.ratio + line.shift) for o in range(m if many else period))
    return Taps(axis, m, line.ratio.numerator, taps, border, sized=line.sized or many)


# -- kernels -----------------------------------------------------------------------------------------------------------


def below(x: Fraction) -> tuple[int, ...]:
    return (floor(x),)


def nearest(x: Fraction) -> tuple[int, ...]:
    """The pixel whose area has the point; the higher one on the edge between two."""
    return (floor(x + HALF),)


def linear(x: Fraction) -> tuple[int, ...]:
    first = floor(x)
    return (first,) if x == first else (first, first + 1)


def cubic(x: Fraction) -> tuple[int, ...]:
    first = floor(x)
    return (first,) if x == first else tuple(range(first - 1, first + 3))


def widened(kernel: str, ratio: Fraction) -> Reads:
    """The linear or cubic kernel, stretched by the ratio where it shrinks the image (``antialias``)."""
    width = max(ratio, Fraction(1))
    reach = width * (1 if kernel == "bilinear" else 2)

    def reads(x: Fraction) -> tuple[int, ...]:
        inside = range(floor(x - reach) + 1, ceil(x + reach))
        return tuple(j for j in inside if kernel == "bilinear" or abs(j - x) != width)

    return reads
