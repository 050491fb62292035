"""What every command returns: a table for people, a document and records for programs; and the files it wrote."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from cnnscope.errors import CnnscopeError, did_you_mean, explained
from cnnscope.files import encoded, write_bytes
from cnnscope.render import numbers
from cnnscope.render import table as tables
from cnnscope.render.documents.document import Count, Document, keywords, plain
from cnnscope.render.table import Line, Table, left, right

if TYPE_CHECKING:
    from rich.console import RenderableType


D = TypeVar("D", bound=Document | Mapping[str, Any])
"""The type of a document."""
Cell = str | int | None
"""A value in a flat record; None is unknown."""


@dataclass(frozen=True)
class Result(ABC):
    """A frozen result. Subclasses give its data (`as_document`, `records`) and the table that people read (`table`)."""

    KINDS: ClassVar[Sequence[str]] = ()
    """Formats that the result can be drawn in."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__repr__ = Result.__repr__  # type: ignore[method-assign]  # else each dataclass has its own, which lists all layers

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: print it, or write(path)>"

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

    @explained
    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes the form that the file's suffix names: .json .csv .tsv .md .txt, or a picture where there is one.

        E404 for another suffix, E405 where a file cannot be written.
        """
        form = form_of(Path(path), self.KINDS)
        if form in self.KINDS:
            return self.write_picture(Path(path), form)
        return (written(path, form, FORMS[form](self) + "\n"),)

    def drawn(self, kind: str) -> bytes:
        """The picture in one of `KINDS`."""
        raise NotImplementedError(f"{type(self).__name__} has no picture")

    def write_picture(self, path: Path, kind: str) -> tuple[File, ...]:
        """Writes the picture, and what belongs beside it."""
        return (written(path, kind, self.drawn(kind)),)

    def without_notes(self) -> Self:
        """The same result; its table has no title and no notes around it."""
        return replace(self, bare=True) if any(f.name == "bare" for f in fields(self)) else self  # type: ignore[call-arg]

    def __str__(self) -> str:
        return tables.plain(self.table())

    def __rich__(self) -> RenderableType:
        from cnnscope.render.terminal import RichTable

        return RichTable(self.table())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return tables.mimebundle(self.table())


@dataclass(frozen=True)
class DocumentReport(Result, Generic[D]):
    """A result that is its document; where it is ``bare``, the table has no remarks."""

    document: D
    bare: bool = False

    def as_document(self) -> D:
        return self.document


FORMS: Mapping[str, Callable[[Result], str]] = {
    "table": str,
    "json": lambda result: result.to_json(),
    "csv": lambda result: result.to_csv(),
    "tsv": lambda result: result.to_tsv(),
    "markdown": lambda result: result.to_markdown(),
}
"""The forms of text, by the names that ``--format`` takes."""

SUFFIXES = {".json": "json", ".csv": "csv", ".tsv": "tsv", ".md": "markdown", ".txt": "table"}
"""The form of text that a suffix stands for."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that was written: where, what kind of content, how large."""

    path: Path
    kind: str
    bytes: int


def form_of(path: Path, kinds: Sequence[str] = ()) -> str:
    """What to write to a file: one of ``kinds`` of its own suffix, or one of `FORMS`; E404 where it is neither."""
    suffix = path.suffix.lower()
    known = {f".{kind}": kind for kind in kinds} | {key: form for key, form in SUFFIXES.items() if form not in kinds}
    if suffix not in known:
        hint = did_you_mean(suffix, known) or f"use {', '.join(known)}, or say -f"
        raise CnnscopeError.of("E404", f"`{path.name or path}` has no known suffix", hint=hint)
    return known[suffix]


def written(path: str | Path, kind: str, content: str | bytes) -> File:
    """Writes a file; E405 where it cannot be written."""
    data = encoded(content) if isinstance(content, str) else content
    write_bytes(Path(path), data)
    return File(Path(path), kind, len(data))


def separated(records: Sequence[Mapping[str, Cell]], delimiter: str) -> str:
    """Records as delimited text, without a newline at the end; what is unknown stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]) if records else [], delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().rstrip("\n")


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """A file that was written: where, what kind of content, how large."""

    path: str
    kind: str
    bytes: Count


@dataclass(frozen=True, kw_only=True)
class FilesDocument(Document):
    """The files that a command wrote."""

    format: Literal["cnnscope.files"] = "cnnscope.files"
    files: Annotated[Sequence[WrittenFile], keywords(minItems=1)]


@dataclass(frozen=True)
class FilesReport(Result):
    """The ``cnnscope.files`` document."""

    files: tuple[File, ...]

    def records(self) -> list[dict[str, str | int | None]]:
        return [{"path": str(file.path), "kind": file.kind, "bytes": file.bytes} for file in self.files]

    def as_document(self) -> Document:
        return FilesDocument(files=[WrittenFile(path=str(f.path), kind=f.kind, bytes=f.bytes) for f in self.files])

    def table(self) -> Table:
        lines = (Line((str(f.path), f.kind, numbers.binary(f.bytes))) for f in self.files)
        return Table("", (*left("file", "kind"), *right("size")), tuple(lines))
