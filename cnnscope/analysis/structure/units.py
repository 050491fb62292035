"""From nodes to units: what is transparent is hidden, what follows an op and belongs to it is fused with it.

In contrast to `cnnscope.analysis.fuse` no name is asked for: a torch module, a Keras model and an ONNX file write the
same network with other layers between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod

from cnnscope.analysis.structure.parts import merging
from cnnscope.analysis.structure.places import Place
from cnnscope.ir import Graph, Node

MOVED = frozenset({"regularization", "movement"})
"""Categories of ops that change no number: what they give stands for what they read."""
MAIN = frozenset({"conv", "linear", "pool", "resize", "attention"})
"""Categories of ops that may begin a unit with followers of any kind."""
RESAMPLING = frozenset({"pixelshuffle", "pixelunshuffle"})
"""Ops that move channels to positions or back, as an upsampling or downsampling does."""
LONGEST = 16
"""Units of arithmetic that may be one activation or norm."""
ADDED = frozenset({"classtoken", "position"})
"""Ops on tokens that belong to what makes the tokens, although their category is that of attention."""


@dataclass(slots=True)
class Draft:
    """A unit on the way: its visible ``ops`` and the ids of the units it reads. ``id`` is the last visible op."""

    ops: list[Node]
    reads: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.ops[-1].name


@dataclass(slots=True)
class Seen:
    """The network without what is hidden: ``shown`` nodes by name in order, what each reads, who reads it, and what
    stands for a hidden node."""

    shown: dict[str, Node]
    reads: dict[str, tuple[str, ...]]
    readers: dict[str, list[str]]
    stands: dict[str, str]


def seen(graph: Graph, places: Mapping[str, Place]) -> Seen:
    """Hides every node that only moves what one other node gives, and everything that depends on no image."""
    stands = {name: name for name in graph.inputs}
    shown: dict[str, Node] = {}
    reads: dict[str, tuple[str, ...]] = {}
    for node in graph.nodes:
        if node.name not in graph.images:
            continue
        sources = tuple(dict.fromkeys(stands[name] for name in node.inputs if name in stands))
        if len(sources) == 1 and _hidden(node, places[sources[0]], places[node.name]):
            stands[node.name] = sources[0]
            continue
        stands[node.name] = node.name
        shown[node.name], reads[node.name] = node, sources
    readers: dict[str, list[str]] = {name: [] for name in (*graph.inputs, *shown)}
    for name, sources in reads.items():
        for source in sources:
            readers[source].append(name)
    return Seen(shown, reads, readers, stands)


def _hidden(node: Node, before: Place, after: Place) -> bool:
    """Whether a node changes no number of the one value it reads, and no resolution that a reader would miss.

    A concatenation of pieces of one value that gives as many positions and channels again only moves them, as a cyclic
    shift does.
    """
    if node.op.tag in RESAMPLING:
        return False
    if merging(node) == "concat":
        return (prod(before.size), before.channels) == (prod(after.size), after.channels)
    return node.op.category in MOVED or node.op.is_view


def drafts(graph: Graph, places: Mapping[str, Place]) -> tuple[dict[str, Draft], dict[str, str]]:
    """The units of a network by id in order, and the unit or network input that each node belongs to."""
    view = seen(graph, places)
    outputs = {view.stands[name] for name in graph.outputs if name in view.stands}
    head: dict[str, str] = {}
    units: dict[str, list[Node]] = {}
    for name, node in view.shown.items():
        if name not in head:
            chain = _chain(node, view, graph.images, outputs)
            units[name] = chain
            head |= {member.name: name for member in chain}
    last = {name: chain[-1].name for name, chain in units.items()}
    ident = {name: name for name in graph.inputs} | {name: last[first] for name, first in head.items()}
    found = {
        last[first]: Draft(chain, tuple(dict.fromkeys(ident[s] for s in view.reads[first])))
        for first, chain in units.items()
    }
    found = _gates(found, places, graph.images, {ident[name] for name in outputs})
    known = {member.name: draft.id for draft in found.values() for member in draft.ops}
    known |= {name: name for name in graph.inputs}
    return found, {name: known[stands] for name, stands in view.stands.items()}


def _chain(node: Node, view: Seen, images: Collection[str], outputs: set[str]) -> list[Node]:
    """A node and its followers: each is the only reader of the one before and reads nothing else."""
    chain = [node]
    while len(view.readers[node.name]) == 1 and node.name not in outputs:
        (name,) = view.readers[node.name]
        node = view.shown[name]
        if (
            len(view.reads[name]) != 1
            or not minor(node, images)
            or not _follows(chain[0], node, len(view.reads[chain[0].name]))
        ):
            break
        chain.append(node)
    return chain


def _follows(main: Node, node: Node, sources: int) -> bool:
    """Whether a node is no more than an addition to the unit that begins with ``main``, which reads ``sources``."""
    joins = sources > 1 or main.op.category == "merge"
    return not joins or node.op.category != "norm"  # a norm behind a join belongs to the layer that it stands before


def minor(node: Node, images: Collection[str]) -> bool:
    """Whether a node is a detail to a reader: a norm, an activation, arithmetic with constants, a class token."""
    if node.op.category in ("norm", "activation") or node.op.tag in ADDED or node.op.tag in ("elementwise", "affine"):
        return True
    join = merging(node)
    return join is not None and (join != "concat" or sum(name in images for name in node.inputs) == 1)


def _gates(
    drafts: dict[str, Draft], places: Mapping[str, Place], images: Collection[str], outputs: set[str]
) -> dict[str, Draft]:
    """Activations and norms that a source writes as arithmetic become what they are: ``x * sigmoid(x)`` and
    ``(x - mean) / deviation`` are no blocks, but followers of what gives x."""
    readers: dict[str, list[str]] = {}
    for draft in drafts.values():
        for name in draft.reads:
            readers.setdefault(name, []).append(draft.id)
    whole, place = dict(drafts), {name: i for i, name in enumerate(drafts)}
    for draft in drafts.values():
        entry, region = _arithmetic(draft, whole, places, images)
        inside = {*region, draft.id}
        if not region or any(name in outputs or not inside.issuperset(readers[name]) for name in region):
            continue
        region.sort(key=place.__getitem__)
        ops = [node for name in (*region, draft.id) for node in whole[name].ops]
        for name in region:
            del whole[name]
        before = whole.get(entry)
        if before and inside.issuperset(readers[entry]) and entry not in outputs and _takes(before):
            del whole[entry]
            whole[draft.id] = Draft([*before.ops, *ops], before.reads)
            inside.add(entry)
        else:
            whole[draft.id] = Draft(ops, (entry,))
        for name in whole[draft.id].reads:
            readers[name] = [*dict.fromkeys(draft.id if reader in inside else reader for reader in readers[name])]
    return {name: whole[name] for name in drafts if name in whole}


def _takes(draft: Draft) -> bool:
    return draft.ops[0].op.category in (*MAIN, "norm")


def _arithmetic(
    join: Draft, drafts: Mapping[str, Draft], places: Mapping[str, Place], images: Collection[str]
) -> tuple[str, list[str]]:
    """The one value that a join is computed from by arithmetic alone, and the units between; ("", []) if there is none
    or its extents are others."""
    if len(join.reads) < 2 or merging(join.ops[0]) in (None, "concat"):
        return "", []
    region: dict[str, None] = {}
    entries: set[str] = set()
    stack = list(join.reads)
    while stack and len(region) <= LONGEST:
        name = stack.pop()
        draft = drafts.get(name)
        if draft is None or not _plain(draft, images):
            entries.add(name)
        elif name not in region:
            region[name] = None
            stack += draft.reads
    if stack or len(entries) != 1:
        return "", []
    (entry,) = entries
    same = places[entry].size == places[join.id].size
    return (entry, list(region)) if same else ("", [])


def _plain(draft: Draft, images: Collection[str]) -> bool:
    """Whether a unit is arithmetic without weights: elementwise, or a mean or sum."""
    return not any(node.params for node in draft.ops) and all(
        node.op.tag == "reduce" or (minor(node, images) and node.op.category != "norm") for node in draft.ops
    )
