"""Layers whose output can be shown, and what their units see of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

from torch import Tensor

from cnnscope.analysis.fuse import Unit, fuse
from cnnscope.analysis.receptive_field.exact import Exact, exact
from cnnscope.analysis.receptive_field.quasi_affine import Interval
from cnnscope.analysis.receptive_field.theoretical import Field, theoretical
from cnnscope.analysis.receptive_field.walk import find
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.trained.network import TrainedNetwork

DEFAULT_LAYERS = 3
RECTIFIERS = ("relu", "relu6")
"""Activations without negative output: behind these a dead filter is never above 0, behind others it never varies."""


@dataclass(frozen=True)
class FeatureLayer:
    """A layer whose output is feature maps or a vector; a vector has ``size`` 1x1 and ``vector`` set.

    ``order`` permutes the axes of its output to (N, channels, height, width): in some networks channels are last.
    """

    name: str
    op: str
    channels: int
    size: tuple[int, int]
    order: tuple[int, ...] = (0, 1, 2, 3)
    vector: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width), or (channels,) for a vector."""
        return (self.channels,) if self.vector else (self.channels, *self.size)

    def maps(self, output: Tensor) -> Tensor:
        """The layer's output as (N, channels, height, width)."""
        return output[:, :, None, None] if self.vector else output.permute(self.order)

    def position(self, at: tuple[int, int]) -> tuple[int, ...]:
        """A position in its map as receptive fields take it: units of a vector have none."""
        return () if self.vector else at


def choose(network: TrainedNetwork, names: Sequence[str] = ()) -> tuple[FeatureLayer, ...]:
    """The layers of these names, each once; by default the first convolutions with their activations.

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
    """``conv 5x5 6``; the label alone where it contains the type."""
    return f"{tag} {label}".strip() if tag not in label else label


def check_channel(layer: FeatureLayer, channel: int) -> None:
    """E203 where the layer has no such channel."""
    if not 0 <= channel < layer.channels:
        raise CnnscopeError.of("E203", f"`{layer.name}` has {layer.channels} channels, and {channel} is none of them",
                               hint="channels count from 0")  # fmt: skip


def unit_of(graph: Graph, layer: str) -> Unit:
    """The convolution (or other op) with its norm and activation to which a layer's last op belongs."""
    node = find(graph, layer)
    return next(unit for unit in fuse(graph) if any(member.name == node for member in unit.nodes))


@dataclass(frozen=True)
class Outlet:
    """Where a dead channel shows: the layer ``row`` after norm and activation, and the activation's type, if any."""

    row: str
    activation: str | None

    def dead(self, low: Any, high: Any) -> Any:
        """Whether channels with these extremes over all images are dead; numbers or arrays."""
        return high <= 0 if self.activation in RECTIFIERS else low == high

    def rule(self, otherwise: str) -> str:
        """The rule by which a channel is dead; ``otherwise`` names the layer where it has no activation."""
        kind = "above 0" if self.activation in RECTIFIERS else "varies"
        return f"never {kind} after {self.activation or otherwise}"


def outlet(unit: Unit) -> Outlet:
    """The end of a unit: its norm and activation belong to it, whatever layers they are in."""
    last = unit.last
    return Outlet(last.layer, last.op.tag if last.op.category == "activation" else None)


REACH = 0.25
"""Padding shown beyond each edge at most, as a share of the image's side."""

Box = tuple[Interval, Interval]
"""First and last row, first and last column, in pixels of the input; negative ones are padding."""


@dataclass(frozen=True)
class Seen:
    """What a unit sees: ``exact`` is a box of pixels of the image, along local paths where there are any.

    ``frame`` also contains the padding that the unit reaches. ``whole`` says that the unit depends on pixels outside
    ``exact`` through a global reduction.
    """

    exact: Box
    frame: Box
    whole: bool = False


class Fields:
    """The receptive fields of a layer's units. After an op without a rule they are not ``known``: the whole image."""

    def __init__(self, graph: Graph, layer: FeatureLayer) -> None:
        self._layer = layer
        (image,) = (value.spatial for value in graph.inputs.values())
        self.extents: tuple[int, int] = (image[0], image[1])
        self._theory: Field | None = theoretical(graph).get(find(graph, layer.name))
        self._exact: Exact | None = None
        if self._theory is not None:
            self._exact = exact(graph, [layer.name])

    @property
    def known(self) -> bool:
        return self._exact is not None

    @property
    def via(self) -> tuple[str, ...]:
        """The reductions through which a unit sees the whole image."""
        return () if self._theory is None else self._theory.via

    def at(self, position: tuple[int, int]) -> Seen:
        """What the unit at a row and column of the layer's map sees."""
        height, width = self.extents
        everything = ((0, height - 1), (0, width - 1))
        if self._exact is None or self._theory is None:
            return Seen(everything, everything)
        at = self._layer.position(position)
        full, local = (self._exact.box(self._layer.name, at, local=only) for only in (False, True))
        box = local or full
        if box is None:  # it depends on no pixel at all
            return Seen(everything, everything)
        inside: Box = (box[0], box[1])
        reach = self._theory.box(at) if local is not None else None
        return Seen(
            inside, inside if reach is None else self._frame(inside, (reach[0], reach[1])), local not in (None, full)
        )

    def _frame(self, inside: Box, reach: Box) -> Box:
        sides = []
        for (low, high), (first, last), extent in zip(inside, reach, self.extents, strict=True):
            most = floor(REACH * extent)
            sides.append((min(low, max(first, -most)), max(high, min(last, extent - 1 + most))))
        return (sides[0], sides[1])
