"""Totals of networks beside the ones that their specs state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from cnnscope.render import numbers, style
from cnnscope.render.documents.document import Count, Document
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Line, Table, left, right

Quantity = Literal["params", "macs"]


@dataclass(frozen=True, kw_only=True)
class CheckedTotal:
    """A total of a network beside what its spec states."""

    source: str = field(metadata={"key": "model"})
    quantity: Quantity
    found: Count | None
    expected: Count | None
    ok: bool | None
    """null: the spec states no reference"""
    reference: str | None

    @property
    def verdict(self) -> str:
        return {True: "ok", False: "MISMATCH", None: "no reference"}[self.ok]


@dataclass(frozen=True, kw_only=True)
class CheckDocument(Document):
    """Totals beside those that specs state: ``cnnscope check``."""

    format: Literal["cnnscope.check"] = "cnnscope.check"
    ok: bool
    checks: Sequence[CheckedTotal]


@dataclass(frozen=True)
class CheckReport(Result):
    """Every quantity of every network checked."""

    comparands: tuple[CheckedTotal, ...]
    bare: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts its reference."""
        return not any(comparand.ok is False for comparand in self.comparands)

    def as_document(self) -> Document:
        return CheckDocument(ok=self.ok, checks=self.comparands)

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"model": c.source, "quantity": c.quantity, "found": c.found, "expected": c.expected, "verdict": c.verdict}
            for c in self.comparands
        ]

    def table(self) -> Table:
        headings = (*left("model", "quantity"), *right("found", "expected"), *left("verdict"),
                    *left("reference", rank=1, fold=False))  # fmt: skip
        return Table(
            "", headings, tuple(map(self._line, self.comparands)), notes=() if self.bare else (self._note(),), keys=2
        )

    def _line(self, c: CheckedTotal) -> Line:
        expected = numbers.ABSENT if c.expected is None else numbers.count(c.expected)
        reference = numbers.printable(numbers.ABSENT if c.reference is None else c.reference)
        look = {True: "", False: style.BAD, None: style.DIM}[c.ok]
        cells = (numbers.printable(c.source), c.quantity, numbers.count(c.found), expected, c.verdict, reference)
        return Line(cells, style=look, name_style=look)

    def _note(self) -> str:
        wrong = sum(c.ok is False for c in self.comparands)
        silent = sum(c.ok is None for c in self.comparands)
        right = len(self.comparands) - wrong - silent
        return f"{right} ok, {wrong} wrong, {silent} without reference"
