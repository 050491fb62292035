"""The images on which a channel is most active, cut to what its unit sees, and their projections.

Source: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", sections 2.1 and 4, figure 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from cnnscope.attribution.engine.canonicalize import canonicalize, up_to
from cnnscope.attribution.engine.rules import Rule, deconvolved, guided, with_rules
from cnnscope.errors import CnnscopeError
from cnnscope.learned.layers import FeatureLayer, Fields, Outlet, Seen, check_channel, choose, outlet, unit_of
from cnnscope.learned.maps import batches
from cnnscope.nn.ops import role_of
from cnnscope.trained.images import ImageSet
from cnnscope.trained.network import TrainedNetwork

MOST = 9
"""Patches of a channel."""
BINS = 1024

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Patch:
    """An image on which a channel is most active, at the row and column ``position`` of the map.

    ``place`` is the image's number in the set, ``pixels`` (C, H, W) are all of the image.
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


@dataclass
class Histogram:
    """Counts of numbers in `BINS` bins of one width, half of them below 0; the range grows with the numbers added.

    ``low`` and ``high`` are the extremes, ``positive`` counts the numbers above 0.
    """

    reach: float = 2.0**-30
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    low: float = np.inf
    high: float = -np.inf
    positive: int = 0

    def add(self, values: NDArray[np.float32]) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.positive += int((values > 0).sum())
        while max(-self.low, self.high) >= self.reach:  # two bins become one, in the middle half
            self.counts = np.pad(self.counts.reshape(-1, 2).sum(axis=1), BINS // 4)
            self.reach *= 2
        index = np.floor((values.astype(np.float64) / self.reach + 1) * (BINS / 2)).astype(np.int64)
        self.counts += np.bincount(index.ravel(), minlength=BINS)

    @property
    def edges(self) -> NDArray[np.float64]:
        return np.linspace(-self.reach, self.reach, BINS + 1)


@dataclass(frozen=True)
class Activity:
    """A channel on a set of images: its patches, the most active first, and the distribution of all its activations.

    ``maxima`` (images,) are the largest activations of each image. The channel is ``dead`` by ``rule`` if its output
    after the activation carries no information on these images. ``skipped`` images could not be read.
    """

    patches: tuple[Patch, ...]
    maxima: NDArray[np.float32]
    histogram: Histogram
    dead: bool
    rule: str
    skipped: int

    @property
    def images(self) -> int:
        return len(self.maxima)

    @property
    def low(self) -> float:
        return self.histogram.low

    @property
    def high(self) -> float:
        return self.histogram.high

    @cached_property
    def above(self) -> float:
        """The share of activations above 0."""
        return self.histogram.positive / int(self.histogram.counts.sum())

    @property
    def constant(self) -> bool:
        return self.low == self.high


def activity(
    network: TrainedNetwork,
    layer: FeatureLayer,
    channel: int,
    images: ImageSet,
    limit: int,
    tick: Callable[[int], None] = lambda done: None,
) -> Activity:
    """Runs up to ``limit`` images and keeps the `MOST` on which a channel is most active, at one place of each image.

    Of equal activations the earlier image comes first, and in it the earlier row, then column. ``tick`` is called with
    the number of images that have run.
    `CnnscopeError`: E203 no such channel, E460 no images, E461 unreadable ones, E465 activations that are not finite.
    """
    check_channel(layer, channel)
    watched, end = _watched(network, layer)
    best: list[Any] = []
    maxima, ends, skipped, histogram = [], [], [], Histogram()
    both = list(dict.fromkeys((layer, watched)))
    for batch in batches(network, both, images, limit, lambda *one: skipped.append(one)):
        maps, last = batch.maps[layer.name][:, channel], batch.maps[watched.name][:, channel]
        flat = maps.reshape(len(maps), -1)
        at = flat.argmax(axis=1)
        maxima.append(flat[np.arange(len(flat)), at])
        found = zip(maxima[-1], range(batch.first, batch.first + len(at)), at, batch.samples, batch.pixels, strict=True)
        best = sorted([*best, *found], key=lambda one: (-one[0], one[1]))[:MOST]
        histogram.add(maps)
        ends += [float(last.min()), float(last.max())]
        tick(batch.first + len(maps))
    if not maxima:
        message = f"there are no images in `{images.path}` that can be read"
        raise CnnscopeError.of("E460", message, hint="use PNG or JPEG files")
    fields = Fields(network.graph, layer)
    patches = []
    for activation, place, at, sample, pixels in best:
        position = divmod(int(at), layer.size[1])
        patches.append(Patch(
            sample=sample.name, label=sample.label, place=place, activation=float(activation), position=position,
            pixels=pixels, seen=fields.at(position),
        ))  # fmt: skip
    dead = bool(end.dead(min(ends), max(ends)))
    return Activity(patches=tuple(patches), maxima=np.concatenate(maxima), histogram=histogram, dead=dead,
                    rule=end.rule(layer.name), skipped=len(skipped))  # fmt: skip


def _watched(network: TrainedNetwork, layer: FeatureLayer) -> tuple[FeatureLayer, Outlet]:
    """The layer whose output shows whether a channel is dead, and its outlet; without such a layer the layer itself."""
    end = outlet(unit_of(network.graph, layer.name))
    if end.row in network.layer_names():
        (watched,) = choose(network, [end.row])
        if watched.channels == layer.channels:
            return watched, end
    return layer, Outlet(layer.name, None)


RULES: dict[str, Rule] = {"deconvolution": deconvolved, "guided backpropagation": guided}
"""How activations pass gradients: Zeiler & Fergus 2014, section 2.1; Springenberg et al. 2015, section 3.4."""


def activations(network: fx.GraphModule) -> tuple[str, ...]:
    """The classes of activations in a canonical network, on which the rules act."""
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
    """(N, C, H, W) the activation of one unit on each image, sent back to the pixels with ``rule`` at every activation.

    All other activations of the layer are set to 0, and so is this one unless it is above 0.

    ``network`` is canonical and ends with the layer (`up_to`); ``order`` permutes its output to (N, channels, height,
    width), None where it is (N, channels). The unit of image n is ``channel`` at ``places[n]``, row and column. Max
    pools send everything to the position of the maximum: the switches of Zeiler & Fergus.
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
    """The network up to a layer in the form that rules need, or the reason why it has none."""
    try:
        return up_to(canonicalize(module), layer)
    except CnnscopeError as error:
        return error.diagnostics[0].message
