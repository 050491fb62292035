"""Blocks: regions of units with one entry and one exit, found by dominators, and what kind each is.

A join's immediate dominator is the last unit that every path to it passes. What lies between is a block if nothing
outside reads it but through the join, and if it lies on the levels of its two ends and does not go up: so a U-Net and a
feature pyramid stay open. Joins are tried in topological order, inner blocks first; a region that has become a block
leaves the dominators of all others as they were, so they are computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cnnscope.analysis.cost import known
from cnnscope.analysis.structure.keys import Keys
from cnnscope.analysis.structure.parts import Block, Kind, Part, Shortcut, Unit, flat, merging

MOST, DEEPEST = 200, 8
"""The parts of a block, and how deep blocks lie in one another; more is no figure that a reader would take as one."""
SHORT = 2
"""A projection beside a residual branch has at most this many parts: a pool and a convolution."""


def collapsed(parts: Sequence[Part], keys: Keys) -> tuple[Part, ...]:
    """The parts with every region that is a block as one; inner blocks in outer ones."""
    net = {part.id: part for part in parts}
    order = {part.id: i for i, part in enumerate(parts)}
    dominators = _dominators(parts)
    readers = _readers(parts)
    for part in parts:
        region = {part.id} if _is_attention(part) else _region(net, part, dominators[part.id])
        if region is None or not _closed(net, readers, region, part, net[dominators[part.id]]):
            continue
        inner = tuple(net[name] for name in sorted(region, key=order.__getitem__))
        if max(map(_depth, inner)) >= DEEPEST:
            continue
        block = _block(inner, net[dominators[part.id]])
        if block.kind == "attention":
            block = _with_projections(block, net, readers)
        for one in block.parts:
            del net[one.id]
        net[block.id] = block
        inside = {one.id for one in block.parts}
        readers[block.entry] = [block.id, *(name for name in readers[block.entry] if name not in inside)]
    return _without_skip(tuple(net[part.id] for part in parts if part.id in net), keys)


def _readers(parts: Sequence[Part]) -> dict[str, list[str]]:
    readers: dict[str, list[str]] = {part.id: [] for part in parts}
    for part in parts:
        for name in part.inputs:
            readers[name].append(part.id)
    return readers


def _dominators(parts: Sequence[Part]) -> dict[str, str]:
    """The immediate dominator of each part; empty where there is none (Cooper, Harvey & Kennedy 2001, "A simple, fast
    dominance algorithm"; one pass is enough in topological order)."""
    found: dict[str, str] = {}
    depth: dict[str, int] = {"": 0}
    for part in parts:
        common = part.inputs[0] if part.inputs else ""
        for other in part.inputs[1:]:
            while common != other:
                if depth[common] < depth[other]:
                    other = found[other]
                else:
                    common = found[common]
        found[part.id] = common
        depth[part.id] = depth[common] + 1
    return found


def _is_attention(part: Part) -> bool:
    """Whether a part is attention whose queries, keys and values come from one projection."""
    return isinstance(part, Unit) and part.main.op.tag == "sdpa" and len(part.inputs) == 1


def _region(net: Mapping[str, Part], join: Part, entry: str) -> set[str] | None:
    """The parts between the entry and a join, the join included; None if there is no entry, if one lies on a level of
    neither end, and if they are too many."""
    if len(join.inputs) < 2 or not entry:
        return None
    levels = {None, net[entry].level, join.level}
    region: set[str] = set()
    stack = [join.id]
    while stack:
        name = stack.pop()
        if name in region or name == entry:
            continue
        if net[name].level not in levels or len(region) == MOST:
            return None
        region.add(name)
        stack.extend(net[name].inputs)
    return region


def _depth(part: Part) -> int:
    return 1 + max(map(_depth, part.parts)) if isinstance(part, Block) else 0


def _closed(
    net: Mapping[str, Part], readers: Mapping[str, Sequence[str]], region: set[str], join: Part, entry: Part
) -> bool:
    """Whether the region is left at the join alone, and goes down or stays on its level."""
    if join.level is not None and entry.level is not None and join.level < entry.level:
        return False
    inside = region - {join.id}
    return not any(net[name].output or not region.issuperset(readers[name]) for name in inside)


def _block(inner: tuple[Part, ...], entry: Part) -> Block:
    join = inner[-1]
    bare = _of(inner, entry.id, "branches")
    branches = bare.branches
    kind: Kind = _kind(join, inner, entry)
    if kind != "residual":
        return replace(bare, kind=kind)
    short, main = sorted(branches, key=len) if len(branches) == 2 else ((), ())
    chains = all(branch[0].inputs == (entry.id,) for branch in (short, main) if branch)
    if chains and len(main) > len(short) <= SHORT:
        shortcut: Shortcut = "projection" if short else "identity"
        return replace(bare, kind="residual", main=main, projection=short, shortcut=shortcut)
    whole = entry.id in join.inputs
    return replace(bare, kind="residual" if whole else "branches", shortcut="identity" if whole else "none")


def _with_projections(block: Block, net: Mapping[str, Part], readers: Mapping[str, Sequence[str]]) -> Block:
    """Attention with the projections before and after it, where nothing else reads what they give."""
    parts, entry = block.parts, block.entry
    before, inside = net[entry], {part.id for part in block.parts}
    if _projects(before) and not before.output and inside.issuperset(readers[entry]):
        parts, entry = (before, *parts), before.inputs[0]
    if not block.output and len(readers[block.id]) == 1 and _projects(after := net[readers[block.id][0]]):
        parts = (*parts, after)
    return _of(parts, entry, "attention")


def _projects(part: Part) -> bool:
    return isinstance(part, Unit) and part.category == "linear" and len(part.inputs) == 1


def _of(inner: tuple[Part, ...], entry: str, kind: Kind) -> Block:
    last = inner[-1]
    return Block(
        id=last.id, nodes=tuple(name for part in inner for name in part.nodes), inputs=(entry,), shape=last.shape,
        size=last.size, channels=last.channels, level=last.level, cost=known(part.cost for part in inner),
        output=last.output, training_only=last.training_only, kind=kind, entry=entry, parts=inner,
    )  # fmt: skip


def _kind(join: Part, inner: Sequence[Part], entry: Part) -> Kind:
    ops = [node for part in inner for unit in flat(part) for node in unit.ops]
    tags = [node.op.tag for node in ops]
    how = merging(join.main) if isinstance(join, Unit) else None
    attends = "sdpa" in tags or "attention" in tags or ("softmax" in tags and tags.count("matmul") >= 2)
    if how == "mul" and any(_pools_all(part) for part in inner):
        return "gate"
    if attends and how != "add":
        return "attention"
    if how == "add":
        return "residual"
    if how == "concat":
        grows = entry.id in join.inputs and join.channels > entry.channels
        return "dense" if grows else "branches"
    return "product"


def _pools_all(part: Part) -> bool:
    """Whether a part reduces whole images to vectors."""
    return any(unit.level is None and unit.category == "pool" for unit in flat(part))


def _without_skip(parts: tuple[Part, ...], keys: Keys) -> tuple[Part, ...]:
    """Chains of the anatomy of a residual block's main branch, if it has a depthwise convolution or a gate, are that
    block without its skip: the first of each stage of an inverted residual network."""
    patterns = {
        keys.chain(part.main): len(part.main)
        for part in parts
        if isinstance(part, Block) and len(part.main) > 1 and any(map(_telling, part.main))
    }
    if not patterns:
        return parts
    readers = _readers(parts)
    place = {part.id: i for i, part in enumerate(parts)}
    longest = sorted(set(patterns.values()), reverse=True)
    taken: set[str] = set()
    found: dict[str, Block] = {}
    for part in parts:
        if part.id in taken or len(part.inputs) != 1:
            continue
        for length in longest:
            chain = _onwards(part, length, parts, place, readers)
            if len(chain) == length and patterns.get(keys.chain(chain)) == length:
                taken |= {one.id for one in chain}
                found[chain[-1].id] = replace(_of(chain, part.inputs[0], "residual"), main=chain)
                break
    return tuple(found.get(part.id, part) for part in parts if part.id not in taken or part.id in found)


def _telling(part: Part) -> bool:
    if isinstance(part, Block):
        return part.kind == "gate"
    groups = getattr(part.main.op, "groups", 1) if isinstance(part, Unit) else 1
    return groups not in (1, None)


def _onwards(
    part: Part, length: int, parts: Sequence[Part], place: Mapping[str, int], readers: Mapping[str, Sequence[str]]
) -> tuple[Part, ...]:
    """Up to ``length`` parts from here, each the only reader of the one before."""
    chain = [part]
    while len(chain) < length and not chain[-1].output and len(readers[chain[-1].id]) == 1:
        after = parts[place[readers[chain[-1].id][0]]]
        if len(after.inputs) != 1:
            break
        chain.append(after)
    plain = all(isinstance(one, Unit) or (isinstance(one, Block) and one.kind == "gate") for one in chain)
    return tuple(chain) if plain else ()
