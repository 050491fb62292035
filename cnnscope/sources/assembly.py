"""A graph under construction, row by row, as the readers of files need it: names, weights, shapes."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from cnnscope.errors import CnnscopeError, Note
from cnnscope.ir import Graph, Node, Param, Value
from cnnscope.ops.base import Op


@dataclass
class Assembly:
    """Inputs, nodes and weights so far; `graph` freezes them. ``taken`` counts how often a name was asked for."""

    name: str
    layout: Literal["CHW", "HWC"] = "CHW"
    inputs: dict[str, Value] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)

    def value(self, name: str) -> Value:
        """What the input or node of that name yields."""
        return self.inputs[name] if name in self.inputs else self.nodes[name].output

    def unique(self, name: str) -> str:
        """``name``, or ``name#2``, ``name#3`` ... where it is taken; taken from now on."""
        free = name
        while free in self.taken:
            self.taken[name] += 1
            free = f"{name}#{self.taken[name]}"
        self.taken[free] = 1
        return free

    def add(self, node: Node) -> None:
        """Appends a node whose inputs are all there."""
        self.nodes[node.name] = node

    def param(self, key: str, param: Param) -> None:
        """Enters a weight; under a key that is there already the shape must be the same."""
        known = self.params.setdefault(key, param)
        if known.shape != param.shape:
            raise CnnscopeError.of("E304", f"`{key}` is used with shapes {known.shape} and {param.shape}")

    def graph(self, outputs: Sequence[str]) -> Graph:
        """The finished graph."""
        once = tuple(dict.fromkeys(outputs))
        return Graph(
            self.name, self.inputs, tuple(self.nodes.values()), once, self.params, self.scopes, self.layout
        )  # fmt: skip


def clean(name: str) -> str:
    """A name as cnnscope writes them, dots between scopes: ``block1/conv:0`` is ``block1.conv_0``."""
    parts = [re.sub(r"\W", "_", part, flags=re.ASCII) for part in re.split(r"[/.]", name) if part]
    return ".".join(parts) or "_"


def topological(needs: Sequence[set[int]]) -> list[int]:
    """Numbers of things, each after those it ``needs``, otherwise in order. Those on a cycle are left out."""
    waiting = [set(sources) for sources in needs]
    readers: list[list[int]] = [[] for _ in needs]
    for i, sources in enumerate(needs):
        for source in sources:
            readers[source].append(i)
    ready = [i for i, sources in enumerate(waiting) if not sources]
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers[order[-1]]:
            waiting[reader].discard(order[-1])
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    return order


def placed(op: Op, x: Sequence[Value]) -> tuple[Op, Value]:
    """The op bound to its inputs, and its output; `ShapeError` if they do not fit."""
    bound = op.bind(x)
    return bound, bound.infer(x)


class UnfinishedError(CnnscopeError):
    """A network that breaks at some layer; ``partial`` is the graph up to there."""

    partial: Graph | None = None


@contextmanager
def unfinished(assembly: Assembly) -> Iterator[None]:
    """Errors inside carry what is assembled so far."""
    try:
        yield
    except CnnscopeError as error:
        failure = UnfinishedError(*error.diagnostics)
        failure.partial = assembly.graph(())
        raise failure from None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Errors inside say which file they are about."""
    note = Note(f"while reading `{path.name}`")
    try:
        yield
    except CnnscopeError as error:
        failure = UnfinishedError(*(replace(d, notes=(*d.notes, note)) for d in error.diagnostics))
        failure.partial = getattr(error, "partial", None)
        raise failure from None


def at_layer(error: CnnscopeError, layer: str) -> CnnscopeError:
    """The same error, saying in which layer."""
    return CnnscopeError(*(replace(d, message=f"layer `{layer}`: {d.message}") for d in error.diagnostics))
