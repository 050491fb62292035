"""A graph as nested scopes. Each becomes a module with a forward pass of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from keyword import iskeyword

from torch import nn

from cnnscope.analysis.fuse import consumers
from cnnscope.analysis.hierarchy import CONTAINERS
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node
from cnnscope.nn.code import free_name, literal
from cnnscope.nn.ops.base import Code

_EMPTY = nn.Module()
ANONYMOUS = {"", "path", "head"} | CONTAINERS
"""Kinds of scopes that are mere containers."""


@dataclass(frozen=True)
class Item:
    """One step of a scope's forward pass: a node or an inner scope, under its ``name`` inside the scope.

    ``inputs`` and ``outputs`` are names of values in the graph. With ``same_as``, the module of that item runs again.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    node: Node | None = None
    scope: Scope | None = None
    same_as: str | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.node,) if self.node else self.inner.nodes

    @property
    def training_only(self) -> bool:
        return all(node.training_only for node in self.nodes)

    @property
    def inner(self) -> Scope:
        assert self.scope is not None
        return self.scope


@dataclass(frozen=True)
class Scope:
    """A group of nodes under a common ``path``, in an order in which they can run.

    ``kind`` is the source's name for this kind of group, or ""; ``is_row`` marks a layer of several ops.
    """

    path: str
    kind: str
    items: tuple[Item, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    is_row: bool = False

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(node for item in self.items for node in item.nodes)

    @cached_property
    def height(self) -> int:
        """The number of levels of scopes, itself included."""
        return 1 + max((item.inner.height for item in self.items if item.scope), default=0)

    @property
    def follows(self) -> bool:
        """Whether it is a chain: each item reads only the output of the item before it."""
        if len(self.inputs) != 1 or self.outputs != (self.items[-1].outputs if self.items else ()):
            return False
        expected = self.inputs
        for item in self.items:
            if item.inputs != expected or len(item.outputs) != 1 or item.same_as:
                return False
            expected = item.outputs
        return True


def scopes(graph: Graph, codes: Mapping[str, Code]) -> Scope:
    """Returns the whole graph as a scope. ``codes`` has the code of every node.

    A scope without weights is no scope here: its nodes belong to the one around it. Raises `CnnscopeError` E427 if
    parts of two scopes run in turns.
    """
    rows = {node.layer for node in graph.nodes if node.layer != node.name}
    return _Builder(graph, codes, consumers(graph), rows).scope("", graph.nodes)


@dataclass(frozen=True)
class _Builder:
    graph: Graph
    codes: Mapping[str, Code]
    readers: Mapping[str, Sequence[Node]]
    rows: set[str]

    def scope(self, path: str, nodes: Sequence[Node]) -> Scope:
        """The scope of these nodes, all of them under ``path``."""
        names: set[str] = set()
        items = _aliased([self._item(path, group, names) for group in self._groups(path, nodes)])
        inside = {node.name for node in nodes}
        wanted = dict.fromkeys(name for node in nodes for name in node.inputs if name not in inside)
        inputs = tuple(wanted if path else self.graph.inputs)
        outputs = self._outputs(nodes) if path else self.graph.outputs
        return Scope(path, self.graph.scopes.get(path, ""), _in_order(path, items), inputs, outputs, path in self.rows)

    def _groups(self, path: str, nodes: Sequence[Node]) -> list[tuple[str, list[Node]]]:
        """Nodes by the next part of their name. Nodes of a scope without weights are groups of their own."""
        start = f"{path}." if path else ""
        groups: dict[str, list[Node]] = {}
        for node in nodes:
            part = "" if node.name == path and path else node.name.removeprefix(start).partition(".")[0]
            groups.setdefault(part, []).append(node)
        result: list[tuple[str, list[Node]]] = []
        for part, group in groups.items():
            leaf = len(group) == 1 and group[0].name in (start + part, path)
            if leaf or not all(self.codes[node.name].function for node in group):
                result.append((part, group))
            else:
                result += [(node.name.removeprefix(start), [node]) for node in group]
        return result

    def _item(self, path: str, group: tuple[str, list[Node]], names: set[str]) -> Item:
        part, nodes = group
        inner = f"{path}.{part}" if path else part
        if len(nodes) == 1 and (nodes[0].name == path or (nodes[0].name == inner and not self._owns(nodes[0]))):
            name = unique(part or nodes[0].op.tag, names)
            return Item(name, nodes[0].inputs, (nodes[0].name,), node=nodes[0])
        scope = self.scope(inner, nodes)
        return Item(unique(part, names), scope.inputs, scope.outputs, scope=scope)

    def _owns(self, node: Node) -> bool:
        """Whether a node computes with tensors of the module of its name, which needs a class for them."""
        own = [node.params[part] for part in self.codes[node.name].own if isinstance(part, str)]
        return any(key.rpartition(".")[0] == node.name for key in own)

    def _outputs(self, nodes: Sequence[Node]) -> tuple[str, ...]:
        inside = {node.name for node in nodes}
        return tuple(
            node.name
            for node in nodes
            if node.name in self.graph.outputs or any(user.name not in inside for user in self.readers[node.name])
        )


def _aliased(items: Sequence[Item]) -> list[Item]:
    """The items, with `Item.same_as` for those whose weights belong to an earlier item."""
    result: list[Item] = []
    for item in items:
        again = next((other.name for other in result if _runs_again(other.nodes, item.nodes)), None)
        result.append(replace(item, same_as=again))
    return result


def owner(node: Node) -> str | None:
    """The path of the module that has a node's weights; None if there are several or none."""
    owners = {key.removesuffix(f".{role}") for role, key in node.params.items() if key.endswith(f".{role}")}
    return owners.pop() if len(owners) == 1 and len(node.params) > 0 else None


def _runs_again(before: Sequence[Node], nodes: Sequence[Node]) -> bool:
    """Whether ``nodes`` are the nodes ``before`` again, with the same weights on other inputs."""
    if len(before) != len(nodes) or not any(node.params for node in nodes):
        return False
    place = {node.name: i for i, node in enumerate(nodes)}
    place_before = {node.name: i for i, node in enumerate(before)}
    return all(
        a.op == b.op
        and dict(a.params) == dict(b.params)
        and [place_before.get(name) for name in a.inputs] == [place.get(name) for name in b.inputs]
        for a, b in zip(before, nodes, strict=True)
    )


def _in_order(path: str, items: Sequence[Item]) -> tuple[Item, ...]:
    """Items in an order in which each comes after its inputs, as near as possible to the given order."""
    maker = {name: i for i, item in enumerate(items) for name in item.outputs}
    needs = {i: {maker[name] for name in item.inputs if name in maker} - {i} for i, item in enumerate(items)}
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        a, b = (items[i].name for i in error.args[1][:2])
        where = f" of `{path}`" if path else ""
        raise CnnscopeError.of(
            "E427", f"`{a}` and `{b}`{where} run in turns, so neither can be written as a module of its own"
        ) from None
    order: list[int] = []
    ready: list[int] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        order.append(ready.pop(0))
        sorter.done(order[-1])
    return tuple(items[i] for i in order)


def unique(name: str, taken: set[str]) -> str:
    """``name`` without dots and without the number of a repeated call, changed until it is not in ``taken``."""
    result = free_name(name.partition("#")[0].replace(".", "_"), taken, "_")
    taken.add(result)
    return result


def is_attribute(name: str) -> bool:
    """Whether a module can have a submodule of this name as an attribute."""
    return name.isidentifier() and not iskeyword(name) and not hasattr(nn.Module, name) and name != "training"


def registered(name: str) -> str:
    """The name under which a module can register something: any, but for those that torch keeps for itself."""
    return f"{name}_" if hasattr(_EMPTY, name) else name


def member(path: str) -> str:
    """The expression for what is registered in ``self`` under a dotted path: ``getattr(self.blocks, "0").weight``."""
    result = "self"
    for name in path.split("."):
        result = f"{result}.{name}" if is_spoken(name) else f"getattr({result}, {literal(name)})"
    return result


def is_spoken(name: str) -> bool:
    """Whether Python can write an attribute of this name behind a dot, and does not change it inside a class."""
    return name.isidentifier() and not iskeyword(name) and not name.startswith("__")


def variable(name: str) -> str:
    """The name, changed where necessary to be that of a variable."""
    if name.isdigit():
        return f"layer{name}"
    clean = re.sub(r"\W", "_", name)
    clean = clean if not clean[:1].isdigit() else f"_{clean}"
    return clean if is_attribute(clean) else f"{clean}_"
