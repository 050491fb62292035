"""Which layers to watch, and what is kept of their outputs.

Each channel of a map is averaged over four quarters (one level of the spatial pyramid of Lazebnik et al. 2006). That is
cheap, and a feature that moves with the input does not count as invariant, as it would after averaging the whole map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from cnnscope.ir import Graph, Node, Value
from cnnscope.trained.network import TrainedNetwork

INPUT = "input"
"""The name of the normalised image as a layer: its distances are in pixel space."""
SCORES = "scores"
"""The name of the class scores as a layer, used if no layer that can be captured gives them."""
CELLS = 2


def default_layers(network: TrainedNetwork, most: int = 8) -> tuple[str, ...]:
    """At most ``most`` layers: the last one before each change of the map's size, the last but one, and the last.

    Only layers through which all data passes are chosen, so none inside a branch. For a network whose map size changes
    less than three times (transformers) the layers are evenly spaced.
    """
    known = set(network.layer_names())
    trunk = [(name, value) for name, value in _trunk(network.graph) if name in known]
    if not trunk:
        return (*network.layer_names()[1 - most :], SCORES)
    extents = [value.spatial or value.shape[1:-1] for _, value in trunk]
    last = len(trunk) - 1
    stages = [i for i in range(last) if extents[i] != extents[i + 1] or i == last - 1] + [last]
    if len(stages) < 4:
        stages = sorted({*_spread(range(last + 1), most)})
    if len(stages) > most:
        stages = [*_spread(stages[:-2], most - 2), *stages[-2:]]
    ends = dict(network.graph.layers())[trunk[last][0]][-1].name in network.graph.outputs
    names = [trunk[i][0] for i in stages]
    return tuple(names if ends else [*names[-most + 1 :], SCORES])


def pooled(output: Tensor) -> Tensor:
    """(N, D) float32: maps (N, C, H, W) averaged over quarters, tokens (N, T, C) over T, other outputs flattened."""
    if output.ndim == 4:
        output = _cells(output)
    elif output.ndim == 3:
        output = output.mean(1)
    return output.flatten(1).float()


@dataclass(frozen=True)
class Features:
    """Features of N images: ``pixels`` (N, C * H * W), and all other layers side by side in ``pooled`` (N, D);
    ``widths`` has the number of columns of each.
    """

    pixels: Tensor
    pooled: Tensor
    widths: tuple[int, ...]

    def first(self, n: int) -> Features:
        """The features of the first n images, as a copy."""
        return replace(self, pixels=self.pixels[:n].clone(), pooled=self.pooled[:n].clone())

    def next(self) -> Features:
        """The features with each image moved to the place before it, and the first to the last place."""
        return replace(self, pixels=self.pixels.roll(-1, 0), pooled=self.pooled.roll(-1, 0))

    def distance(self, other: Features) -> Tensor:
        """(N, 1 + L) Euclidean distances, in pixel space and in each layer. N may be a multiple of the other's."""
        n = len(other.pixels)
        k = len(self.pixels) // n
        moved = (self.pooled.view(k, n, self.pooled.shape[1]) - other.pooled).square_()
        pixels = torch.linalg.vector_norm(self.pixels.view(k, n, self.pixels.shape[1]) - other.pixels, dim=2)
        return torch.cat([pixels[..., None], (moved @ _membership(self.widths, moved.device)).sqrt_()], 2).flatten(0, 1)


def features(x: Tensor, kept: Mapping[str, Tensor], layers: Sequence[str]) -> Features:
    """The features of the network's input ``x`` (N, C, H, W) and of the ``layers``, whose `pooled` outputs are in
    ``kept``."""
    parts = [kept[layer] for layer in layers]
    together = torch.cat(parts, 1) if parts else x.new_zeros(len(x), 0, dtype=torch.float32)
    return Features(x.permute(0, 2, 3, 1).flatten(1).float(), together, tuple(part.shape[1] for part in parts))


@lru_cache(maxsize=8)
def _membership(widths: tuple[int, ...], device: torch.device) -> Tensor:
    """(D, L): 1 where a column belongs to a layer."""
    owner = torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths, dtype=torch.int64))
    return functional.one_hot(owner, max(1, len(widths)))[:, : len(widths)].float().to(device)


def _cells(maps: Tensor) -> Tensor:
    """(N, rows, columns, C): each channel of (N, C, H, W) averaged over 2x2 cells, in channels-last order."""
    n, c, h, w = maps.shape
    if h % CELLS or w % CELLS:
        cells = min(CELLS, h), min(CELLS, w)
        small = maps if (h, w) == cells else functional.adaptive_avg_pool2d(maps, cells)
        return small.permute(0, 2, 3, 1)
    rows = maps.permute(0, 2, 3, 1).reshape(n, CELLS, h // CELLS, w * c).sum(2, dtype=torch.float32)
    sums = rows.view(n, CELLS, CELLS, w // CELLS, c).sum(3)  # summing one axis at a time is twice as fast
    return sums * (CELLS * CELLS / (h * w))


def _trunk(graph: Graph) -> list[tuple[str, Value]]:
    """Layers whose output is the only value that later layers need, as (name, value); views are left out."""
    nodes = [node for node in graph.nodes if not node.training_only]
    readers = {name: i for i, node in enumerate(nodes) for name in node.inputs}
    readers |= {name: len(nodes) for name in graph.outputs if name in {node.name for node in nodes}}
    needed_until = max((readers.get(name, -1) for name in graph.inputs), default=-1)
    rows = {members[-1].name: row for row, members in graph.layers()}
    trunk: dict[str, Value] = {}
    for i, node in enumerate(nodes):
        if needed_until <= i and node.name in rows and not _is_view(node):
            trunk[rows[node.name]] = node.output
        needed_until = max(needed_until, readers.get(node.name, -1))
    return list(trunk.items())


def _is_view(node: Node) -> bool:
    return node.op.is_view or node.op.tag in ("dropout", "identity")


def _spread(items: Sequence[int], most: int) -> list[int]:
    """At most ``most`` items, evenly spaced, the first and the last included."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
