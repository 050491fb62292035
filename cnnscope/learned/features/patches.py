"""The images that a channel answers to most, each cut out by what the unit sees of it, and how it answers to all.

Source: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4 and figure 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnscope.errors import CnnscopeError
from cnnscope.learned.features.features import FeatureLayer, batches, check_channel, choose, unit_of
from cnnscope.learned.features.histogram import Histogram
from cnnscope.learned.features.seen import Fields, Seen
from cnnscope.learned.filters.dead import RECTIFIERS
from cnnscope.trained.images import ImageSet, Sample
from cnnscope.trained.network import TrainedNetwork

MOST = 9
"""Patches of a channel."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Patch:
    """One image where a channel answers most: ``position`` is the row and column in the map.

    ``place`` is the image's number in the set, ``pixels`` (C, H, W) all of it.
    """

    sample: str
    label: int | None
    place: int
    activation: float
    position: tuple[int, int]
    pixels: Pixels
    seen: Seen

    def cut(self, image: NDArray[np.generic] | None = None) -> NDArray[np.generic]:
        """(C, h, w) the exact field's part of the image, or of another array of its size."""
        (top, bottom), (left, right) = self.seen.exact
        return (self.pixels if image is None else image)[:, top : bottom + 1, left : right + 1]


@dataclass(frozen=True)
class Answers:
    """A channel over a set of images: its patches, the most first, and the distribution of all its activations.

    ``maxima`` (images,) has the largest activation of each image, ``low`` and ``high`` the extremes of all, ``above``
    the share that is more than 0. ``dead`` by ``rule``: behind its activation it carries nothing on these images.
    """

    patches: tuple[Patch, ...]
    maxima: NDArray[np.float32]
    histogram: Histogram
    low: float
    high: float
    above: float
    dead: bool
    rule: str
    images: int
    skipped: int

    @property
    def constant(self) -> bool:
        return self.low == self.high


@dataclass(frozen=True)
class _Best:
    activation: float
    place: int
    position: tuple[int, int]
    sample: Sample
    pixels: Pixels


def answers(
    network: TrainedNetwork,
    layer: FeatureLayer,
    channel: int,
    images: ImageSet,
    limit: int,
    tick: Callable[[int], None] = lambda done: None,
) -> Answers:
    """Runs up to ``limit`` images and keeps the `MOST` that a channel answers to most, one place an image.

    Of equal activations the earlier image wins, in it the earlier row, then column. ``tick`` hears how many ran.
    `CnnscopeError`: E203 no such channel, E460 no images, E461 unreadable ones, E465 activations that are not finite.
    """  # fmt: skip
    check_channel(layer, channel)
    watched, activation = _watched(network, layer)
    best: list[_Best] = []
    maxima, histogram, lost = [], Histogram(), 0
    count = above = 0
    extremes, ends = _Extremes(), _Extremes()

    def skipped(name: str, reason: str) -> None:
        nonlocal lost
        lost += 1

    for batch in batches(network, list(dict.fromkeys((layer, watched))), images, limit, skipped):
        maps = batch.maps[layer.name][:, channel]
        flat = maps.reshape(len(maps), -1)
        at = flat.argmax(axis=1)
        maxima.append(flat[np.arange(len(flat)), at])
        found = (
            _Best(
                float(maxima[-1][i]),
                batch.first + i,
                divmod(int(at[i]), maps.shape[2]),
                batch.samples[i],
                batch.pixels[i],
            )
            for i in range(len(flat))
        )
        best = sorted([*best, *found], key=lambda one: (-one.activation, one.place))[:MOST]
        histogram.add(maps)
        extremes.add(maps)
        ends.add(batch.maps[watched.name][:, channel])
        count, above = count + maps.size, above + int((maps > 0).sum())
        tick(batch.first + len(maps))
    if not maxima:
        raise CnnscopeError.of(
            "E460", f"there are no images in `{images.path}` that can be read", hint="use PNG or JPEG files"
        )
    rectified = activation in RECTIFIERS
    fields = Fields(network.graph, layer)
    patches = tuple(
        Patch(
            one.sample.name,
            one.sample.label,
            one.place,
            one.activation,
            one.position,
            one.pixels,
            fields.at(one.position),
        )
        for one in best
    )
    return Answers(
        patches, np.concatenate(maxima), histogram, extremes.low, extremes.high, above / count,
        ends.high <= 0 if rectified else ends.low == ends.high,
        f"never above 0 behind {activation}" if rectified else f"never varies behind {activation or layer.name}",
        sum(map(len, maxima)), lost,
    )  # fmt: skip


@dataclass
class _Extremes:
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: NDArray[np.float32]) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))


def _watched(network: TrainedNetwork, layer: FeatureLayer) -> tuple[FeatureLayer, str | None]:
    """Where to see whether a channel is dead: behind the layer's norm and activation; and that activation."""
    last = unit_of(network.graph, layer.name).last
    tag = last.op.tag if last.op.category == "activation" else None
    if last.layer not in network.layer_names():
        return layer, None
    (watched,) = choose(network, [last.layer])
    return (watched, tag) if watched.channels == layer.channels else (layer, None)
