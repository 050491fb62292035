"""Totals of networks beside the ones that their specs state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cnnscope.render import numbers, style
from cnnscope.render.documents.document import Document
from cnnscope.render.numbers import ABSENT
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Column, Line, Table


@dataclass(frozen=True, slots=True)
class Comparand:
    """One quantity of one network: what was computed, and what its reference states (None: nothing)."""

    source: str
    quantity: Literal["params", "macs"]
    found: int | None
    expected: int | None

    @property
    def ok(self) -> bool | None:
        """Whether they are equal; None where there is no reference."""
        return None if self.expected is None else self.found == self.expected

    @property
    def verdict(self) -> str:
        return {True: "ok", False: "MISMATCH", None: "no reference"}[self.ok]


@dataclass(frozen=True)
class CheckReport(Result):
    """Every quantity of every network checked. ``references`` maps a source to the origin of its stated totals."""

    comparands: tuple[Comparand, ...]
    references: dict[str, str]
    bare: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts its reference."""
        return not any(comparand.ok is False for comparand in self.comparands)

    def as_document(self) -> Document:
        from cnnscope.render.documents.layers import CheckDocument, CheckedTotal

        checks = [
            CheckedTotal(
                model=c.source, quantity=c.quantity, found=c.found, expected=c.expected, ok=c.ok,
                reference=self.references.get(c.source),
            )
            for c in self.comparands
        ]  # fmt: skip
        return CheckDocument(ok=self.ok, checks=checks)

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"model": c.source, "quantity": c.quantity, "found": c.found, "expected": c.expected, "verdict": c.verdict}
            for c in self.comparands
        ]

    def table(self) -> Table:
        headings = (Column("model"), Column("quantity"), Column("found", True), Column("expected", True),
                    Column("verdict"), Column("reference"))  # fmt: skip
        return Table("", headings, tuple(map(self._line, self.comparands)), notes=() if self.bare else (self._note(),))

    def _line(self, c: Comparand) -> Line:
        expected = ABSENT if c.expected is None else numbers.count(c.expected)
        reference = numbers.printable(self.references.get(c.source, ABSENT))
        look = {True: "", False: style.BAD, None: style.DIM}[c.ok]
        cells = (numbers.printable(c.source), c.quantity, numbers.count(c.found), expected, c.verdict, reference)
        return Line(cells, style=look, name_style=look)

    def _note(self) -> str:
        wrong = sum(c.ok is False for c in self.comparands)
        silent = sum(c.ok is None for c in self.comparands)
        right = len(self.comparands) - wrong - silent
        return f"{right} ok, {wrong} wrong, {silent} without reference"
