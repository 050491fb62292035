"""Designed kernels: their weights, what they answer to, and what they make of an image."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import fsum
from typing import Literal

from cnnscope.render.documents.document import Document
from cnnscope.render.documents.filters import DesignedKernel, Extremes, KernelImage, KernelsDocument, Pass
from cnnscope.render.numbers import ABSENT, printable
from cnnscope.render.result import Cell, Result
from cnnscope.render.sliding import text
from cnnscope.render.table import Column, Line, Table

_SMALL = 9
"""Weights up to which a kernel is written out in the table."""


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel.

    ``orientation`` in degrees of the stripes it answers to, ``frequency`` in cycles a pixel, ``bandwidth`` in octaves,
    each None where there is none; ``band`` is low-, band-, high- or all-pass. ``low`` and ``high`` are the extremes of
    its response to the image, whose pixels are from 0 to 1.
    """

    name: str
    weights: tuple[tuple[float, ...], ...]
    family: Literal["smooth", "edge"]
    about: str
    orientation: float | None
    coherence: float | None
    frequency: float | None
    bandwidth: float | None
    band: Pass | None
    low: float
    high: float

    @property
    def total(self) -> float:
        """What the weights add up to: 1 keeps plain areas, 0 ignores them; rounding of large weights apart."""
        weights = [weight for line in self.weights for weight in line]
        found = fsum(weights)
        return 0.0 if abs(found) < 1e-12 * fsum(map(abs, weights)) else round(found, 9) + 0.0

    @property
    def size(self) -> tuple[int, int]:
        return len(self.weights), len(self.weights[0])


@dataclass(frozen=True)
class KernelsReport(Result):
    """The ``cnnscope.kernels`` document of kernels of one size on an image."""

    kernels: tuple[KernelRow, ...]
    image: str
    image_size: tuple[int, int]
    bare: bool = False

    def as_document(self) -> Document:
        kernels = [
            DesignedKernel(
                name=row.name, family=row.family, about=row.about, weights=row.weights, sum=row.total,
                orientation_deg=row.orientation, coherence=row.coherence, frequency_cycles_per_pixel=row.frequency,
                bandwidth_octaves=row.bandwidth, band=row.band, response=Extremes(min=row.low, max=row.high),
            )
            for row in self.kernels
        ]  # fmt: skip
        image = KernelImage(name=self.image, height=self.image_size[0], width=self.image_size[1])
        return KernelsDocument(kernels=kernels, image=image, example=None)

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"name": row.name, "weights": written(row), "sum": f"{row.total:g}",
             "orientation_deg": _plain(row.orientation), "frequency_cycles_per_pixel": _plain(row.frequency),
             "bandwidth_octaves": _plain(row.bandwidth), "band": row.band, "response_min": f"{row.low:.4g}",
             "response_max": f"{row.high:.4g}", "about": row.about}
            for row in self.kernels
        ]  # fmt: skip

    def table(self) -> Table:
        height, width = self.kernels[0].size
        spelled = height * width <= _SMALL
        columns = [Column("kernel"), *([Column("weights")] if spelled else []), Column("sum", True),
                   Column("angle", True), Column("octaves", True), Column("response", True),
                   Column("what it does")]  # fmt: skip
        lines = tuple(Line(tuple(self._cells(row, spelled))) for row in self.kernels)
        rows, across = self.image_size
        title = f"{height}x{width} kernels on {printable(self.image)}, {rows}x{across}"
        return Table(title, tuple(columns), lines, notes=() if self.bare else (_CONVENTIONS,))

    def _cells(self, row: KernelRow, spelled: bool) -> list[str]:
        octaves = f"{row.bandwidth:.1f}" if row.bandwidth is not None else row.band or ABSENT
        weights = [written(row)] if spelled else []
        total, extremes = f"{row.total:g}", span(row.low, row.high)
        return [row.name, *weights, total, angle(row.orientation), octaves, extremes, row.about]


_CONVENTIONS = (
    "angle of the edges or lines it answers to, in degrees: 0 lies, 90 stands; octaves between half amplitudes; "
    "response to pixels from 0 to 1; kernels are not flipped (cross-correlation), as in networks"
)


def written(row: KernelRow) -> str:
    """The weights as ``--kernel`` reads them; exact where they are fractions."""
    return text(tuple(tuple(_fraction(weight) for weight in line) for line in row.weights))


def angle(degrees: float | None) -> str:
    """Whole degrees; ``-`` where no direction stands out."""
    return ABSENT if degrees is None else f"{degrees:.0f}"


def span(low: float, high: float) -> str:
    """``-1.25 to 3.40``; whole numbers where they are large, powers of ten where they are huge."""
    largest = max(abs(low), abs(high))
    form = ",.2f" if largest < 100 else ",.0f" if largest < 1e6 else ".3g"
    return f"{low:{form}} to {high:{form}}"


def _fraction(weight: float) -> Fraction:
    near = Fraction(weight).limit_denominator(1024)
    return near if abs(float(near) - weight) < 1e-12 else Fraction(str(round(weight, 6)))


def _plain(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"
