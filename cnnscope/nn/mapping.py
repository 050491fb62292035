"""Which tensor of a file is which weight of a network, when the names differ: a proposal by order and shape.

Tensors are taken a module at a time (the weight and bias of a layer, the four of a batch norm). Modules of one shape
follow each other in a file as they were registered and in a graph as they run, which is the same but for whole
stretches: a shortcut registered behind the branch it bypasses, a head in front of another. So the longest stretch
of modules both sides have is matched first, then the longest of what is left (greedy string tiling, Wise 1993). Where
a stretch could stand in several places, and order does not tell which, nothing is proposed for it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cnnscope.ir import Graph, Node, Param, Shape
from cnnscope.nn.checkpoint import Checkpoint
from cnnscope.nn.tiling import Doubt, tile
from cnnscope.nn.weights import COUNTER, NameMap, compare, scope_of

_ROLES = ("weight", "bias", "running_mean", "running_var", COUNTER)
_SHORTCUT = re.compile(r"(^|[._])(downsample|short_?cut|skip|projection)([._]|$)")


@dataclass(frozen=True, slots=True)
class Proposal:
    """``pairs`` maps the network's keys to the file's; the rest of either side is left over or ambiguous.

    ``ambiguous`` lists groups of modules of one shape (the network's, the file's) that order does not tell apart.
    ``by`` says what the proposal rests on.
    """

    pairs: Mapping[str, str]
    by: str
    unmapped: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    ambiguous: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every tensor of the network and of the file has its place."""
        return not (self.unmapped or self.unused or self.ambiguous)


@dataclass(frozen=True, slots=True)
class _Module:
    """The tensors of one layer by role; ``shortcut`` marks the projection beside a residual branch."""

    name: str
    tensors: Mapping[str, tuple[str, Shape]]
    shortcut: bool = False

    @property
    def kind(self) -> tuple[tuple[str, Shape], ...]:
        """Roles and shapes; a lone tensor is called as its author liked."""
        shapes = {role: shape for role, (_, shape) in self.tensors.items() if role != COUNTER}
        return tuple(("" if len(shapes) == 1 else role, shape) for role, shape in sorted(shapes.items()))

    @property
    def family(self) -> Hashable:
        """What layers of one type have in common: roles and numbers of axes."""
        return tuple((role, len(shape)) for role, shape in self.kind)


def propose(graph: Graph, checkpoint: Checkpoint) -> Proposal:
    """The mapping of names where they match, perhaps without a prefix; else by order and shape."""
    by_name = _by_name(graph, checkpoint)
    if by_name is not None:
        return by_name
    ours = _modules(graph.params, _run_order(graph), _projections(graph))
    theirs = _modules(checkpoint.tensors, _file_order(checkpoint), None)
    alike: list[list[Hashable]] = [[(m.kind, m.shortcut) for m in side] for side in (ours, theirs)]
    if Counter(alike[0]) != Counter(alike[1]):  # shortcuts have names we do not know, or are none
        alike = [[m.kind for m in side] for side in (ours, theirs)]
    if checkpoint.ordered:
        found, doubtful = tile(alike[0], alike[1])
    else:
        found, doubtful = _sorted_tile(alike[0], alike[1], [m.family for m in ours], theirs)
    out = {i for group, _ in doubtful for i in group}
    matched = [(ours[i], theirs[j]) for i, j in sorted(found.items()) if i not in out]
    pairs = {key: name for mine, other in matched for key, name in _pair_up(mine, other)}
    return _proposal(graph, checkpoint, pairs, [
        (tuple(ours[i].name for i in group), tuple(theirs[j].name for j in others)) for group, others in doubtful
    ])  # fmt: skip


def _by_name(graph: Graph, checkpoint: Checkpoint) -> Proposal | None:
    """The mapping that only takes a prefix off one side's names, if every tensor of the network finds itself."""
    exact = compare(graph, checkpoint)
    if exact.fits:
        return Proposal(exact.matched, "names")
    wanted = [key for key in graph.params if _owner(key)[1] != COUNTER]
    for ours in dict.fromkeys(("", scope_of(graph.params))):
        for theirs in ("", *_scopes(checkpoint.tensors)):
            pairs = {key: theirs + key.removeprefix(ours) for key in graph.params}
            if all(pairs[key] in checkpoint.tensors for key in wanted):
                found = compare(graph, checkpoint, NameMap(pairs))
                if not found.misfits:
                    changed = [f"without `{theirs}`"] * bool(theirs) + [f"with `{ours}`"] * bool(ours)
                    return Proposal(found.matched, ", ".join(["names", *changed]), unused=tuple(found.extra))
    return None


def _proposal(
    graph: Graph, checkpoint: Checkpoint, pairs: Mapping[str, str],
    ambiguous: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
) -> Proposal:  # fmt: skip
    unsure = [{name for group in ambiguous for name in group[side]} for side in (0, 1)]
    used = set(pairs.values())
    unmapped = (key for key in graph.params if key not in pairs and _owner(key)[1] != COUNTER)
    unused = (key for key in checkpoint.tensors if key not in used and _owner(key)[1] != COUNTER)
    return Proposal(
        pairs=pairs, by="order and shape",
        unmapped=tuple(key for key in unmapped if _owner(key)[0] not in unsure[0]),
        unused=tuple(key for key in unused if _owner(key)[0] not in unsure[1]),
        ambiguous=tuple(ambiguous),
    )  # fmt: skip


# -- modules on either side ------------------------------------------------------------------------------------------


def _owner(key: str) -> tuple[str, str]:
    """The layer a tensor belongs to, and its role there. ``in_proj_weight`` is the weight of a layer ``in_proj``."""
    owner, _, role = key.rpartition(".")
    if role in _ROLES:
        return owner, role
    joined = re.fullmatch(r"(\w+)_(weight|bias)", role)
    if joined:
        return f"{owner}.{joined[1]}" if owner else joined[1], joined[2]
    return key, ""


def _modules(params: Mapping[str, Param], keys: Iterable[str], shortcuts: frozenset[str] | None) -> list[_Module]:
    """Keys gathered by layer, layers in the order of their first key."""
    layers: dict[str, dict[str, tuple[str, Shape]]] = {}
    for key in keys:
        owner, role = _owner(key)
        layers.setdefault(owner, {})[role] = key, params[key].shape
    marked = (lambda name: bool(_SHORTCUT.search(name))) if shortcuts is None else shortcuts.__contains__
    return [_Module(name, tensors, marked(name)) for name, tensors in layers.items()]


def _run_order(graph: Graph) -> Iterator[str]:
    """Keys as the network uses them, those it never uses last."""
    yield from dict.fromkeys([*(key for node in graph.nodes for key in node.params.values()), *graph.params])


def _file_order(checkpoint: Checkpoint) -> Sequence[str]:
    """Keys as they were registered. Where the format sorted them, ``layer10`` at least comes after ``layer2``."""
    if checkpoint.ordered:
        return list(checkpoint.tensors)
    return sorted(checkpoint.tensors, key=lambda key: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", key)])


def _projections(graph: Graph) -> frozenset[str]:
    """Layers with weights on the shorter way into a residual sum: those its other inputs do not depend on."""
    position = {node.name: i for i, node in enumerate(graph.nodes)}
    reach: list[int] = []  # per node the nodes it depends on, itself included, as bits
    for i, node in enumerate(graph.nodes):
        bits = 1 << i
        for name in node.inputs:
            bits |= reach[position[name]] if name in position else 0
        reach.append(bits)
    weighted = sum(1 << i for i, node in enumerate(graph.nodes) if "weight" in node.params and _has_kernel(node))
    found: set[str] = set()
    for node in graph.nodes:
        ways = [reach[position[name]] for name in node.inputs if name in position]
        if node.op.tag != "add" or len(ways) != 2:
            continue
        short, long = sorted((ways[0] & ~ways[1], ways[1] & ~ways[0]), key=lambda way: (way & weighted).bit_count())
        if (short & weighted).bit_count() == 1 < (long & weighted).bit_count():
            inside = (n for i, n in enumerate(graph.nodes) if short >> i & 1)
            found |= {_owner(key)[0] for n in inside for key in n.params.values()}
    return frozenset(found)


def _has_kernel(node: Node) -> bool:
    return node.op.category in ("conv", "linear")


def _scopes(keys: Iterable[str]) -> Sequence[str]:
    """Every dotted prefix that occurs, shortest first."""
    prefixes = {key[: dot.end()] for key in keys for dot in re.finditer(r"\.", key)}
    return sorted(prefixes, key=lambda prefix: (prefix.count("."), prefix))


def _pair_up(mine: _Module, other: _Module) -> Iterator[tuple[str, str]]:
    for role, (key, _) in mine.tensors.items():
        if role in other.tensors:
            yield key, other.tensors[role][0]
        elif role != COUNTER:
            yield key, next(name for r, (name, _) in other.tensors.items() if r != COUNTER)


def _sorted_tile(
    ours: Sequence[Hashable], theirs: Sequence[Hashable], families: Sequence[Hashable], modules: Sequence[_Module]
) -> tuple[dict[int, int], Doubt]:
    """`tile` for a file sorted by name, where only numbers tell the order: layers of each family by themselves.

    Layers of one shape whose names differ in more than numbers could be either, whatever order they are in.
    """
    pairs: dict[int, int] = {}
    doubt: Doubt = []
    for family in dict.fromkeys(families):
        mine = [i for i, f in enumerate(families) if f == family]
        others = [j for j, module in enumerate(modules) if module.family == family]
        found, unsure = tile([ours[i] for i in mine], [theirs[j] for j in others])
        pairs |= {mine[i]: others[j] for i, j in found.items()}
        doubt += [(tuple(mine[i] for i in a), tuple(others[j] for j in b)) for a, b in unsure]
    for kind in dict.fromkeys(theirs):
        alike = [(i, j) for i, j in pairs.items() if theirs[j] == kind]
        if len({re.sub(r"\d+", "#", modules[j].name) for _, j in alike}) > 1:
            doubt.append((tuple(i for i, _ in alike), tuple(j for _, j in alike)))
    return pairs, doubt
