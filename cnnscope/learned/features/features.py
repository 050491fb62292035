"""What layers make of images: feature maps, and the activations of a channel over many images."""

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

from cnnscope.analysis.fuse import Unit, fuse
from cnnscope.analysis.receptive_field.theoretical import theoretical
from cnnscope.analysis.receptive_field.walk import find
from cnnscope.attribution.contract import fitting
from cnnscope.attribution.engine.canonicalize import canonicalize, up_to
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.nn.build import Network
from cnnscope.trained.images import ImageSet, Sample
from cnnscope.trained.network import TrainedNetwork

Maps = NDArray[np.float32]
"""(N, channels, height, width); a vector's are of 1x1."""

DEFAULT_LAYERS = 3
BATCH = 64
"""Images run at a time; half as many wherever memory does not suffice."""


@dataclass(frozen=True)
class FeatureLayer:
    """A layer that gives feature maps, or a vector: then ``size`` is 1x1 and ``vector`` is set.

    ``order`` is how its output's axes become (N, channels, height, width): channels stand last in some networks.
    """

    name: str
    op: str
    channels: int
    size: tuple[int, int]
    order: tuple[int, ...] = (0, 1, 2, 3)
    vector: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width), of a vector (channels,)."""
        return (self.channels,) if self.vector else (self.channels, *self.size)

    def maps(self, output: Tensor) -> Tensor:
        """(N, channels, height, width) of what the layer gave."""
        return output[:, :, None, None] if self.vector else output.permute(self.order)

    def position(self, at: tuple[int, int]) -> tuple[int, ...]:
        """A place in its map as receptive fields name it: a vector's units have none."""
        return () if self.vector else at


def choose(network: TrainedNetwork, names: Sequence[str] = ()) -> tuple[FeatureLayer, ...]:
    """The layers of these names, each once; of none named, the first convolutions with their activations.

    `CnnscopeError`: E205 for an unknown layer, E464 for one that gives neither maps nor a vector.
    """
    graph = network.graph
    if not names:
        units = (unit for unit in fuse(graph) if unit.main.op.category == "conv" and min(unit.last.output.spatial) > 1)
        rows = list(dict.fromkeys(unit.last.layer for unit in units if len(unit.last.output.spatial) == 2))
        names = [row for row in rows if row in network.layer_names()][:DEFAULT_LAYERS]
        if not names:
            raise CnnscopeError.of("E464", f"`{graph.name}` has no convolution with feature maps",
                                   hint="name a layer: `--layer NAME`")  # fmt: skip
    for name in names:
        network.check_layer(name)
    return tuple(_layer(graph, name) for name in dict.fromkeys(names))


def _layer(graph: Graph, name: str) -> FeatureLayer:
    node = find(graph, name)
    value = graph.value(node)
    shape = value.shape
    members = dict(graph.layers())[name]
    op = ", ".join(_words(member.op.tag, member.op.label()) for member in members)
    if len(shape) == 2:
        return FeatureLayer(name, op, shape[1], (1, 1), vector=True)
    field = theoretical(graph).get(node)
    axes = field.axes if field is not None else (2, 3) if value.kind == "map" else ()
    if len(shape) != 4 or len(axes) != 2 or value.batch_axis != 0:
        what = "x".join(map(str, value.features))
        raise CnnscopeError.of("E464", f"`{name}` gives {what} numbers, neither feature maps nor a vector",
                               hint="name a convolution, or a layer after one")  # fmt: skip
    (channels,) = {1, 2, 3} - set(axes)
    return FeatureLayer(name, op, shape[channels], (shape[axes[0]], shape[axes[1]]), (0, channels, *axes))


def _words(tag: str, label: str) -> str:
    """``conv 5x5 6``; a label that says it all stands alone."""
    return f"{tag} {label}".strip() if tag not in label else label


def check_channel(layer: FeatureLayer, channel: int) -> None:
    """E203 where the layer has no such channel."""
    if not 0 <= channel < layer.channels:
        raise CnnscopeError.of("E203", f"`{layer.name}` has {layer.channels} channels, and {channel} is none of them",
                               hint="channels count from 0")  # fmt: skip


def unit_of(graph: Graph, layer: str) -> Unit:
    """The convolution (or whatever it is) with its norm and activation, of which a layer's last op is one."""
    node = find(graph, layer)
    return next(unit for unit in fuse(graph) if any(member.name == node for member in unit.nodes))


# -- running -----------------------------------------------------------------------------------------------------------

Run = Callable[[Tensor], dict[str, Tensor]]
"""From inputs (N, C, H, W) to the maps of layers by name, (N, channels, height, width)."""


def runner(network: TrainedNetwork, layers: Sequence[FeatureLayer]) -> Run:
    """The network up to these layers. Where it is built from the graph, one layer alone runs no further than itself."""
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
    """Images that ran together: their places in the set, samples, pixels (N, C, H, W), and maps by layer."""

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
    """The first ``limit`` images that can be read, in the set's order, with what layers make of them.

    ``skipped`` hears which could not be read, and why. E465 as in `finite`.
    """  # fmt: skip
    run, size, first = runner(network, layers), BATCH, 0
    readable = _readable(images, limit, skipped)
    while samples := tuple(islice(readable, BATCH)):
        pixels = np.stack([network.preprocess.pixels(sample.image) for sample in samples])
        size, maps = fitting(size, partial(_in_pieces, network, run, pixels))
        yield Batch(first, samples, pixels, maps)
        first += len(samples)


def _in_pieces(network: TrainedNetwork, run: Run, pixels: NDArray[np.uint8], size: int) -> tuple[int, dict[str, Maps]]:
    """``size``, and the maps of all images, run so many at a time."""
    parts = []
    for part in torch.split(torch.from_numpy(pixels), size):
        with torch.inference_mode():
            parts.append({name: finite(name, maps) for name, maps in run(network.input(part)).items()})
    return size, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _readable(images: ImageSet, limit: int, skipped: Callable[[str, str], None]) -> Iterator[Sample]:
    count = 0
    for sample in images:
        if not isinstance(sample, Sample):
            skipped(sample.name, sample.reason)
            continue
        if count == limit:
            return
        count += 1
        yield sample


# -- figures -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerMaps:
    """A layer's answer to one image, ``maps`` (channels, height, width)."""

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
        """Whether any activation is negative: then the scale is symmetric about 0."""
        return self.low < 0

    @property
    def still(self) -> int | None:
        """Maps that do not vary; None where maps are of one pixel and cannot."""
        if prod(self.layer.size) == 1:
            return None
        return int((np.ptp(self.maps.reshape(len(self.maps), -1), axis=1) == 0).sum())


def first_image(images: ImageSet) -> Sample:
    """The first image of a set; E460 where none can be read."""
    for sample in images:
        if isinstance(sample, Sample):
            return sample
    raise CnnscopeError.of(
        "E460", f"there are no images in `{images.path}` that can be read", hint="use PNG or JPEG files"
    )


def label_of(images: ImageSet, label: int | None) -> str | None:
    """What the set calls a class, which need not be the network's of that number."""
    if label is None:
        return None
    return images.classes[label] if label < len(images.classes) else str(label)
