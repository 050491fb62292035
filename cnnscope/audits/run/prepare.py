"""From pictures to the input of the measuring loop: pixels of one size, with as much around the input as may be
shown."""

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
    """N images: ``pixels`` (N, C, H + 2 margin, W + 2 margin) uint8, and what is stored of each image beside its
    outcomes.

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
class LabelMatch:
    """How the labels of a set of images relate to the network's ``count`` classes.

    ``of`` maps the set's labels to the network's; None leaves them as they are. If not ``known``, labels are ignored.
    """

    count: int
    known: bool = True
    of: tuple[int, ...] | None = None
    note: str | None = None

    def label(self, label: int | None) -> int | None:
        """The network's number for an image's label: -1 if unknown, None if the network has no such class."""
        if label is None or not self.known:
            return -1
        mapped = label if self.of is None else self.of[label]
        return mapped if mapped < self.count else None


def match_classes(found: Sequence[str], names: Sequence[str], count: int) -> LabelMatch:
    """Matches classes by name if all names are the network's; otherwise by order if there are equally many."""
    if found and all(name in names for name in found):
        return LabelMatch(count, of=tuple(list(names).index(name) for name in found))
    if found and len(found) != count:
        text = f"labels are left out: the images are of {len(found)} classes, the network knows {count}"
        return LabelMatch(count, known=False, note=text)
    return LabelMatch(count)


def adapted(protocol: Protocol, preprocess: Preprocess, border: Border | None) -> tuple[Protocol, Preprocess]:
    """The protocol with the requested border or that of the images, and preprocessing to the size the protocol fixes.

    A border that a paper's protocol fixes is replaced only by a requested one.
    """
    height, width = preprocess.size[1:]
    own = preprocess.border if protocol.border == "crop" else None
    wanted = border or cast("Border | None", own)  # its name was checked by the preprocessing
    if protocol.resize is not None:
        more = protocol.resize - min(height, width)
        side = protocol.resize if height == width else (height + more, width + more)
        preprocess = replace(preprocess, resize=side)
    if wanted is None:
        return protocol, preprocess
    if protocol.resize is not None:  # then the picture is larger than the input, with any border
        return replace(protocol, border=wanted), preprocess
    return protocol.bordered(wanted), preprocess


def prepare(
    entries: Iterable[Sample | Skipped], places: Iterable[int], preprocess: Preprocess, protocol: Protocol,
    classes: LabelMatch,
) -> tuple[Prepared, tuple[int, ...]]:  # fmt: skip
    """The usable ones of the entries at some places, and their places."""
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
    """(C, H + 2 margin, W + 2 margin): the picture's own pixels, and beyond them what the border says."""
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
