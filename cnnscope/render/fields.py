"""Receptive fields as text, and the field of one unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from cnnscope.analysis.receptive_field import Field
from cnnscope.ir import Graph
from cnnscope.ir.steps import Via
from cnnscope.render import numbers
from cnnscope.render.documents.document import Document
from cnnscope.render.documents.layers import Unit, UnitDocument
from cnnscope.render.documents.network import Conventions, Model, ReceptiveField
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Line, Table, left, right

WHOLE_IMAGE = "image"
"""Shown where a unit sees the whole image and no local path is left."""
VARIES = "varies"
"""Shown where no single size describes the field."""

Exact = Mapping[str, list[int]]
"""Smallest (``min``) and largest (``max``) field of a row over its positions, clipped to the image."""


def size_text(field: Field | ReceptiveField) -> str:
    """``5x5``; ``188-204x188-204`` where phases differ; ``image``, ``varies`` or ``-`` where there is no size."""
    if field.size is None or field.size_min is None:
        return VARIES if field.position_dependent else WHOLE_IMAGE if field.via else numbers.ABSENT
    axes = zip(field.size_min, field.size, strict=True)
    return "x".join(str(high) if low == high else f"{low}-{high}" for low, high in axes)


def known_size(field: Field | ReceptiveField | None) -> str | None:
    """`size_text`; None where there is no field."""
    return None if field is None else size_text(field)


def reach_text(field: Field) -> str:
    """`size_text`, and whether global paths add the rest of the image: ``16x16 + image``."""
    return size_text(field) + (f" + {WHOLE_IMAGE}" if field.size is not None and field.via else "")


def reach(field: Field) -> str:
    """`reach_text` for figures: one number where all axes have the same size, as in ``16 + image``."""
    text, low, high = reach_text(field), field.size_min, field.size
    if not low or not high or len(set(low)) > 1 or len(set(high)) > 1:
        return text.replace("x", "×")
    return text.replace(size_text(field), str(high[0]) if low == high else f"{low[0]}–{high[0]}")


def extent_text(field: Field | None) -> str:
    """How far the units of a whole network see along local paths, in words."""
    if field is None:
        return numbers.ABSENT
    if field.size is None:
        return "differs from position to position" if field.position_dependent else size_text(field)
    return f"{size_text(field)} at most, along local paths"


def centre_text(field: Field) -> str:
    """Centre of the first unit's field, per axis; with its jitter where centres are not evenly spaced."""
    jitter = field.jitter
    uneven = f" +-{per_axis(jitter)}" if jitter and any(jitter) else ""
    return per_axis(field.centre0) + uneven


def exact_text(exact: Exact) -> str:
    """``3x3 to 5x5``, or one size where all are equal."""
    low, high = ("x".join(map(str, exact[key])) for key in ("min", "max"))
    return low if low == high else f"{low} to {high}"


def per_axis(values: Sequence[int | Fraction] | None) -> str:
    """One number where all axes agree, else one an axis."""
    if not values:
        return numbers.ABSENT
    return str(values[0]) if len(set(values)) == 1 else ", ".join(map(str, values))


Box = tuple[tuple[int, int], ...]

AXES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
"""What the axes of an image are called, by their number."""


@dataclass(frozen=True)
class UnitReport(Result):
    """The receptive field of the unit at ``position`` of ``layer``.

    ``theoretical`` counts padding, ``exact`` has the pixels of the image alone; both follow local paths and are None
    where there is none. ``full`` has every pixel the unit depends on, through global reductions as well.
    """

    graph: Graph
    source: str
    layer: str
    position: tuple[int, ...]
    theoretical: Box | None
    exact: Box | None
    full: Box | None
    via: tuple[Via, ...] = ()
    bare: bool = False

    @property
    def centre(self) -> tuple[Fraction, ...] | None:
        """Centre of the theoretical field, from the centre of pixel 0."""
        return None if self.theoretical is None else tuple(Fraction(sum(side), 2) for side in self.theoretical)

    def as_document(self) -> Document:
        unit = Unit(
            layer=self.layer, position=self.position, theoretical=self.theoretical, exact=self.exact, full=self.full,
            via=self.via, centre=self.centre,
        )  # fmt: skip
        return UnitDocument(conventions=Conventions(), model=Model.of(self.graph, self.source), unit=unit)

    def records(self) -> list[dict[str, Cell]]:
        return [dict(zip(("axis", *_HEADINGS), row, strict=True)) for row in self._rows()]

    def table(self) -> Table:
        at = ",".join(map(str, self.position))
        where = f"unit {at} of {self.layer}" if at else self.layer
        columns = (*left("axis"), *right(*_HEADINGS))
        lines = (Line(tuple(numbers.ABSENT if cell is None else cell for cell in row)) for row in self._rows())
        title = f"{numbers.titled(self.graph.name, self.source)}, {where}"
        return Table(title, columns, tuple(lines), notes=() if self.bare else tuple(self._notes()))

    def _notes(self) -> list[str]:
        through = [f"sees the whole image through {', '.join(self.via)}"] if self.via else []
        return [
            *through,
            "first and last pixel, pixel 0 has its centre at 0; along local paths theoretical (padding counted) "
            "and exact (inside the image); full: along all paths",
        ]

    def _rows(self) -> list[tuple[str | None, ...]]:
        boxes = (self.theoretical, self.exact, self.full)
        rank = max((len(box) for box in boxes if box), default=0)
        rows: list[tuple[str | None, ...]] = []
        for axis in range(rank):
            theoretical, exact, full = (f"{box[axis][0]} to {box[axis][1]}" if box else None for box in boxes)
            centre = str(self.centre[axis]) if self.centre else None
            rows.append((AXES[rank][axis], theoretical, centre, exact, full))
        return rows


_HEADINGS = ("theoretical", "centre", "exact", "full")
