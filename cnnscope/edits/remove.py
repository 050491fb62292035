"""Layers left out: what read them reads their only input instead."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph, Node
from cnnscope.ops.base import shape_text


def detached(graph: Graph, names: Sequence[str]) -> tuple[list[Node], list[str]]:
    """The nodes and outputs of ``graph`` without the layers or groups ``names``, yet to be refitted.

    `CnnscopeError`: E205 for an unknown name, E490 where no single value could take a layer's place.
    """
    removed = {name for wanted in names for name in members(graph, wanted)}
    detour = _Detour(graph, frozenset(removed))
    kept = [
        replace(node, inputs=tuple(map(detour.source, node.inputs))) for node in graph.nodes if node.name not in removed
    ]
    outputs = [detour.source(name) for name in graph.outputs]
    if any(after in graph.inputs for after, before in zip(outputs, graph.outputs, strict=True) if after != before):
        raise CnnscopeError.of("E490", f"removing {listed(names)} leaves no layer between input and output")
    return _read(graph, kept, outputs), outputs


def members(graph: Graph, name: str) -> tuple[str, ...]:
    """The nodes of the row, op or group called ``name``; E205, with near names, if there is none."""
    found = tuple(node.name for node in graph.nodes if name in (node.name, node.layer) or _in(node.layer, name))
    if found:
        return found
    if name in graph.inputs:
        raise CnnscopeError.of("E205", f"`{name}` is an input of the network, not a layer")
    hint = did_you_mean(name, layer_names(graph), most=3)
    raise CnnscopeError.of("E205", f"no layer is called `{name}`", hint=hint or "`cnnscope summary` lists the layers")


def layer_names(graph: Graph) -> tuple[str, ...]:
    """The names of everything that can be removed: rows, the groups around them, single ops."""
    names: dict[str, None] = {}
    for node in graph.nodes:
        parts = node.layer.split(".")
        names |= dict.fromkeys(".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return tuple(names | dict.fromkeys(node.name for node in graph.nodes))


def _in(layer: str, group: str) -> bool:
    return layer.startswith(f"{group}.")


@dataclass(frozen=True)
class _Detour:
    """The kept values that replace removed nodes."""

    graph: Graph
    removed: frozenset[str]

    def source(self, name: str) -> str:
        """``name`` if it is kept, else the only kept value that it is computed from; E490 if there is none or
        several."""
        if name not in self.removed:
            return name
        found = dict.fromkeys(self._behind(name))
        if len(found) == 1:
            return next(iter(found))
        node = self.graph.node(name)
        if not found:
            raise CnnscopeError.of("E490", f"`{node.layer}` reads nothing that could take its place", span=node.span)
        values = " and ".join(map(self._described, found))
        scope = self._scope(node.layer)
        hint = f"remove the whole block, `{scope}`" if scope else "remove all but one of the ways that lead there too"
        message = f"removing `{node.layer}` leaves {len(found)} values in its place: {values}"
        raise CnnscopeError.of("E490", message, span=node.span, hint=hint)

    def _scope(self, layer: str) -> str:
        """The smallest group around a layer that is not removed as a whole; empty if there is none."""
        scope = layer.rpartition(".")[0]
        while scope and all(node.name in self.removed for node in self.graph.nodes if _in(node.layer, scope)):
            scope = scope.rpartition(".")[0]
        return scope

    def _described(self, name: str) -> str:
        layer = name if name in self.graph.inputs else self.graph.node(name).layer
        return f"`{layer}` ({shape_text(self.graph.value(name).features)})"

    def _behind(self, name: str) -> Iterator[str]:
        """The kept values that ``name`` is computed from through removed nodes, without constants and bare weights."""
        waiting, seen = [name], {name}
        while waiting:
            for before in self.graph.node(waiting.pop()).inputs:
                if before in seen:
                    continue
                seen.add(before)
                if before in self.removed:
                    waiting.append(before)
                elif before in self.graph.inputs or self.graph.node(before).inputs:
                    yield before


def _read(graph: Graph, kept: Sequence[Node], outputs: Collection[str]) -> list[Node]:
    """``kept`` without nodes that only removed nodes read."""
    had = {name for node in graph.nodes for name in node.inputs}
    read, result = set(outputs), list[Node]()
    for node in reversed(kept):
        if node.name in read or node.name not in had:
            read.update(node.inputs)
            result.append(node)
    return result[::-1]


def listed(names: Sequence[str]) -> str:
    """Names in backticks with commas."""
    return ", ".join(f"`{name}`" for name in names)
