"""How the images of an audit are divided: pieces that are measured, written and found again as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnscope.trained.images import ImageSet, Shard

SIZE = 128
"""Images a piece has at most: what is lost when a process dies, and what ranks share out."""


@dataclass(frozen=True)
class Piece:
    """Some entries of one shard of the images. ``first`` is the place in the whole set of the shard's first entry."""

    index: int
    shard: Shard
    places: tuple[int, ...]
    first: int

    @property
    def name(self) -> str:
        """The stem of its files."""
        return f"{self.index:05d}"


def divide(images: ImageSet, size: int = SIZE, limit: int | None = None) -> tuple[Piece, ...]:
    """Pieces of at most ``size`` entries that never cross shards; ``limit`` entries at even distances, or all.

    Neighbours are often of one class, and images are compared with others of their piece: where entries can be read in
    any order a piece takes every n-th of its shard, else neighbours. Who computes a piece plays no part.
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
    """``count`` of the numbers below ``total``, at even distances from 0; all where there are no more."""
    if count is None or count >= total:
        return range(total)
    return [i * total // count for i in range(count)]
