"""Results that can be drawn, and drawings that are results: how they are shown in a notebook and written to files."""

from __future__ import annotations

import io
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from cnnscope.errors import CnnscopeError, explained
from cnnscope.render.documents.document import Document
from cnnscope.render.result import Cell, File, Result, written
from cnnscope.render.style import PICTURES, check_format
from cnnscope.render.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNSAFE = re.compile(r"[^\w.-]")
"""What the name of an array may have and the name of a file had better not."""


@dataclass(frozen=True)
class Illustrated(Result):
    """Figures with a picture of them: ``report`` is the result, ``draw`` gives the picture in a format.

    ``name`` is the picture's default file name without a suffix, ``arrays`` are the raw values that it shows, by name.
    """

    KINDS: ClassVar[Sequence[str]] = PICTURES

    report: Result
    draw: Callable[[str], bytes]
    name: str
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def as_document(self) -> Document | Mapping[str, Any]:
        return self.report.as_document()

    def records(self) -> list[dict[str, Cell]]:
        return self.report.records()

    def table(self) -> Table:
        return self.report.table()

    def without_notes(self) -> Self:
        return replace(self, report=self.report.without_notes())

    def drawn(self, kind: str) -> bytes:
        return self.draw(kind)

    def write_picture(self, path: Path, kind: str) -> tuple[File, ...]:
        """Writes ``x.png``, and beside it ``x.NAME.npy`` for each array and ``x.json``.

        The last is the document with ``picture`` and ``arrays``, names of files by names of arrays. The picture is
        written last: where it is, everything else is.
        """
        picture = self.drawn(kind)
        names = {name: f"{path.stem}.{_UNSAFE.sub('_', name)}.npy" for name in self.arrays}
        arrays = [written(path.with_name(names[name]), "npy", npy(array)) for name, array in self.arrays.items()]
        text = json.dumps(self.manifest(path.name, names), indent=2, ensure_ascii=False) + "\n"
        document = written(path.with_suffix(".json"), "json", text)
        return written(path, kind, picture), document, *arrays[::-1]

    def manifest(self, picture: str, arrays: Mapping[str, str]) -> dict[str, Any]:
        """The document beside a picture, with the names of the picture's file and of the arrays' files."""
        return {**self.to_dict(), "picture": picture, "arrays": arrays}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {**super()._repr_mimebundle_(), "image/png": b64encode(self.draw("png")).decode()}


@dataclass(frozen=True, repr=False)
class Drawing:
    """A picture alone: ``draw`` gives it in one of ``kinds``; ``name`` is its default file name without a suffix."""

    draw: Callable[[str], bytes]
    name: str
    kinds: Sequence[str] = PICTURES

    @explained
    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes the picture in the format that the suffix names. E604 for another, E405 for a failure."""
        kind = check_format(kind_of(Path(path)), self.kinds)
        return (written(path, kind, self.draw(kind)),)

    def to_dict(self) -> dict[str, Any]:
        """The figure as data, where it is also drawn as ``json``; else E604."""
        found: dict[str, Any] = json.loads(self.draw(check_format("json", self.kinds)))
        return found

    def __repr__(self) -> str:
        return f"<Drawing of {self.name}: write(path) writes .{' .'.join(self.kinds)}>"

    def _repr_svg_(self) -> str:
        return self.draw("svg").decode()


@dataclass(frozen=True, repr=False)
class Text:
    """A text that stands alone: a program, a spec. ``kind`` says what it is, ``name`` is a name for its file."""

    text: str
    kind: str
    name: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name} ({self.kind}): print it, or write(path)>"

    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes the text, with any suffix. E405 where the file cannot be written."""
        return (written(path, self.kind, f"{self.text}\n"),)


@dataclass(frozen=True, repr=False)
class Page(Text):
    """A page that needs no other file."""

    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes the page. E404 for another suffix than .html, E405 for a file that cannot be written."""
        check_page(Path(path))
        return (written(path, self.kind, self.text),)

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.text)}" width="100%" height="800"></iframe>'


def check_page(path: Path) -> None:
    """E404 for a file whose suffix is not a page's."""
    if path.suffix.lower() not in ("", ".html", ".htm"):
        raise CnnscopeError.of("E404", f"`{path.name}` is not the name of a page", hint="use .html")


_SPELLINGS = {"mermaid": "mmd", "gv": "dot"}
"""Suffixes that stand for a format of another name."""


def kind_of(path: Path) -> str:
    """The format that a file's suffix names, known or not."""
    suffix = path.suffix.lower().removeprefix(".")
    return _SPELLINGS.get(suffix, suffix)


def file_name(title: str) -> str:
    """A title as a file's name: letters, digits, dots and dashes, not longer than 80."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", title).strip("-.")[:80].lower() or "model"


def npy(array: Any) -> bytes:
    """An array as the content of a .npy file."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
