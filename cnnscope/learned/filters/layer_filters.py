"""The filters of a network: the layers that have filters, their weights, and their figures in a chosen order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph, Node
from cnnscope.learned.filters.figures import Figured, figure, known
from cnnscope.render.filters import ChanceFigures, FilteredLayer, FilterRow, Percentiles

Sort = Literal["norm", "orientation", "redundancy"]
Weights = NDArray[np.floating[Any]]

_CONVOLUTIONS = ("conv", "upconv")


@dataclass(frozen=True)
class Chosen:
    """A layer as the user named it, and the convolution that this means."""

    name: str
    node: Node


def choose(graph: Graph, names: Sequence[str] = ()) -> tuple[Chosen, ...]:
    """The convolutions of these layers, each once; by default the first convolution of the network.

    `CnnscopeError`: E205 for an unknown layer, E485 for one without filters, with several, or with three spatial axes.
    """
    convolutions = [node for node in graph.nodes if node.op.tag in _CONVOLUTIONS and "weight" in node.params]
    if not convolutions:
        raise CnnscopeError.of("E485", f"`{graph.name}` has no filters: none of its layers is a convolution",
                               hint="name a convolutional network")  # fmt: skip
    if not names:
        flat = next((node for node in convolutions if _axes(graph, node) < 3), convolutions[0])
        names = (_name(graph, flat),)
    return tuple(_find(graph, name, convolutions) for name in dict.fromkeys(names))


def _find(graph: Graph, name: str, convolutions: Sequence[Node]) -> Chosen:
    rows = dict(graph.layers())
    inside = rows.get(name) or [node for node in graph.nodes if node.name == name]
    if not inside:
        inside = [node for node in graph.nodes if node.layer.startswith(f"{name}.")]
        if not inside:
            having = [_name(graph, node) for node in convolutions]
            hint = did_you_mean(name, having, most=3) or f"layers with filters: {_listed(having)}"
            raise CnnscopeError.of("E205", f"`{graph.name}` has no layer `{name}`", hint=hint)
    found = [node for node in inside if node in convolutions]
    if len(found) != 1:
        having = [_name(graph, node) for node in found or convolutions]
        what = "has several convolutions" if found else f"has no filters, {_kind(inside)}"
        raise CnnscopeError.of("E485", f"`{name}` {what}",
                               hint=f"{'name one' if found else 'layers with filters'}: {_listed(having)}")  # fmt: skip
    (node,) = found
    if _axes(graph, node) > 2:
        raise CnnscopeError.of("E485", f"the kernels of `{name}` have three spatial axes, and a picture has two",
                               hint="name a layer on images or signals")  # fmt: skip
    return Chosen(name, node)


def _kind(inside: Sequence[Node]) -> str:
    if any(node.op.tag in _CONVOLUTIONS for node in inside):
        return "its weights are computed as it runs"
    return f"it is `{inside[0].op.tag}`" if len({node.layer for node in inside}) == 1 else "it has no convolution"


def _name(graph: Graph, node: Node) -> str:
    """The layer's name where it has this convolution only, else the op's."""
    alike = [other for other in graph.nodes if other.layer == node.layer and other.op.tag in _CONVOLUTIONS]
    return node.layer if len(alike) == 1 else node.name


def _axes(graph: Graph, node: Node) -> int:
    return len(graph.params[node.params["weight"]].shape) - 2


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:8]) + (", ..." if len(names) > 8 else "")


def weights_of(chosen: Chosen, state: Mapping[str, Tensor]) -> Weights:
    """(filters, input channels of each, height, width) in float32; kernels of signals have height 1.

    The axes of a transposed convolution are permuted to this order. E486 where they are not finite.
    """
    stored = state[chosen.node.params["weight"]].detach().float().cpu().numpy()
    if chosen.node.op.tag == "upconv":
        groups = int(chosen.node.op.arguments()["groups"])
        split = stored.reshape(groups, stored.shape[0] // groups, *stored.shape[1:])
        stored = np.concatenate(list(split.swapaxes(1, 2)))
    if not np.isfinite(stored).all():
        count = int((~np.isfinite(stored)).sum())
        verb = "is" if count == 1 else "are"
        raise CnnscopeError.of("E486", f"{count:,} of the {stored.size:,} weights of `{chosen.name}` {verb} not finite",
                               hint="its training diverged, or the file is damaged")  # fmt: skip
    return np.ascontiguousarray(stored[:, :, None] if stored.ndim == 3 else stored)


def is_coloured(graph: Graph, chosen: Chosen) -> bool:
    """Whether the layer reads the input image, and this has three channels."""
    (source, *_) = chosen.node.inputs
    stored = graph.params[chosen.node.params["weight"]].shape
    return source in graph.inputs and chosen.node.op.tag == "conv" and stored[1] == 3


def layer_filters(
    chosen: Chosen, weights: Weights, sort: Sort = "norm", dead: Sequence[bool] | None = None, rule: str | None = None
) -> FilteredLayer:
    """Figures of a layer's filters, sorted by ``sort``: largest first, angles from 0, those without a figure last."""
    figured = figure(weights)
    rows = [_row(figured, i, None if dead is None else dead[i]) for i in range(len(weights))]
    chance = {name: _percentiles(null) for name, null in vars(figured.chance).items()}
    groups = int(chosen.node.op.arguments().get("groups", 1))
    return FilteredLayer(
        name=chosen.name, kind=chosen.node.op.label(), shape=weights.shape, groups=groups,
        largest=float(np.abs(weights).max()), chance=ChanceFigures(**chance),
        dead=None if dead is None else sum(map(bool, dead)), rule=rule, rows=tuple(sorted(rows, key=_KEYS[sort])),
    )  # fmt: skip


def _percentiles(figures: NDArray[np.floating[Any]]) -> Percentiles | None:
    """The median and the 95th percentile of a figure over random filters; None where there is no such figure."""
    if not len(figures):
        return None
    return Percentiles(median=round(float(np.median(figures)), 4), p95=round(float(np.quantile(figures, 0.95)), 4))


_KEYS: Mapping[Sort, Any] = {
    "norm": lambda row: (-row.norm, row.index),
    "orientation": lambda row: (row.orientation is None, row.orientation, row.index),
    "redundancy": lambda row: (row.redundancy is None, -(row.redundancy or 0), row.index),
}


def _row(figured: Figured, i: int, dead: bool | None) -> FilterRow:
    band = figured.band
    nearest, twin = int(figured.nearest[i]), int(figured.twin[i])
    return FilterRow(
        index=i, norm=float(f"{figured.norm[i]:.6g}"),
        orientation=known(figured.orientation[i], 1, 180), coherence=known(figured.coherence[i], 4),
        coherence_p=known(figured.coherence_p[i], 4),
        frequency=None if band is None else known(band.frequency[i], 3),
        bandwidth=None if band is None else known(band.octaves[i], 2), band=None if band is None else band.kind[i],
        nearest=None if nearest < 0 else figured.bank[nearest], similarity=known(figured.similarity[i], 4),
        similarity_p=known(figured.similarity_p[i], 4), twin=None if twin < 0 else twin,
        redundancy=known(figured.redundancy[i], 4), redundancy_p=known(figured.redundancy_p[i], 4), dead=dead,
    )  # fmt: skip
