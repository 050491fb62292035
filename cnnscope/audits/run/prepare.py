"""From pictures to what the measuring loop takes: pixels of one size with as much around the input as may be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cnnscope.audits.protocol.protocol import Border, Protocol
from cnnscope.trained.images import Sample, Skipped
from cnnscope.trained.preprocess import Preprocess


@dataclass(frozen=True)
class Prepared:
    """N images: ``pixels`` (N, C, H + 2 margin, W + 2 margin) uint8 and, of each, what outcomes are stored with.

    ``label`` is -1 where unknown. ``enlarged`` counts pictures that had fewer pixels than the input.
    """

    pixels: NDArray[np.uint8]
    name: tuple[str, ...]
    key: tuple[str, ...]
    label: NDArray[np.int32]
    skipped: tuple[Skipped, ...]
    enlarged: int

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True)
class Classes:
    """What the labels of a set of images are to the network: ``of`` maps theirs to its own, None leaves them as they
    are; without ``known`` they are left out. ``count`` classes has the network."""

    count: int
    known: bool = True
    of: tuple[int, ...] | None = None
    note: str | None = None

    def label(self, label: int | None) -> int | None:
        """The network's number for an image's label, -1 where unknown, None where it has no such class."""
        if label is None or not self.known:
            return -1
        mapped = label if self.of is None else self.of[label]
        return mapped if mapped < self.count else None


def match_classes(found: Sequence[str], names: Sequence[str], count: int) -> Classes:
    """Folders named as the network's classes are those, whatever their order; else as many of them count in order."""
    if found and all(name in names for name in found):
        return Classes(count, of=tuple(list(names).index(name) for name in found))
    if found and len(found) != count:
        text = f"labels are left out: the images are of {len(found)} classes, the network knows {count}"
        return Classes(count, known=False, note=text)
    return Classes(count)


def adapted(protocol: Protocol, preprocess: Preprocess, border: Border | None) -> tuple[Protocol, Preprocess]:
    """The protocol with the border asked for, or that of the images, and pictures of the size the protocol fixes.

    A paper's own border gives way only to one that is asked for.
    """
    height, width = preprocess.size[1:]
    own = preprocess.border if protocol.border == "crop" else None
    wanted = border or cast("Border | None", own)  # preprocessing has checked its name
    if protocol.resize is not None:
        more = protocol.resize - min(height, width)
        side = protocol.resize if height == width else (height + more, width + more)
        preprocess = replace(preprocess, resize=side)
    if wanted is None:
        return protocol, preprocess
    if protocol.resize is not None:  # there the picture is made larger than the input, for any border
        return replace(protocol, border=wanted), preprocess
    return protocol.bordered(wanted), preprocess


def prepare(
    entries: Iterable[Sample | Skipped], places: Iterable[int], preprocess: Preprocess, protocol: Protocol,
    classes: Classes,
) -> tuple[Prepared, tuple[int, ...]]:  # fmt: skip
    """What can be used of the entries at some places, and at which of them that is."""
    pixels: list[NDArray[np.uint8]] = []
    used: list[Sample] = []
    labels: list[int] = []
    where: list[int] = []
    skipped: list[Skipped] = []
    for place, entry in zip(places, entries, strict=True):
        if isinstance(entry, Skipped):
            skipped.append(entry)
            continue
        label = classes.label(entry.label)
        if label is None:
            skipped.append(Skipped(entry.name, f"its label {entry.label} is none of {classes.count} classes"))
            continue
        pixels.append(_canvas(entry, preprocess, protocol))
        used.append(entry)
        labels.append(label)
        where.append(place)
    channels, height, width = preprocess.size
    margin = 2 * protocol.margin
    array = np.stack(pixels) if pixels else np.zeros((0, channels, height + margin, width + margin), np.uint8)
    enlarged = sum(entry.image.height < height or entry.image.width < width for entry in used)
    names, keys = tuple(entry.name for entry in used), tuple(entry.key for entry in used)
    prepared = Prepared(
        pixels=array, name=names, key=keys, label=np.array(labels, np.int32), skipped=tuple(skipped), enlarged=enlarged
    )
    return prepared, tuple(where)


def _canvas(entry: Sample, preprocess: Preprocess, protocol: Protocol) -> NDArray[np.uint8]:
    """(C, H + 2 margin, W + 2 margin): what the picture has of the margin, the rest as the border says."""
    resized = preprocess.resized(entry.image)
    room = min(preprocess.room(resized), protocol.margin)
    pixels = preprocess.cropped(resized, room)
    more = protocol.margin - room
    if more == 0:
        return pixels
    widths = ((0, 0), (more, more), (more, more))
    if protocol.border in ("crop", "reflect"):
        return np.pad(pixels, widths, mode="reflect")
    if protocol.border == "circular":
        return np.pad(pixels, widths, mode="wrap")
    padded = np.pad(pixels, widths)
    if protocol.border == "mean":
        fill = np.round(np.array(preprocess.mean) * 255).astype(np.uint8)
        padded[...] = fill[:, None, None]
        padded[:, more:-more, more:-more] = pixels
    return padded
