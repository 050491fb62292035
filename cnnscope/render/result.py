"""What every answer can do: be a table for people and a document or records for programs."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnscope.render import table as tables
from cnnscope.render.documents.document import Document, plain
from cnnscope.render.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType

Cell = str | int | None
"""A value in a flat record; None is unknown."""


@dataclass(frozen=True)
class Result(ABC):
    """A frozen answer. Subclasses say what it is (`as_document`, `records`) and how it reads (`table`)."""

    @abstractmethod
    def as_document(self) -> Document | Mapping[str, Any]:
        """The JSON document: a dataclass, or the values of one that was read from a file."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document as plain values, ``format`` and ``format_version`` first."""
        found: dict[str, Any] = plain(self.as_document())
        return found

    @abstractmethod
    def records(self) -> list[dict[str, Cell]]:
        """One flat record a row, with the same keys in each, for CSV and TSV."""

    @abstractmethod
    def table(self) -> Table:
        """The table people read."""

    def to_json(self) -> str:
        """`to_dict` as indented JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_csv(self) -> str:
        """Comma-separated records under a line of keys (RFC 4180, but with plain newlines)."""
        return separated(self.records(), ",")

    def to_tsv(self) -> str:
        """Tab-separated records under a line of keys."""
        return separated(self.records(), "\t")

    def to_markdown(self) -> str:
        """A Markdown table."""
        return tables.markdown(self.table())

    def __str__(self) -> str:
        return tables.plain(self.table())

    def __rich__(self) -> RenderableType:
        return tables.RichTable(self.table())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return tables.mimebundle(self.table())


def separated(records: Sequence[Mapping[str, Cell]], delimiter: str) -> str:
    """Records as delimited text, without a newline at the end; what is unknown stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]) if records else [], delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().rstrip("\n")
