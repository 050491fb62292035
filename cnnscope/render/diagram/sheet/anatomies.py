"""The structures of a network: blocks of one anatomy are one, whatever their widths, strides and extents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_lowercase, ascii_uppercase

from cnnscope.analysis.structure import Block, Part, Repeat, Structure, Unit
from cnnscope.ir import Graph, Node
from cnnscope.render import numbers
from cnnscope.render.diagram import words
from cnnscope.render.diagram.sheet.rows import weighted

CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict", "group", "block"})
"""Scopes whose type says nothing about what they compute."""
KINDS = {"residual": "residual block", "gate": "squeeze and excitation (SE)", "attention": "self-attention",
         "dense": "dense layer", "branches": "branches", "product": "product"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One structure. ``block`` is its first block, with a skip if any has one; ``letter`` names it where several have
    branches, ``marks`` are letters for its layers with widths, and ``followers`` their norms and activations, by id."""

    block: Block
    title: str
    notes: tuple[str, ...] = ()
    letter: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)
    followers: Mapping[str, str] = field(default_factory=dict)


def anatomies(found: Structure) -> dict[Hashable, Anatomy]:
    """The structures by their key, in the order in which the network has them, inner ones after outer ones."""
    groups: dict[Hashable, list[Block]] = {}
    for block in _blocks(found.parts):
        groups.setdefault(key(block), []).append(block)
    branching = [key for key, blocks in groups.items() if blocks[0].kind == "branches"]
    letters = dict(zip(branching, ascii_uppercase, strict=False)) if len(branching) > 1 else {}
    made = {key: _anatomy(blocks, found.graph, letters.get(key, "")) for key, blocks in groups.items()}
    return dict(zip(made, _told_apart(list(made.values())), strict=True))


def _told_apart(found: Sequence[Anatomy]) -> Iterator[Anatomy]:
    """Structures of one title with what tells them apart: a gate, else a number."""
    titles = Counter(one.title for one in found)
    gated = Counter(one.title for one in found if _gated(one.block))
    numbered: Counter[str] = Counter()
    for one in found:
        title = one.title
        if titles[title] > 1 and not one.letter:
            title += " with SE" if _gated(one.block) else ""
            numbered[title] += 1
            several = gated[one.title] if _gated(one.block) else titles[one.title] - gated[one.title]
            title += f" ({numbered[title]})" if several > 1 else ""
        yield replace(one, title=title)


def _gated(block: Block) -> bool:
    return any(isinstance(part, Block) and part.kind == "gate" for part in block.parts)


def _blocks(parts: Iterable[Part]) -> Iterator[Block]:
    for part in parts:
        if isinstance(part, Repeat):
            yield from _blocks(part.parts)
        elif isinstance(part, Block):
            yield part
            yield from _blocks(one for one in inner(part) if not isinstance(one, Unit))


def _anatomy(blocks: Sequence[Block], graph: Graph, letter: str) -> Anatomy:
    ways = {block.shortcut for block in blocks}
    first = next((block for block in blocks if block.shortcut == "identity"), blocks[0])
    notes = []
    if {"identity", "projection"} <= ways:
        notes.append("a projection where the shape changes")
    if {"identity", "none"} <= ways and first.kind == "residual":
        notes.append("the skip only where the shape stays")
    marks: dict[str, str] = {}
    if first.kind == "branches":
        layers = weighted(first)
        marks = {layer.id: ascii_lowercase[i] for i, layer in enumerate(layers[: len(ascii_lowercase)])}
    return Anatomy(first, _title(first, graph), tuple(notes), letter, marks, _followers(first, blocks))


def _title(block: Block, graph: Graph) -> str:
    """The class of the module that is the block, where the network was written with one; else what kind it is."""
    if block.kind in ("gate", "attention"):
        return KINDS[block.kind]
    paths = [graph.node(name).layer.split(".") for name in block.nodes]
    common = paths[0][:-1]
    for path in paths[1:]:
        common = common[: sum(1 for a, b in _while_equal(common, path))]
    kind = graph.scopes.get(".".join(common), "")
    if len(kind) > 2 and kind not in CONTAINERS and _fills(".".join(common), block, graph):
        return kind
    layers = weighted(block)
    if block.kind == "residual" and any(words.label(part).startswith("self-attention") for part in block.parts):
        return "attention"
    if block.kind == "residual" and layers and all(layer.category == "linear" for layer in layers):
        return "MLP"
    return KINDS[block.kind]


def _while_equal(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[str, str]]:
    for a, b in zip(one, other, strict=False):
        if a != b:
            return
        yield a, b


def _fills(scope: str, block: Block, graph: Graph) -> bool:
    """Whether a scope has no layer with weights but those of the block, so that its name is the block's."""
    inside = set(block.nodes)
    return all(node.name in inside for node in graph.nodes if node.params and node.layer.startswith(f"{scope}."))


def inner(block: Block) -> tuple[Part, ...]:
    """The parts of a block as its anatomy draws them: forks and products inside it are drawn with it."""
    found: list[Part] = []
    for part in block.parts:
        found += inner(part) if isinstance(part, Block) and part.kind in ("branches", "product") else [part]
    return tuple(found)


def label(part: Part, *, mark: str = "") -> str:
    """What a box of an anatomy says: the layer without widths and strides."""
    text = _label(part)
    return f"{text} {mark}" if mark else text


def _label(part: Part) -> str:
    if isinstance(part, Block):
        return {"gate": "SE", "attention": "self-attention"}.get(part.kind, part.kind)
    if isinstance(part, Repeat):
        return f"{' · '.join(map(_label, part.parts))} ×{part.count}"
    if not isinstance(part, Unit):
        return part.id
    op = part.main.op
    match part.category:
        case "conv":
            groups, out = getattr(op, "groups", 1), getattr(op, "out", None)
            kind = "upconv" if op.tag == "upconv" else "conv"
            if groups not in (1, None) and groups == out:
                return f"{kind} depthwise"
            grouped = " grouped" if groups not in (1, None) else ""
            return f"{kind} {words.kernel(op)}{grouped}"
        case "linear":
            return "linear" if getattr(op, "out", None) else op.tag
        case "pool":
            return words.unit_label(part).partition(" /")[0]
    return words.unit_label(part).partition(",")[0]


def key(block: Block) -> Hashable:
    """Equal for blocks that are drawn alike but for the names of activations, and for the projection of a skip."""
    if block.main:
        return "residual", tuple(map(_piece, block.main))
    parts = inner(block)
    index = {part.id: i for i, part in enumerate(parts)}
    return block.kind, tuple((_piece(part), tuple(index.get(name, -1) for name in part.inputs)) for part in parts)


def _piece(part: Part) -> Hashable:
    ops = part.ops[1:] if isinstance(part, Unit) else ()
    return _label(part), tuple(
        node.op.category if node.op.category in ("norm", "activation") else _follower(node) for node in ops
    )


def _followers(first: Block, blocks: Sequence[Block]) -> dict[str, str]:
    """The norms and activations behind the layers of a structure: ``BN · relu``, ``BN · relu, silu`` where its blocks
    have different ones."""
    found: dict[str, str] = {}
    for i, part in enumerate(first.main or inner(first)):
        others = [one for block in blocks if len(one := block.main or inner(block)) > i]
        rows = [tuple(map(_follower, one[i].ops[1:])) for one in others if isinstance(one[i], Unit)]  # type: ignore[attr-defined]
        found[part.id] = " · ".join(", ".join(dict.fromkeys(names)) for names in zip(*rows, strict=True))
    for part in inner(first):
        if part.id not in found and isinstance(part, Unit):
            found[part.id] = " · ".join(map(_follower, part.ops[1:]))
    return found


def _follower(node: Node) -> str:
    return words.NORMS.get(node.op.tag, numbers.printable(str(getattr(node.op, "fn", node.op.tag))))


def sign(block: Block) -> str:
    """How the end of a block is drawn: the sign of its join; empty if it has none."""
    last = block.parts[-1]
    joins = isinstance(last, Unit) and last.category == "merge"
    return words.SIGNS.get(words.label(last), "*") if joins else ""
