"""What a verb that writes pictures or pages answers: which files there are now."""

from __future__ import annotations

from dataclasses import dataclass

from cnnscope.render import numbers
from cnnscope.render.documents.document import Document
from cnnscope.render.result import File, Result
from cnnscope.render.table import Column, Line, Table


@dataclass(frozen=True)
class FilesReport(Result):
    """The ``cnnscope.files`` document."""

    files: tuple[File, ...]

    def records(self) -> list[dict[str, str | int | None]]:
        return [{"path": str(file.path), "kind": file.kind, "bytes": file.bytes} for file in self.files]

    def as_document(self) -> Document:
        from cnnscope.render.documents.files import FilesDocument, WrittenFile

        return FilesDocument(files=[WrittenFile(path=str(f.path), kind=f.kind, bytes=f.bytes) for f in self.files])

    def table(self) -> Table:
        lines = (Line((str(f.path), f.kind, numbers.binary(f.bytes))) for f in self.files)
        return Table("", (Column("file"), Column("kind"), Column("size", right=True)), tuple(lines))
