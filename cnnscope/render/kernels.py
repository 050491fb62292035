"""Designed kernels: their weights, the patterns that they respond to, and their response to an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import fsum
from typing import Literal

from cnnscope.render.documents.document import OMITTED, Count, Document, Matrix, Omitted, Share
from cnnscope.render.numbers import ABSENT, figure, printable
from cnnscope.render.result import Cell, DocumentReport
from cnnscope.render.table import Line, Table, left, right

Pass = Literal["low-pass", "band-pass", "high-pass", "all-pass"]
"""Which frequencies a kernel lets through."""
Rows = tuple[tuple[Fraction, ...], ...]
"""One row for a signal, several of equal length for an image."""
Planes = tuple[Rows, ...]
"""A grid for each channel, all of one size."""

_DIGITS = 8
"""Decimals up to which a fraction is written as a decimal number."""
_SMALL = 9
"""The table shows the weights of kernels with at most this many."""


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """The smallest and the largest value."""

    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class DesignedKernel:
    """A kernel with its figures."""

    name: str
    family: Literal["smooth", "edge"]
    """smooth: the weights add up to 1"""
    about: str
    weights: Matrix
    sum: float
    orientation_deg: float | None
    """direction of the stripes that it responds to, anticlockwise from the horizontal"""
    coherence: Share | None
    frequency_cycles_per_pixel: float | None
    bandwidth_octaves: float | None
    """between half amplitudes; null where an end is open, see band"""
    band: Pass | None
    response: Extremes
    """to the image, pixels from 0 to 1"""


@dataclass(frozen=True, kw_only=True)
class KernelImage:
    """The image that kernels respond to."""

    name: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class ExampleStep:
    """The kernel in one place of an example."""

    position: Sequence[Count]
    window: Sequence[float]
    products: Sequence[float]
    """of a transposed convolution the kernels scaled by the input at this position"""
    sum: float
    """of max pooling the largest"""
    output: float | Omitted | None = OMITTED
    """the sum and the bias, after the activation; null of a transposed convolution, where steps overlap"""


@dataclass(frozen=True, kw_only=True)
class KernelExample:
    """A kernel that slides over an input."""

    op: Literal["conv", "upconv", "maxpool", "avgpool"] | Omitted = OMITTED
    channels: Count | Omitted = OMITTED
    kernel: Matrix
    """the rows of all channels, one below the other; of pooling the weights of a mean, or ones"""
    input: Matrix
    """the rows of all channels, one below the other"""
    stride: int
    pad: int
    dilation: int
    bias: float | Omitted = OMITTED
    activation: str | Omitted | None = OMITTED
    steps: Sequence[ExampleStep]
    output: Matrix
    flipped_output: Matrix
    """of a convolution in the sense of signal processing"""
    matrix: Matrix
    """times the flattened input it is the flattened output without bias and activation; of max pooling of this input"""


@dataclass(frozen=True, kw_only=True)
class KernelsDocument(Document):
    """Designed kernels and their responses, or an example of one: ``cnnscope kernels``."""

    format: Literal["cnnscope.kernels"] = "cnnscope.kernels"
    kernels: Sequence[DesignedKernel]
    """empty in an example"""
    image: KernelImage | None
    example: KernelExample | None
    picture: str | Omitted = OMITTED
    """in a manifest: the picture beside it"""
    arrays: Mapping[str, str] | Omitted = OMITTED
    """in a manifest: the .npy files beside it"""


class KernelsReport(DocumentReport[KernelsDocument]):
    """Kernels of one size on an image."""

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"name": row.name, "weights": written(row), "sum": f"{row.sum:g}",
             "orientation_deg": _plain(row.orientation_deg),
             "frequency_cycles_per_pixel": _plain(row.frequency_cycles_per_pixel),
             "bandwidth_octaves": _plain(row.bandwidth_octaves), "band": row.band,
             "response_min": f"{row.response.min:.4g}", "response_max": f"{row.response.max:.4g}", "about": row.about}
            for row in self.document.kernels
        ]  # fmt: skip

    def table(self) -> Table:
        kernels, image = self.document.kernels, self.document.image
        assert image is not None, "designed kernels are shown on an image"
        height, width = len(kernels[0].weights), len(kernels[0].weights[0])
        spelled = height * width <= _SMALL
        names = left("kernel", "weights") if spelled else left("kernel")
        columns = (*names, *right("sum", rank=3), *right("angle", rank=2), *right("octaves", rank=4),
                   *right("response"), *left("what it does", rank=1))  # fmt: skip
        lines = tuple(Line(tuple(self._cells(row, spelled))) for row in kernels)
        title = f"{height}x{width} kernels on {printable(image.name)}, {image.height}x{image.width}"
        return Table(title, columns, lines, notes=() if self.bare else (_CONVENTIONS,))

    def _cells(self, row: DesignedKernel, spelled: bool) -> list[str]:
        octaves = f"{row.bandwidth_octaves:.1f}" if row.bandwidth_octaves is not None else row.band or ABSENT
        weights = [written(row)] if spelled else []
        total, extremes = f"{row.sum:g}", span(row.response.min, row.response.max)
        return [row.name, *weights, total, figure(row.orientation_deg, ".0f"), octaves, extremes, row.about]


_CONVENTIONS = (
    "angle: of the edges or lines it responds to, 0 horizontal, 90 vertical; octaves: between half amplitudes; "
    "response to pixels from 0 to 1; kernels are not flipped (cross-correlation), as in networks"
)


def written(row: DesignedKernel) -> str:
    """The weights as ``--kernel`` reads them; fractions are exact."""
    return text(tuple(tuple(_fraction(weight) for weight in line) for line in row.weights))


def shown(number: Fraction | float) -> str:
    """As people write it: ``3``, ``-0.5``; where decimals do not end soon, as a fraction, ``1/9``.

    A float, which is not exact, has four significant digits.
    """
    if isinstance(number, float):
        return f"{number:.4g}"
    if number.denominator == 1:
        return str(number.numerator)
    for digits in range(1, _DIGITS + 1):
        if (number * 10**digits).denominator == 1:
            return f"{float(number):.{digits}f}"
    return f"{number.numerator}/{number.denominator}"


def text(*planes: Sequence[Sequence[Fraction | float]]) -> str:
    """Numbers apart by spaces, rows apart by semicolons, channels apart by bars."""
    return " | ".join("; ".join(" ".join(map(shown, row)) for row in rows) for rows in planes)


def span(low: float, high: float) -> str:
    """``-1.25 to 3.40``; whole numbers where they are large, powers of ten where they are huge."""
    largest = max(abs(low), abs(high))
    form = ",.2f" if largest < 100 else ",.0f" if largest < 1e6 else ".3g"
    return f"{low:{form}} to {high:{form}}"


def total(weights: Matrix) -> float:
    """What the weights add up to, without the rounding errors of large weights."""
    every = [weight for line in weights for weight in line]
    found = fsum(every)
    return 0.0 if abs(found) < 1e-12 * fsum(map(abs, every)) else round(found, 9) + 0.0


def _fraction(weight: float) -> Fraction:
    near = Fraction(weight).limit_denominator(1024)
    return near if abs(float(near) - weight) < 1e-12 else Fraction(str(round(weight, 6)))


def _plain(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"
