"""Equivariance measured: networks run in torch on transformed images, float64, random weights.

Images are shifted by `torch.roll` or by cutting two windows out of one larger canvas, flipped by `torch.flip`, turned
by `torch.rot90`; the maps are moved by indexing. Nothing here knows what an op reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from rf_networks import Net
from torch import Tensor

from cnnscope.analysis.equivariance import Flip, MapPrediction, Motion, Shift, Transform, Turn
from cnnscope.ir import Graph, Param
from cnnscope.nn.build import build

MARGIN = 64
TURNS: list[Transform] = [Flip((0,)), Flip((1,)), Flip((0, 1)), Turn(1), Turn(2), Turn(3)]


def with_weights(net: Net, *outputs: str) -> Graph:
    """The graph of a net, its ops' weights as parameters, every node an output unless some are named."""
    graph, params, nodes = net.graph(), {}, []
    for node in graph.nodes:
        x = graph.values(node)
        keys = {role: f"{node.name}.{role}" for role in (*node.op.weights(x), *node.op.buffers(x))}
        params |= {keys[role]: Param(shape) for role, shape in node.op.weights(x).items()}
        params |= {
            keys[role]: Param(shape, buffer=True, trainable=False, dtype="float32" if shape else "int64")
            for role, shape in node.op.buffers(x).items()
        }
        nodes.append(replace(node, params=keys))
    names = outputs or tuple(node.name for node in nodes)
    return replace(graph, nodes=tuple(nodes), params=params, outputs=names)


class Measured:
    """A network with random weights and an image, run as often as there are transforms to try."""

    def __init__(self, graph: Graph, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.graph = graph
        self.network = build(graph, seed=seed).double().eval()
        for tensor in self.network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn_like(tensor).abs() + 0.1 if tensor.dim() == 1 else torch.randn_like(tensor))
        (value,) = graph.inputs.values()
        self.size = value.spatial
        self.canvas = torch.randn(2, value.shape[1], *(n + 2 * MARGIN for n in self.size), dtype=torch.float64)
        self.plain = self.run(self.crop([0] * len(self.size)))

    def crop(self, by: Sequence[int]) -> Tensor:
        """The window of the canvas that shows everything ``by`` pixels further down and right."""
        return self.canvas[(..., *(slice(MARGIN - g, MARGIN - g + n) for g, n in zip(by, self.size, strict=True)))]

    def run(self, x: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            found = self.network(x)
        return found if isinstance(found, dict) else {self.graph.outputs[0]: found}

    def transformed(self, transform: Transform) -> dict[str, Tensor]:
        x, rank = self.crop([0] * len(self.size)), len(self.size)
        match transform:
            case Shift(by, True):
                return self.run(torch.roll(x, by, tuple(range(2, 2 + rank))))
            case Shift(by):
                return self.run(self.crop(by))
            case Flip(axes):
                return self.run(x.flip([2 + axis % rank for axis in axes]))
            case Turn(quarters):
                return self.run(x.rot90(quarters, (-2, -1)))


def error(m: Motion, p: MapPrediction, transform: Transform, before: Tensor, after: Tensor) -> float | None:
    """How far the transformed image's map is from the transformed map, relative to it; None where none is defined."""
    if m.axes is None or (before.shape != after.shape and not isinstance(transform, Turn)):
        return None
    expected, got = before, after
    if m.axes:
        match transform:
            case Shift(_, wrap):
                if p.shift is None or (not wrap and p.interior is None):
                    return None
                sides = [(0, a.extent - 1) for a in m.along] if wrap or p.interior is None else p.interior
                for axis, u, (lo, hi), a in zip(m.axes, p.shift, sides, m.along, strict=True):
                    at = torch.arange(lo, hi + 1)
                    there = (at - u) % (a.period if p.verdict.claim == "exact" and u else a.extent) if wrap else at - u
                    assert 0 <= there.min() <= there.max() < a.extent
                    expected, got = expected.index_select(axis, there), got.index_select(axis, at)
            case Flip(axes):
                expected = expected.flip([m.axes[axis] for axis in axes])
            case Turn(quarters):
                expected = expected.rot90(quarters, m.axes[-2:])
    elif isinstance(transform, Shift) and not transform.wrap:
        return None if p.verdict.claim != "exact" else _relative(expected, got)
    return _relative(expected, got)


def _relative(expected: Tensor, got: Tensor) -> float:
    if expected.shape != got.shape:
        return float("inf")
    return float((expected - got).abs().max() / (expected.abs().max() + 1e-3))
