"""The zoo's models, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnnscope.analysis.receptive_field import Field
from cnnscope.ir import Shape
from cnnscope.render import conventions, numbers
from cnnscope.render.fields import field_record, size_text
from cnnscope.render.numbers import ABSENT
from cnnscope.render.result import Cell, Result, header
from cnnscope.render.table import Column, Line, Table


@dataclass(frozen=True, slots=True)
class Entry:
    """One model: its zoo name, its title, what it costs, and where it was published."""

    name: str
    title: str
    inputs: tuple[Shape, ...]
    params: int
    macs: int | None
    receptive_field: Field | None
    year: int | None = None
    source: str | None = None

    @property
    def input_text(self) -> str:
        return ", ".join(map(numbers.shape, self.inputs))

    @property
    def field_text(self) -> str | None:
        return None if self.receptive_field is None else size_text(self.receptive_field)


@dataclass(frozen=True)
class ZooReport(Result):
    """All models of the zoo in alphabetical order."""

    entries: tuple[Entry, ...]
    bare: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {**header("zoo"), "conventions": conventions.document(), "models": [_record(e) for e in self.entries]}

    def records(self) -> list[dict[str, Cell]]:
        return [
            {
                "name": e.name, "title": e.title, "input": e.input_text, "params": e.params, "macs": e.macs,
                "receptive_field": e.field_text, "year": e.year, "source": e.source,
            }
            for e in self.entries
        ]  # fmt: skip

    def table(self) -> Table:
        headings = (Column("name"), Column("model"), Column("input"), Column("params", True), Column("MACs", True),
                    Column("RF", True), Column("year", True), Column("source"))  # fmt: skip
        note = conventions.line(("macs", "input", "receptive_field"))
        return Table("", headings, tuple(map(_line, self.entries)), notes=() if self.bare else (note,))


def _record(entry: Entry) -> dict[str, Any]:
    field = entry.receptive_field
    return {
        "name": entry.name, "title": entry.title, "input": [list(shape) for shape in entry.inputs],
        "params": entry.params, "macs": entry.macs, "receptive_field": None if field is None else field_record(field),
        "year": entry.year, "source": entry.source,
    }  # fmt: skip


def _line(entry: Entry) -> Line:
    cells = (
        entry.name, numbers.printable(entry.title), entry.input_text, numbers.count(entry.params),
        numbers.count(entry.macs), entry.field_text or ABSENT, str(entry.year or ABSENT),
        numbers.printable(entry.source or ABSENT),
    )  # fmt: skip
    return Line(cells)
