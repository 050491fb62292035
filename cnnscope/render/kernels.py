"""Designed kernels: their weights, the patterns that they respond to, and their response to an image."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import fsum

from cnnscope.render.documents.document import Document, Matrix
from cnnscope.render.documents.filters import DesignedKernel, KernelImage, KernelsDocument
from cnnscope.render.numbers import ABSENT, printable
from cnnscope.render.result import Cell, Result
from cnnscope.render.sliding import text
from cnnscope.render.table import Column, Line, Table

_SMALL = 9
"""The table shows the weights of kernels with at most this many."""


@dataclass(frozen=True)
class KernelsReport(Result):
    """The ``cnnscope.kernels`` document of kernels of one size on an image."""

    kernels: tuple[DesignedKernel, ...]
    image: str
    image_size: tuple[int, int]
    bare: bool = False

    def as_document(self) -> Document:
        image = KernelImage(name=self.image, height=self.image_size[0], width=self.image_size[1])
        return KernelsDocument(kernels=self.kernels, image=image, example=None)

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"name": row.name, "weights": written(row), "sum": f"{row.sum:g}",
             "orientation_deg": _plain(row.orientation_deg),
             "frequency_cycles_per_pixel": _plain(row.frequency_cycles_per_pixel),
             "bandwidth_octaves": _plain(row.bandwidth_octaves), "band": row.band,
             "response_min": f"{row.response.min:.4g}", "response_max": f"{row.response.max:.4g}", "about": row.about}
            for row in self.kernels
        ]  # fmt: skip

    def table(self) -> Table:
        height, width = len(self.kernels[0].weights), len(self.kernels[0].weights[0])
        spelled = height * width <= _SMALL
        columns = [Column("kernel"), *([Column("weights")] if spelled else []), Column("sum", True),
                   Column("angle", True), Column("octaves", True), Column("response", True),
                   Column("what it does")]  # fmt: skip
        lines = tuple(Line(tuple(self._cells(row, spelled))) for row in self.kernels)
        rows, across = self.image_size
        title = f"{height}x{width} kernels on {printable(self.image)}, {rows}x{across}"
        return Table(title, tuple(columns), lines, notes=() if self.bare else (_CONVENTIONS,))

    def _cells(self, row: DesignedKernel, spelled: bool) -> list[str]:
        octaves = f"{row.bandwidth_octaves:.1f}" if row.bandwidth_octaves is not None else row.band or ABSENT
        weights = [written(row)] if spelled else []
        total, extremes = f"{row.sum:g}", span(row.response.min, row.response.max)
        return [row.name, *weights, total, angle(row.orientation_deg), octaves, extremes, row.about]


_CONVENTIONS = (
    "angle: of the edges or lines it responds to, 0 horizontal, 90 vertical; octaves: between half amplitudes; "
    "response to pixels from 0 to 1; kernels are not flipped (cross-correlation), as in networks"
)


def written(row: DesignedKernel) -> str:
    """The weights as ``--kernel`` reads them; fractions are exact."""
    return text(tuple(tuple(_fraction(weight) for weight in line) for line in row.weights))


def angle(degrees: float | None) -> str:
    """Whole degrees; ``-`` where no direction stands out."""
    return ABSENT if degrees is None else f"{degrees:.0f}"


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
