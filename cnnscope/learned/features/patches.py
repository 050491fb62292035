"""The images on which a channel is most active, cut to what its unit sees, and their projections.

Source: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", sections 2.1 and 4, figure 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from cnnscope.attribution.engine.canonicalize import canonicalize, up_to
from cnnscope.attribution.engine.rules import Rule, deconvolved, guided, with_rules
from cnnscope.errors import CnnscopeError
from cnnscope.learned.features.layers import RECTIFIERS, FeatureLayer, Fields, Seen, check_channel, choose, unit_of
from cnnscope.learned.features.maps import batches
from cnnscope.nn.ops import role_of
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


RULES: dict[str, Rule] = {"deconvolution": deconvolved, "guided backpropagation": guided}
"""Zeiler & Fergus 2014, section 2.1; Springenberg et al. 2015, section 3.4."""


def activations(network: fx.GraphModule) -> tuple[str, ...]:
    """The kinds of activations in a canonical network, which the rules act on."""
    modules = (network.get_submodule(str(node.target)) for node in network.graph.nodes if node.op == "call_module")
    return tuple(sorted({type(module).__name__ for module in modules if role_of(module) == "activation"}))


def project(
    network: fx.GraphModule,
    order: Sequence[int] | None,
    x: Tensor,
    channel: int,
    places: Sequence[tuple[int, int]],
    rule: Rule,
) -> Tensor:
    """(N, C, H, W) one unit's activation an image, sent back to the pixels with ``rule`` at every activation.

    All other activations of the layer count as 0, and so does one that is not above 0.

    ``network`` is canonical and ends with the layer (`up_to`); ``order`` brings its output to (N, channels, height,
    width), None where it is (N, channels). The unit of image n is ``channel`` at ``places[n]``, row and column. Max
    pools send everything to where the maximum was: the switches of Zeiler & Fergus.
    """
    ruled = with_rules(network, lambda node, module: rule if role_of(module) == "activation" else None)
    rows, columns = (torch.tensor(side, device=x.device) for side in zip(*places, strict=True))
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        output = ruled(x)
        maps = output[:, :, None, None] if order is None else output.permute(*order)
        units = maps[torch.arange(len(x), device=x.device), channel, rows, columns]
        (found,) = torch.autograd.grad(
            (units * units.detach().clamp(min=0)).sum(), x, allow_unused=True, materialize_grads=True
        )
    return found.detach()


def canonical_up_to(module: Any, layer: str) -> fx.GraphModule | str:
    """The network up to a layer in the form that rules need, or why there is none."""
    try:
        return up_to(canonicalize(module), layer)
    except CnnscopeError as error:
        return error.diagnostics[0].message


BINS = 1024


@dataclass
class Histogram:
    """Counts of numbers in `BINS` bins of one width, half of them below 0; it grows with what it is given."""

    reach: float = 2.0**-30
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[np.float32]) -> None:
        largest = float(np.abs(values).max(initial=0))
        while largest >= self.reach:  # two bins become one, in the middle half
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(merged, BINS // 4)
            self.reach *= 2
        index = np.floor((values.astype(np.float64) / self.reach + 1) * (BINS / 2)).astype(np.int64)
        self.counts += np.bincount(index.ravel(), minlength=BINS)

    @property
    def edges(self) -> NDArray[np.float64]:
        return np.linspace(-self.reach, self.reach, BINS + 1)
