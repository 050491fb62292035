"""Documents of files: those that a command wrote, weight files beside a network, and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from cnnscope.render.documents.document import FORMAT_VERSION, INLINE, Count, Document, keywords


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


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor of a weight file or of a network."""

    shape: Sequence[Count]
    """as stored"""
    dtype: str


@dataclass(frozen=True, kw_only=True)
class LoneTensor:
    """A tensor that only one side has."""

    key: str
    tensor: Tensor = field(metadata=INLINE)
    nearest: str | None
    """the most similar name on the other side"""


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """A tensor whose shape or type differs."""

    key: str
    wanted: Tensor
    found: Tensor


@dataclass(frozen=True, kw_only=True)
class WeightsCheckDocument(Document):
    """A weight file beside a network: ``cnnscope weights check``."""

    format: Literal["cnnscope.weights_check"] = "cnnscope.weights_check"
    network: str
    file: str
    fits: bool
    matched: Count
    stripped: str
    """a prefix taken off every name in the file"""
    wrapper: Sequence[str]
    """the keys the state dict lay under"""
    ignored: Sequence[str]
    counters: Sequence[str]
    """batch norm counters that only one side has"""
    missing: Sequence[LoneTensor]
    extra: Sequence[LoneTensor]
    misfits: Sequence[Misfit]
    hint: str | None


@dataclass(frozen=True, kw_only=True)
class AmbiguousLayers:
    """Layers that fit one another equally well."""

    network: Sequence[str]
    file: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class WeightsMapDocument(Document):
    """Which names in a weight file and in the network correspond: ``cnnscope weights map``; ``--map`` reads it."""

    format: Literal["cnnscope.weights_map"] = "cnnscope.weights_map"
    network: str
    file: str
    by: str
    """what the mapping rests on"""
    complete: bool
    pairs: Mapping[str, str]
    """the network's key to the name in the file"""
    ignore: Sequence[str] = ()
    """names in the file that have no place in the network: what a reader moves here is left out"""
    unmapped: Sequence[str]
    unused: Sequence[str]
    ambiguous: Sequence[AmbiguousLayers]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in a file; null where there is none."""

    file: str | None
    line: int | None
    column: int | None


@dataclass(frozen=True, kw_only=True)
class ErrorNote:
    """A further place that has to do with an error."""

    message: str
    place: Place = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class ErrorItem:
    """One thing that is wrong."""

    code: Annotated[str, keywords(pattern="^E[0-9]{3}$")]
    message: str
    place: Place = field(metadata=INLINE)
    notes: Sequence[ErrorNote]
    hint: str | None


@dataclass(frozen=True, kw_only=True)
class ErrorDocument:
    """All that is wrong with what a command was given; on stderr."""

    format: Literal["cnnscope.error"] = "cnnscope.error"
    format_version: str = FORMAT_VERSION
    errors: Annotated[Sequence[ErrorItem], keywords(minItems=1)]
