"""Naming a unit: a layer and a position in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph, Shape


def names(graph: Graph) -> dict[str, str]:
    """What may be asked for, each with the input or node meant: a row stands for its last op, an op for itself."""
    nodes = {name: name for name in (*graph.inputs, *(node.name for node in graph.nodes))}
    return nodes | {row: members[-1].name for row, members in graph.layers()}


def pick(layer: str, known: Mapping[str, str]) -> str:
    """The input or node that `names` has for ``layer``; E205 if there is none."""
    if layer not in known:
        raise CnnscopeError.of("E205", f"no layer is called `{layer}`", hint=did_you_mean(layer, known))
    return known[layer]


def find(graph: Graph, layer: str) -> str:
    """The input or node that gives ``layer`` its output; E205 if there is none."""
    return pick(layer, names(graph))


def check(layer: str, position: Sequence[int], extents: Shape) -> None:
    """E203 unless ``position`` is one of the layer's: an index from 0 per axis."""
    grid = "x".join(map(str, extents))
    if len(position) != len(extents):
        axes = f"{len(extents)} number{'s' * (len(extents) > 1)} ({grid})" if extents else "no numbers"
        raise CnnscopeError.of("E203", f"a position in `{layer}` takes {axes}, not {len(position)}")
    if any(not 0 <= at < n for at, n in zip(position, extents, strict=True)):
        where = ",".join(map(str, position))
        message = f"`{layer}` has {grid} positions, and {where} is none of them"
        raise CnnscopeError.of("E203", message, hint="positions count from 0")


def unknown(layer: str) -> CnnscopeError:
    """E306: what is asked depends on an op that no rule covers."""
    return CnnscopeError.of("E306", f"the receptive field of `{layer}` is unknown: it depends on an op without a rule")
