"""The sheet as what ``summary --view sheet`` prints."""

from __future__ import annotations

from dataclasses import dataclass

from cnnscope.render.diagram.sheet.figure import sheet
from cnnscope.render.diagram.sheet.text import records, table, to_markdown
from cnnscope.render.documents.document import Document
from cnnscope.render.layers import LayerReport
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Table


@dataclass(frozen=True)
class SheetReport(Result):
    """The table of a sheet. The document is that of ``report``, which has every layer."""

    report: LayerReport
    bare: bool = False

    def as_document(self) -> Document:
        return self.report.as_document()

    def records(self) -> list[dict[str, Cell]]:
        return records(sheet(self.report.graph))

    def table(self) -> Table:
        return table(sheet(self.report.graph), bare=self.bare)

    def to_markdown(self) -> str:
        return to_markdown(sheet(self.report.graph), bare=self.bare).rstrip("\n")
