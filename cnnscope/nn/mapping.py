"""Proposes which tensor of a file is which weight of a network when the names differ, by order and shape.

Tensors of one module (weight and bias of a layer, the four of a batch norm) stay together. In a file, modules are in
the order of their registration; in a graph, in the order in which they run. Over a whole network these orders differ
(a shortcut may come after the branch beside it), but hardly ever inside one scope among modules of one shape. So scopes
are matched first (`cnnscope.nn.nesting`). Safetensors files are sorted by name; there only numbers show an order. If
nothing decides which tensor is which, there is no proposal.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason, read_named
from cnnscope.ir import Graph, Node, Param, Shape
from cnnscope.nn.checkpoint import Checkpoint
from cnnscope.nn.nesting import Group, Side, nest
from cnnscope.nn.weights import COUNTER, NameMap, compare, scope_of, squeeze

_ROLES = ("weight", "bias", "running_mean", "running_var", COUNTER)
_SHORTCUT = re.compile(r"(^|[._])(downsample|short_?cut|skip|projection)([._]|$)")


@dataclass(frozen=True, slots=True)
class Proposal:
    """``pairs`` maps the network's keys to the file's. Other keys are left over, or ambiguous.

    ``ambiguous`` lists groups of modules of one shape (the network's, the file's) whose order is not known.
    ``by`` is the reason for the proposal: names, or order and shape.
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
        """Roles and shapes. The role of a single tensor does not count."""
        shapes = {role: shape for role, (_, shape) in self.tensors.items() if role != COUNTER}
        return tuple(("" if len(shapes) == 1 else role, shape) for role, shape in sorted(shapes.items()))

    @property
    def squeezed(self) -> tuple[tuple[str, Shape], ...]:
        """`kind` without axes of size 1."""
        return tuple((role, squeeze(shape)) for role, shape in self.kind)


def propose(graph: Graph, checkpoint: Checkpoint) -> Proposal:
    """Returns a mapping by names where they match, perhaps without a prefix, else one by order and shape."""
    by_name = _by_name(graph, checkpoint)
    if by_name is not None:
        return by_name
    ours = _modules(graph.stored, _run_order(graph), _projections(graph))
    theirs = _modules(checkpoint.tensors, checkpoint.tensors, None)
    alike, flagged = _kinds(ours, theirs)
    sides = (Side([m.name for m in ours], alike[0]), Side([m.name for m in theirs], alike[1], checkpoint.ordered))
    found, doubtful = nest(*sides)
    if not flagged:
        doubtful += _mixed(found, ours, alike[0])
    out = {i for group, _ in doubtful for i in group}
    matched = [(ours[i], theirs[j]) for i, j in sorted(found.items()) if i not in out]
    pairs = {key: name for mine, other in matched for key, name in _pair_up(mine, other)}
    return _proposal(graph, checkpoint, pairs, [
        (tuple(ours[i].name for i in group), tuple(theirs[j].name for j in others)) for group, others in doubtful
    ])  # fmt: skip


def _by_name(graph: Graph, checkpoint: Checkpoint) -> Proposal | None:
    """The mapping that only removes a prefix from one side's names, if it has every tensor of the network."""
    exact = compare(graph, checkpoint)
    if exact.fits:
        return Proposal(exact.matched, "names")
    wanted = [key for key in graph.stored if _owner(key)[1] != COUNTER]
    for ours in dict.fromkeys(("", scope_of(graph.stored))):
        for theirs in ("", *_scopes(checkpoint.tensors)):
            pairs = {key: theirs + key.removeprefix(ours) for key in graph.stored}
            if all(pairs[key] in checkpoint.tensors for key in wanted):
                found = compare(graph, checkpoint, NameMap(pairs))
                if not found.misfits:
                    changed = [f"without `{theirs}`"] * bool(theirs) + [f"with `{ours}`"] * bool(ours)
                    return Proposal(found.matched, ", ".join(["names", *changed]), unused=tuple(found.extra))
    return None


def _kinds(ours: Sequence[_Module], theirs: Sequence[_Module]) -> tuple[list[list[Hashable]], bool]:
    """The kind of each module on either side, and whether the kind includes being a shortcut.

    It is the strictest notion of a kind with which all modules match: shortcuts may have unknown names, and the weight
    of a linear layer fits the kernel of a 1x1 convolution.
    """
    rules: list[tuple[Callable[[_Module], Hashable], bool]] = [
        (lambda m: (m.kind, m.shortcut), True), (lambda m: (m.squeezed, m.shortcut), True),
        (lambda m: m.kind, False), (lambda m: m.squeezed, False),
    ]  # fmt: skip
    for kind, flagged in rules:
        sides: list[list[Hashable]] = [[kind(m) for m in side] for side in (ours, theirs)]
        if Counter(sides[0]) == Counter(sides[1]):
            return sides, flagged
    return [[m.kind for m in side] for side in (ours, theirs)], False


def _mixed(found: Mapping[int, int], ours: Sequence[_Module], kinds: Sequence[Hashable]) -> Iterator[Group]:
    """Modules of one kind of which some are shortcuts. If names do not show which, order does not either."""
    for kind in dict.fromkeys(kinds):
        alike = [i for i in found if kinds[i] == kind]
        if len({ours[i].shortcut for i in alike}) > 1:
            yield tuple(alike), tuple(found[i] for i in alike)


def _proposal(
    graph: Graph, checkpoint: Checkpoint, pairs: Mapping[str, str],
    ambiguous: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
) -> Proposal:  # fmt: skip
    unsure = [{name for group in ambiguous for name in group[side]} for side in (0, 1)]
    used = set(pairs.values())
    unmapped = (key for key in graph.stored if key not in pairs and _owner(key)[1] != COUNTER)
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
    """Keys by layer, in the order of each layer's first key."""
    layers: dict[str, dict[str, tuple[str, Shape]]] = {}
    for key in keys:
        owner, role = _owner(key)
        layers.setdefault(owner, {})[role] = key, params[key].shape
    marked = (lambda name: bool(_SHORTCUT.search(name))) if shortcuts is None else shortcuts.__contains__
    return [_Module(name, tensors, marked(name)) for name, tensors in layers.items()]


def _run_order(graph: Graph) -> Iterator[str]:
    """Keys in the order in which the network uses them; unused keys come last."""
    used = (key for node in graph.nodes for key in node.params.values() if key in graph.stored)
    yield from dict.fromkeys([*used, *graph.stored])


def _projections(graph: Graph) -> frozenset[str]:
    """Layers with weights that only the shorter of two ways into a residual sum passes."""
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


# -- mappings as files -----------------------------------------------------------------------------------------------


def read_name_map(path: Path | str) -> NameMap:
    """Reads a mapping as ``cnnscope weights map -o`` writes it. Raises `CnnscopeError` E426 for any other file."""
    path = Path(path)
    try:
        document = json.loads(read_named(path))
    except FileNotFoundError:
        raise CnnscopeError.of("E426", f"there is no file `{path}`") from None
    except OSError as error:
        raise CnnscopeError.of("E426", f"`{path}` cannot be read: {os_reason(error)}") from None
    except (ValueError, RecursionError) as error:
        raise CnnscopeError.of("E426", f"`{path.name}` is no JSON: {error}") from None
    match document:
        case {"format": "cnnscope.weights_map", "pairs": dict(pairs)}:
            ignore = document.get("ignore", [])
        case _:
            hint = "`cnnscope weights map SOURCE FILE -o mapping.json` writes one"
            raise CnnscopeError.of("E426", f"`{path.name}` is no mapping of weights", hint=hint)
    for name in (*pairs.values(), *(ignore if isinstance(ignore, list) else [None])):
        if not isinstance(name, str):
            raise CnnscopeError.of("E426", f"`{path.name}`: {json.dumps(name)[:40]} is no name of a tensor")
    return NameMap(pairs, ignore)


AUTO = "auto"
"""The name of the mapping that `propose` finds."""


def name_map(graph: Graph, checkpoint: Checkpoint, mapping: str | None) -> NameMap | None:
    """The names that a file of a mapping has, or those of the proposal for `AUTO`; E425 where that is incomplete."""
    if mapping is None:
        return None
    if mapping != AUTO:
        return read_name_map(mapping)
    proposal = propose(graph, checkpoint)
    if not proposal.complete:
        raise CnnscopeError.of(
            "E425",
            f"no mapping of `{checkpoint.path.name}` onto `{graph.name}` is complete",
            hint="`cnnscope weights map` shows what is left; edit what it writes and name it with `--map`",
        )
    return NameMap(proposal.pairs)
