"""Sets of images: shards that are read one by one, and the samples in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from cnnscope.errors import CnnscopeError
from cnnscope.files import check_regular, encoded, os_reason
from cnnscope.pictures import TOO_LARGE, decoded

SHARD = 1024
"""The number of images in a shard if the set has no pieces of its own."""


@dataclass(frozen=True)
class Sample:
    """One image: upright, grey or RGB, 8 bits a channel. ``label`` is None where unknown, ``key`` hashes its file."""

    name: str
    image: Image.Image
    label: int | None
    key: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that gives no image, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """A piece of a set whose ``count`` entries have one order; ``identity`` changes with its content.

    ``reader`` gives the entries at some places, in order. ``random_access`` says that it need not read the others.
    """

    name: str
    identity: str
    count: int
    reader: Callable[[Sequence[int]], Iterator[Sample | Skipped]]
    random_access: bool = True

    def read(self, places: Sequence[int] | None = None) -> Iterator[Sample | Skipped]:
        """Yields the entries at ``places`` (ascending, from 0; all by default). E461 if the shard is damaged."""
        return self.reader(range(self.count) if places is None else places)


@dataclass(frozen=True)
class ImageSet:
    """A set of images. ``classes`` are the names of its labels, empty if it has none. ``skipped`` are files that cannot
    be images."""

    path: Path
    kind: str
    shards: tuple[Shard, ...]
    classes: tuple[str, ...] = ()
    labelled: bool = False
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        """Number of entries, whether or not they turn out to be images."""
        return sum(shard.count for shard in self.shards)

    def __iter__(self) -> Iterator[Sample | Skipped]:
        for shard in self.shards:
            yield from shard.read()

    @cached_property
    def sha256(self) -> str:
        """sha256 of the shards' names and identities."""
        lines = "".join(f"{shard.name} {shard.identity}\n" for shard in self.shards)
        return hashlib.sha256(encoded(lines)).hexdigest()


def files_of(path: Path, ending: str) -> list[Path]:
    """The files of a folder with this ending by name, or one file. E461 for what is no file, such as a named pipe."""
    files = sorted(path.glob(f"*{ending}")) if path.is_dir() else [path]
    for file in files:
        try:
            check_regular(file)
        except OSError as error:
            raise CnnscopeError.of("E461", f"cannot read the images in `{file}`: {os_reason(error)}") from None
    return files


SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".jp2")


def sample(name: str, content: bytes | None, label: int | None) -> Sample | Skipped:
    """A sample from a file's bytes, or why it is skipped."""
    picture = decoded(content)
    if content is TOO_LARGE or isinstance(picture, str):
        assert isinstance(picture, str)
        return Skipped(name, picture)
    return Sample(name, picture, label, hashlib.sha256(content).hexdigest())
