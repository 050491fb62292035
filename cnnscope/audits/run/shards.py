"""How the images of an audit are divided into shards, which of several processes measures which, and the shards' files.

A shard's file is written completely or not at all, and is used only if its content is what was written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cnnscope.audits.outcomes import Outcomes, unpacked
from cnnscope.errors import CnnscopeError
from cnnscope.files import write_bytes
from cnnscope.trained.images import ImageSet, Shard, Skipped

SIZE = 128
"""The default number of images in a shard: as many are lost if a process dies."""


@dataclass(frozen=True)
class Piece:
    """A shard of an audit: some entries of one shard of the image set, whose first entry has the place ``first``."""

    index: int
    shard: Shard
    places: tuple[int, ...]
    first: int

    @property
    def name(self) -> str:
        """The stem of its file names."""
        return f"{self.index:05d}"


def divide(images: ImageSet, size: int = SIZE, limit: int | None = None) -> tuple[Piece, ...]:
    """Divides a set into shards of at most ``size`` entries; uses all entries, or ``limit`` of them, evenly spaced.

    Neighbours are often of one class, and images are compared with others of their shard. So where entries can be read
    in any order, a shard of the audit has every n-th entry of a shard of the set; otherwise it has neighbours.
    """
    pieces: list[Piece] = []
    chosen = spread(len(images), limit)
    first = 0
    for shard in images.shards:
        places = [i - first for i in chosen if first <= i < first + shard.count]
        count = -(-len(places) // size)
        for j in range(count):
            part = places[j::count] if shard.random_access else places[j * size : (j + 1) * size]
            pieces.append(Piece(len(pieces), shard, tuple(part), first))
        first += shard.count
    return tuple(pieces)


def spread(total: int, count: int | None) -> Sequence[int]:
    """``count`` of the numbers below ``total``, evenly spaced from 0; all if there are no more."""
    if count is None or count >= total:
        return range(total)
    return [i * total // count for i in range(count)]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which process this is: ``rank`` of ``world`` on all machines, ``local`` among those of this machine, from 0.

    Ranks need no connection to each other."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str] | None = None) -> Ranks:
        """From RANK, WORLD_SIZE and LOCAL_RANK as `torchrun` sets them; one process without them.

        E478 if they are wrong.
        """
        environment = os.environ if environment is None else environment
        rank, world = (_whole(environment, name, least) for name, least in (("RANK", 0), ("WORLD_SIZE", 1)))
        local = _whole(environment, "LOCAL_RANK", 0)
        if rank >= world:
            raise CnnscopeError.of("E478", f"`RANK={rank}` of `WORLD_SIZE={world}`: ranks count from 0",
                                   hint="`torchrun` sets both")  # fmt: skip
        return cls(rank, world, local)

    @property
    def leads(self) -> bool:
        """Whether this process merges the shards and writes the result."""
        return self.rank == 0

    def order(self, items: Sequence[T]) -> list[T]:
        """The items in this rank's order: its own share first (every ``world``-th), then those of other ranks."""
        own = list(items[self.rank :: self.world])
        return own + [item for i, item in enumerate(items) if i % self.world != self.rank]

    def device(self, name: str) -> str:
        """The device of this rank: with several ranks ``cuda`` is ``cuda:LOCAL_RANK``."""
        if self.world == 1 or name not in ("auto", "cuda"):
            return name
        if name == "auto":
            import torch

            if not torch.cuda.is_available():
                return name
        return f"cuda:{self.local}"


def _whole(environment: Mapping[str, str], name: str, least: int) -> int:
    text = environment.get(name, str(least))
    if not text.strip().isdecimal() or int(text) < least:
        raise CnnscopeError.of("E478", f"`{name}={text}` is no whole number from {least}", hint="`torchrun` sets it")
    return int(text)


FOLDER = "shards"
"""The folder of the shards' files, inside that of the audit."""


@dataclass(frozen=True)
class Measured:
    """A measured shard: N images and their ``places`` (N) in the whole set.

    ``batch`` is the smallest batch that was used, ``seconds`` the time it took, reading pictures included.
    """

    outcomes: Outcomes
    places: tuple[int, ...]
    skipped: tuple[Skipped, ...] = ()
    enlarged: int = 0
    batch: int = 0
    seconds: float = 0.0

    def save(self, path: Path, identity: str) -> None:
        """Writes an .npz, which `Outcomes.load` reads too; E405 where it cannot be written."""
        facts = {
            "identity": identity, "sha256": self.outcomes.result_hash(), "places": list(self.places),
            "skipped": [[s.name, s.reason] for s in self.skipped], "enlarged": self.enlarged, "batch": self.batch,
            "seconds": self.seconds,
        }  # fmt: skip
        write_bytes(path, self.outcomes.to_bytes({"piece": facts}))


def load(path: Path, identity: str) -> Measured:
    """What `Measured.save` wrote for the same audit; E475 where it is damaged or of another one."""
    outcomes = Outcomes.load(path)
    header, _ = unpacked(path)
    try:
        facts: Mapping[str, Any] = header["piece"]
        if facts["identity"] != identity:
            raise ValueError("it is of another audit")
        if facts["sha256"] != outcomes.result_hash():
            raise ValueError("its content is not what was written")
        skipped = tuple(Skipped(name, reason) for name, reason in facts["skipped"])
        return Measured(
            outcomes=outcomes, places=tuple(facts["places"]), skipped=skipped, enlarged=facts["enlarged"],
            batch=facts["batch"], seconds=facts["seconds"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise CnnscopeError.of("E475", f"`{path}` is no piece of this audit: {error}") from None
