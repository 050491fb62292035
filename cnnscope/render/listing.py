"""The zoo's models, one line each."""

from __future__ import annotations

from dataclasses import dataclass

from cnnscope.analysis.receptive_field import Field
from cnnscope.ir import Shape
from cnnscope.render import conventions, numbers
from cnnscope.render.documents.document import Document
from cnnscope.render.fields import size_text
from cnnscope.render.numbers import ABSENT
from cnnscope.render.result import Cell, Result
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

    def as_document(self) -> Document:
        from cnnscope.render.documents.layers import ZooDocument, ZooModel
        from cnnscope.render.documents.network import Conventions, ReceptiveField

        models = [
            ZooModel(
                name=e.name, title=e.title, input=e.inputs, params=e.params, macs=e.macs,
                receptive_field=None if e.receptive_field is None else ReceptiveField.of(e.receptive_field),
                year=e.year, source=e.source,
            )
            for e in self.entries
        ]  # fmt: skip
        return ZooDocument(conventions=Conventions(), models=models)

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


def _line(entry: Entry) -> Line:
    cells = (
        entry.name, numbers.printable(entry.title), entry.input_text, numbers.count(entry.params),
        numbers.count(entry.macs), entry.field_text or ABSENT, str(entry.year or ABSENT),
        numbers.printable(entry.source or ABSENT),
    )  # fmt: skip
    return Line(cells)
