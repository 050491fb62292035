"""The parts that a network is made of: inputs, units, blocks and repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from cnnscope.analysis.cost import Cost, known
from cnnscope.analysis.receptive_field import Field
from cnnscope.ir import Graph, Node, Shape

Kind = Literal["residual", "gate", "attention", "dense", "branches", "product"]
"""What joins the branches of a block.

``residual``: a sum of a branch with its entry or a projection of it. ``gate``: a product with a gate that reads a whole
image (squeeze and excitation). ``attention``: products of positions with positions under a softmax. ``dense``: a
concatenation with the entry itself. ``branches``: any other sum or concatenation. ``product``: any other join.
"""

Shortcut = Literal["identity", "projection", "none"]
"""What a residual block adds to its main branch. ``none``: a chain that is the main branch of other blocks here, such
as the first of each stage in an inverted residual network.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """What all parts have.

    ``id`` is the node (or network input) that gives the part its output; ``inputs`` are the ids of the parts it reads.
    ``nodes`` are all nodes inside, views and constants included, in execution order. ``shape`` is the output's, without
    the batch; ``size`` its extents along the image's axes (``(197,)`` for tokens, empty for a vector) and ``channels``
    the number of channels at each position. ``level`` is the binary logarithm of the stride, so that 3 stands for an
    eighth of the image's resolution; None for a vector. ``output`` says whether the network returns it.
    """

    id: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    shape: Shape
    size: tuple[int, ...]
    channels: int
    level: int | None
    cost: Cost
    output: bool = False
    training_only: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Input(Part):
    """An input of the network; its nodes are views of it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit(Part):
    """Ops that are one thing to a reader: ``ops`` are those that are no views, the first gives the unit its kind."""

    ops: tuple[Node, ...]

    @property
    def main(self) -> Node:
        return self.ops[0]

    @property
    def category(self) -> str:
        """The category of the main op. A join that reads one part alone is a rearrangement of what it gives if it
        concatenates (the four phases of patch merging), else arithmetic of the category ``other``."""
        category = "merge" if merging(self.main) else self.main.op.category
        if category != "merge" or len(self.inputs) > 1:
            return category
        return "movement" if merging(self.main) == "concat" else "other"


@dataclass(frozen=True, kw_only=True, eq=False)
class Block(Part):
    """A region that is entered at the output of the part ``entry`` alone and left at its last part alone.

    ``parts`` are in execution order. Only residual blocks have a ``main`` branch, with the parts of the ``projection``
    beside it, and only where both are chains.
    """

    kind: Kind
    entry: str
    parts: tuple[Part, ...]
    main: tuple[Part, ...] = ()
    projection: tuple[Part, ...] = ()
    shortcut: Shortcut = "none"

    @cached_property
    def branches(self) -> tuple[tuple[Part, ...], ...]:
        """The chains that the last part joins, each from the entry or from where it forks to the join; an empty one is
        the entry itself."""
        inside = {part.id: part for part in self.parts}
        return tuple(tuple(reversed(list(_upwards(inside, name)))) for name in self.parts[-1].inputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Repeat(Part):
    """``count`` times the same ``parts`` one after another, which may differ in the channels that they read.

    ``parts`` are those of the first time, ``members`` all. ``growth`` is the number of channels by which the output
    grows each time, along a dense block; 0 otherwise.
    """

    parts: tuple[Part, ...]
    members: tuple[Part, ...]
    count: int
    growth: int = 0

    @property
    def first(self) -> Part:
        return self.parts[0]


def _upwards(inside: Mapping[str, Part], name: str) -> Iterator[Part]:
    while name in inside:
        yield inside[name]
        if len(inside[name].inputs) != 1:
            return
        name = inside[name].inputs[0]


@dataclass(frozen=True)
class Structure:
    """The parts of a network in topological order, and where each node went.

    ``graph`` is the network with chained concatenations (`cnnscope.analysis.fuse.chain_concats`); ``chained`` says how
    many. ``owner`` has the id of the part for each network input and each node that an image reaches. ``rest`` is the
    cost of what belongs to no part: weights that no op reads.
    """

    graph: Graph
    parts: tuple[Part, ...]
    owner: Mapping[str, str]
    fields: Mapping[str, Field] = field(repr=False)
    costs: Mapping[str, Cost] = field(repr=False)
    rest: Cost
    chained: int = 0

    @cached_property
    def totals(self) -> Cost:
        """The cost of the whole network: the sum over parts, and the rest."""
        return known((*(part.cost for part in self.parts), self.rest))

    @cached_property
    def readers(self) -> Mapping[str, tuple[Part, ...]]:
        """The parts that read each part, in execution order."""
        found: dict[str, list[Part]] = {part.id: [] for part in self.parts}
        for part in self.parts:
            for name in part.inputs:
                found[name].append(part)
        return {name: tuple(parts) for name, parts in found.items()}


def flat(part: Part) -> Iterator[Unit]:
    """All units inside a part, however deep; of a repeat those of every time."""
    match part:
        case Unit():
            yield part
        case Block():
            for inner in part.parts:
                yield from flat(inner)
        case Repeat():
            for inner in part.members:
                yield from flat(inner)


def merging(node: Node) -> str | None:
    """How a node joins several values: ``add``, ``sub``, ``mul``, ``concat`` or another function; None if it does not.

    A traced network adds and concatenates with ops of its own, which mean the same.
    """
    tag = node.op.tag
    if tag == "elementwise":
        return str(getattr(node.op, "fn", tag)) if len(node.inputs) > 1 else None
    if tag == "join":
        return "concat"
    return tag if node.op.category == "merge" else None
