"""Which layers to watch, and what is kept of their outputs.

A map is averaged over a 4x4 grid of cells per channel (Lazebnik et al. 2006 call one level of their pyramid that):
coarse enough to be cheap, fine enough that a layer which moves with its input is told from one that does not. Averaging
over the whole map would make any equivariant layer look invariant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cnnscope.ir import Graph, Node, Value
from cnnscope.trained.network import TrainedNetwork

INPUT = "input"
"""The layer that is the image itself, in the network's own units: distances in pixel space."""
CELLS = 4


def default_layers(network: TrainedNetwork, most: int = 8) -> tuple[str, ...]:
    """At most ``most`` layers: the last one before each change of the map's size, the penultimate and the last.

    Only layers through which everything passes count, so none inside a branch. A network whose size changes less than
    three times (transformers) gives layers at even distances.
    """
    known = set(network.layer_names())
    trunk = [(name, value) for name, value in _trunk(network.graph) if name in known]
    if not trunk:
        return tuple(network.layer_names())[-most:]
    extents = [value.spatial or value.shape[1:-1] for _, value in trunk]
    last = len(trunk) - 1
    stages = [i for i in range(last) if extents[i] != extents[i + 1] or i == last - 1] + [last]
    if len(stages) < 4:
        stages = sorted({*_spread(range(last + 1), most)})
    if len(stages) > most:
        stages = [*_spread(stages[:-2], most - 2), *stages[-2:]]
    return tuple(trunk[i][0] for i in stages)


def pooled(output: Tensor) -> Tensor:
    """(N, D) float32 of an output: maps (N, C, H, W) averaged over 4x4 cells, tokens (N, T, C) over T; else all."""
    if output.ndim == 4:
        output = _cells(output)
    elif output.ndim == 3:
        output = output.mean(1)
    return output.flatten(1).float()


def watched(x: Tensor, captured: Mapping[str, Tensor], layers: Sequence[str]) -> list[Tensor]:
    """(N, D_l) float32 for each layer; ``x`` is the network's input."""
    return [x.permute(0, 2, 3, 1).flatten(1).float() if layer == INPUT else pooled(captured[layer]) for layer in layers]


def spreads(features: Tensor) -> Tensor:
    """(N,) distance of each of N feature vectors (N, D) to the next, of the last to the first; NaN for a single one."""
    if len(features) < 2:
        return features.new_full((len(features),), torch.nan)
    return torch.linalg.vector_norm(features - features.roll(-1, 0), dim=1)


def _cells(maps: Tensor) -> Tensor:
    """(N, rows, columns, C): each channel of (N, C, H, W) averaged over cells, in channels-last order."""
    n, c, h, w = maps.shape
    if h % CELLS or w % CELLS:
        cells = [min(CELLS, side) for side in (h, w)]
        small = maps if [h, w] == cells else functional.adaptive_avg_pool2d(maps, cells)
        return small.permute(0, 2, 3, 1)
    rows = maps.permute(0, 2, 3, 1).reshape(n, CELLS, h // CELLS, w * c).mean(2)  # one axis at a time: twice as fast
    return rows.view(n, CELLS, CELLS, w // CELLS, c).mean(3)


def _trunk(graph: Graph) -> list[tuple[str, Value]]:
    """Layers after which everything that is still needed is their own output: (name, value), views left out."""
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
    """At most ``most`` of them at even distances, first and last included."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
