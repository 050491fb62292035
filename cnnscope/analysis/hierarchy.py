"""The shape of an architecture: its nested groups, which of them are blocks, and which repeat.

Groups come from names (``layer1.0.conv1`` is in ``layer1.0`` in ``layer1``), so specs, torch modules, Keras and ONNX
models are alike. Two groups are *equal* if the same ops with the same arguments and shapes are wired the same way;
they are *similar* if only the number of channels that enter and leave differs, as along a dense block.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from cnnscope.analysis.fuse import Unit, fuse
from cnnscope.ir import Graph

CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict"})
"""Kinds of containers that say nothing about their content."""


@dataclass(frozen=True)
class Group:
    """A scope: ``path`` (empty for the whole network), what kind of block it is, and its parts in execution order."""

    path: str
    kind: str
    children: tuple[Group | Unit, ...]

    @property
    def block(self) -> str:
        """A key that is equal for blocks of one kind; a plain container has a key of its own."""
        return self.path if self.kind in CONTAINERS else self.kind

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units inside, however deep, in execution order of the children."""
        return tuple(unit for child in self.children for unit in units_of(child))

    @cached_property
    def signature(self) -> Hashable:
        """A key that is equal for equal groups."""
        return signature(self.units)

    @cached_property
    def family(self) -> Hashable:
        """A key that is equal for similar groups."""
        return signature(self.units, channels=False)


Part = Group | Unit


@dataclass(frozen=True, slots=True)
class Run:
    """Equal or similar neighbours in a row: ``count`` parts, of which the first stands for all.

    ``growth`` is the number of channels that each similar part has more than the one before; 0 for equal parts.
    """

    parts: tuple[Part, ...]
    growth: int = 0

    @property
    def first(self) -> Part:
        return self.parts[0]

    @property
    def count(self) -> int:
        return len(self.parts)


def units_of(part: Part) -> tuple[Unit, ...]:
    """The units of a group, or the unit itself."""
    return part.units if isinstance(part, Group) else (part,)


def hierarchy(graph: Graph) -> Group:
    """The whole network as nested groups.

    A group whose only content is another group is replaced by it, under its name.
    """
    root: dict[tuple[str, str], Any] = {}
    for unit in fuse(graph):
        *scopes, leaf = unit.name.split(".")
        level: dict[tuple[str, str], Any] = root
        for scope in scopes:
            level = level.setdefault(("group", scope), {})
        level.setdefault(("units", leaf), []).append(unit)
    return _group("", root, graph)


def _group(path: str, content: dict[Any, Any], graph: Graph) -> Group:
    children: list[Part] = []
    for (what, name), inside in content.items():
        if what == "units":
            children.extend(inside)
            continue
        group = _group(f"{path}.{name}" if path else name, inside, graph)
        only = group.children[0] if len(group.children) == 1 else group
        if isinstance(only, Group):
            only = replace(only, path=group.path, kind=group.kind if only.kind in CONTAINERS else only.kind)
        children.append(only)
    return Group(path, graph.scopes.get(path, path.rpartition(".")[2]), tuple(children))


def signature(units: Sequence[Unit], *, channels: bool = True) -> Hashable:
    """What the units compute and how they are wired, independent of their names and place."""
    nodes = [node for unit in units for node in unit.nodes]
    index = {node.name: i for i, node in enumerate(nodes)}
    outside: dict[str, str] = {}
    parts = []
    for node in nodes:
        wires = tuple(index[i] if i in index else outside.setdefault(i, f"in{len(outside)}") for i in node.inputs)
        shape = node.output.features
        parts.append((node.op, shape if channels else shape[1:], wires))
    return tuple(parts)


def fold(parts: Sequence[Part], *, similar: bool = False) -> tuple[Run, ...]:
    """Neighbours that are equal become one run; with ``similar``, neighbours that grow by equal steps do too."""
    runs: list[Run] = []
    for _, equal in groupby(parts, key=_signature):
        runs.append(Run(tuple(equal)))
    return tuple(_grow(runs)) if similar else tuple(runs)


def _signature(part: Part) -> Hashable:
    return part.signature if isinstance(part, Group) else signature((part,))


def _grow(runs: Sequence[Run]) -> Iterator[Run]:
    """Single, similar neighbours whose channels grow by a constant step become one run."""
    singles: list[Part] = []
    step = 0
    for run in runs:
        part = run.first
        growth = _channels(part) - _channels(singles[-1]) if singles else 0
        grows = isinstance(part, Group) and run.count == 1 and growth > 0 and step in (0, growth)
        if singles and grows and _family(part) == _family(singles[-1]):
            singles.append(part)
            step = growth
            continue
        if singles:
            yield Run(tuple(singles), step)
        singles, step = [], 0
        if isinstance(part, Group) and run.count == 1:
            singles = [part]
        else:
            yield run
    if singles:
        yield Run(tuple(singles), step)


def _family(part: Part) -> Hashable:
    return part.family if isinstance(part, Group) else signature((part,), channels=False)


def _channels(part: Part) -> int:
    """The channels of the first unit of each layer in a dense block, which grow along the block."""
    features = units_of(part)[0].last.output.features
    return features[0] if features else 0


def is_chain(group: Group) -> bool:
    """Whether the group's parts form a chain: each reads only the output of the one before."""
    owner = {node.name: i for i, part in enumerate(group.children) for unit in units_of(part) for node in unit.nodes}
    entries: set[str] = set()
    for i, part in enumerate(group.children):
        for unit in units_of(part):
            for name in (name for node in unit.nodes for name in node.inputs):
                source = owner.get(name)
                if source is None:
                    entries.add(name)
                    if i > 0:
                        return False
                elif source not in (i, i - 1):
                    return False
    return len(entries) <= 1


def block_kinds(root: Group) -> frozenset[str]:
    """Kinds of groups that are blocks: at least one group of the kind branches (a residual, an inception module).

    A group of three or more equal or similar groups in a row is a stage of blocks, however they are wired.
    """
    return frozenset(_branching(root, top=True))


def _branching(group: Group, *, top: bool = False) -> Iterator[str]:
    stage = any(run.count > 2 and isinstance(run.first, Group) for run in fold(group.children, similar=True))
    if not top and not stage and not is_chain(group):
        yield group.block
        return
    for child in group.children:
        if isinstance(child, Group):
            yield from _branching(child)
