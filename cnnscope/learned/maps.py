"""Runs a network on images and keeps what its layers return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnscope.attribution.contract import fitting
from cnnscope.attribution.engine.canonicalize import canonicalize, up_to
from cnnscope.errors import CnnscopeError
from cnnscope.learned.layers import FeatureLayer
from cnnscope.nn.build import Network
from cnnscope.trained.images import ImageSet, Sample
from cnnscope.trained.network import TrainedNetwork

Maps = NDArray[np.float32]
"""(N, channels, height, width); the maps of a vector are 1x1."""

BATCH = 64
"""Images run at a time; half as many while memory does not suffice."""

Run = Callable[[Tensor], dict[str, Tensor]]
"""From inputs (N, C, H, W) to the maps of layers by name, (N, channels, height, width)."""


def runner(network: TrainedNetwork, layers: Sequence[FeatureLayer]) -> Run:
    """Runs the network and returns the output of these layers.

    For a single layer of a network built from a graph, nothing after that layer runs.
    """
    if len(layers) == 1 and isinstance(network.module, Network):
        (layer,) = layers
        part: nn.Module = up_to(canonicalize(network.module), layer.name)
        return lambda x: {layer.name: layer.maps(part(x))}

    def run(x: Tensor) -> dict[str, Tensor]:
        with network.capture([layer.name for layer in layers]) as found:
            network.module(x)
            return {layer.name: layer.maps(found[layer.name]) for layer in layers}

    return run


def maps_of(network: TrainedNetwork, layers: Sequence[FeatureLayer], pixels: NDArray[np.uint8]) -> dict[str, Maps]:
    """(channels, height, width) of each layer for one image's (C, H, W) pixels. E465 where they are not finite."""
    with torch.inference_mode():
        found = runner(network, layers)(network.input(torch.from_numpy(pixels[None].copy())))
    return {name: finite(name, maps)[0] for name, maps in found.items()}


def finite(name: str, maps: Tensor) -> Maps:
    """As float32 numbers; E465 where they are not finite."""
    values: Maps = maps.detach().float().cpu().numpy()
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise CnnscopeError.of("E465", f"{count:,} of {values.size:,} activations of `{name}` are not finite",
                               hint="check the weights and preprocessing, or use `--dtype float32`")  # fmt: skip
    return values


@dataclass(frozen=True)
class Batch:
    """Images that ran together: the place of the first, the samples, pixels (N, C, H, W), and maps by layer."""

    first: int
    samples: tuple[Sample, ...]
    pixels: NDArray[np.uint8]
    maps: dict[str, Maps]


def batches(
    network: TrainedNetwork,
    layers: Sequence[FeatureLayer],
    images: ImageSet,
    limit: int,
    skipped: Callable[[str, str], None] = lambda name, reason: None,
) -> Iterator[Batch]:
    """The first ``limit`` images that can be read, in the set's order, with the output of the layers.

    ``skipped`` is called with the name of an image that cannot be read, and the reason. E465 as in `finite`.
    """
    run, size, first = runner(network, layers), BATCH, 0
    every = readable(images, limit, skipped)
    while samples := tuple(islice(every, BATCH)):
        pixels = np.stack([network.preprocess.pixels(sample.image) for sample in samples])
        size, maps = fitting(size, partial(_in_pieces, network, run, pixels))
        yield Batch(first, samples, pixels, maps)
        first += len(samples)


def _in_pieces(network: TrainedNetwork, run: Run, pixels: NDArray[np.uint8], size: int) -> tuple[int, dict[str, Maps]]:
    """``size``, and the maps of all images, run ``size`` at a time."""
    parts = []
    for part in torch.split(torch.from_numpy(pixels), size):
        with torch.inference_mode():
            parts.append({name: finite(name, maps) for name, maps in run(network.input(part)).items()})
    return size, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def readable(
    images: ImageSet, limit: int | None = None, skipped: Callable[[str, str], None] = lambda name, reason: None
) -> Iterator[Sample]:
    """The first ``limit`` images that can be read; ``skipped`` is called with the names of others, and the reasons."""
    count = 0
    for sample in images:
        if not isinstance(sample, Sample):
            skipped(sample.name, sample.reason)
            continue
        count += 1
        yield sample
        if count == limit:
            return


@dataclass(frozen=True)
class LayerMaps:
    """A layer's output for one image, ``maps`` (channels, height, width)."""

    layer: FeatureLayer
    maps: Maps

    @property
    def low(self) -> float:
        return float(self.maps.min())

    @property
    def high(self) -> float:
        return float(self.maps.max())

    @property
    def signed(self) -> bool:
        """Whether any activation is negative; the scale is then symmetric about 0."""
        return self.low < 0

    @property
    def still(self) -> int | None:
        """The number of maps that do not vary; None where maps have a single pixel."""
        if prod(self.layer.size) == 1:
            return None
        return int((np.ptp(self.maps.reshape(len(self.maps), -1), axis=1) == 0).sum())


def first_image(images: ImageSet) -> Sample:
    """The first image of a set; E460 where none can be read."""
    for sample in readable(images):
        return sample
    message = f"there are no images in `{images.path}` that can be read"
    raise CnnscopeError.of("E460", message, hint="use PNG or JPEG files")


def label_of(images: ImageSet, label: int | None) -> str | None:
    """The set's name of a class, which need not be the network's name of that number."""
    if label is None:
        return None
    return images.classes[label] if label < len(images.classes) else str(label)
