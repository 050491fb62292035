"""What a set of images is made of: shards that are read one by one, samples in them, and what had to be left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SHARD = 1024
"""Images a shard has, where the set has no pieces of its own."""


@dataclass(frozen=True)
class Sample:
    """One image: upright, grey or RGB, 8 bits a channel. ``label`` is None where unknown, ``key`` hashes its file."""

    name: str
    image: Image
    label: int | None
    key: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that gives no image, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """A piece of a set that is read as a whole, always in the same order; ``identity`` changes with its content."""

    name: str
    identity: str
    read: Callable[[], Iterator[Sample | Skipped]]


@dataclass(frozen=True)
class ImageSet:
    """A set of images. ``classes`` are the names its labels count, empty where it has none; ``skipped`` what was no
    candidate from the start."""

    path: Path
    kind: str
    shards: tuple[Shard, ...]
    classes: tuple[str, ...] = ()
    labelled: bool = False
    skipped: tuple[Skipped, ...] = ()

    def __iter__(self) -> Iterator[Sample | Skipped]:
        for shard in self.shards:
            yield from shard.read()

    @cached_property
    def sha256(self) -> str:
        """Over the shards' names and identities."""
        lines = "".join(f"{shard.name} {shard.identity}\n" for shard in self.shards)
        return hashlib.sha256(lines.encode()).hexdigest()
