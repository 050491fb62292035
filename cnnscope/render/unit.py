"""What one unit sees: pixels per axis of the image, first and last included."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from cnnscope.ir import Graph
from cnnscope.ir.steps import Via
from cnnscope.render import numbers
from cnnscope.render.documents.document import Document
from cnnscope.render.numbers import ABSENT
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Column, Line, Table

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
        from cnnscope.render.documents.layers import Unit, UnitDocument
        from cnnscope.render.documents.network import Conventions, Model

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
        columns = (Column("axis"), *(Column(heading, right=True) for heading in _HEADINGS))
        lines = (Line(tuple(ABSENT if cell is None else cell for cell in row)) for row in self._rows())
        title = f"{numbers.printable(self.graph.name)} ({numbers.printable(self.source)}), {where}"
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
