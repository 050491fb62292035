"""Aligning two sets of named things by how the names nest, and by order where that leaves a choice.

Scopes (``layer1.0``) that hold the same things are matched, the largest first, and what is in them by itself. Equal
scopes, and equal things in one scope, follow each other in order. If only one side has an order, the other's names have
to show it by number (``layer2``, ``layer10``); where names differ in letters it stays open which is which.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Members = frozenset[int]
Group = tuple[tuple[int, ...], tuple[int, ...]]
"""Positions on either side that are alike, and which of them belong together is open."""

_NUMBER = re.compile(r"\d+|(?<=\d)[a-z]\b")  # the letters of 6b, 6c, 6d count as well


@dataclass(frozen=True, slots=True)
class Side:
    """Names and kinds of things; only equal kinds match. ``ordered`` says whether the order they are in counts."""

    names: Sequence[str]
    kinds: Sequence[Hashable]
    ordered: bool = True

    def key(self, i: int) -> tuple[object, ...]:
        """What to sort position ``i`` by."""
        return (i,) if self.ordered else _natural(self.names[i])

    def sequence(self, names: Sequence[str]) -> bool:
        """Whether the order of these names, as sorted, is one."""
        return self.ordered or _numbered(names)

    def scopes(self, within: Members) -> dict[Members, str]:
        """What each scope that lies inside ``within`` holds, with its name, unless that is everything or one thing."""
        members: dict[str, set[int]] = {}
        for i, name in enumerate(self.names):
            for dot in re.finditer(r"\.", name):
                members.setdefault(name[: dot.start()], set()).add(i)
        return {frozenset(m): scope for scope, m in members.items() if 1 < len(m) < len(within) and m <= within}

    def content(self, members: Iterable[int]) -> Hashable:
        """How many of which kind."""
        return frozenset(Counter(self.kinds[i] for i in members).items())


def nest(ours: Side, theirs: Side) -> tuple[dict[int, int], list[Group]]:
    """Positions matched, and groups that could be matched in several ways. ``ours`` is the side with an order."""
    pairs: dict[int, int] = {}
    open_: list[Group] = []
    pending = [(frozenset(range(len(ours.names))), frozenset(range(len(theirs.names))))]
    while pending:
        mine, others = pending.pop()
        for inner in _equal_scopes(ours, mine, theirs, others):
            pending.append(inner)
            mine, others = mine - inner[0], others - inner[1]
        for kind in dict.fromkeys(ours.kinds[i] for i in sorted(mine)):
            a = sorted(i for i in mine if ours.kinds[i] == kind)
            b = sorted((j for j in others if theirs.kinds[j] == kind), key=theirs.key)
            if len(a) == len(b) and theirs.sequence([theirs.names[j] for j in b]):
                pairs |= zip(a, b, strict=True)
            elif b:
                open_.append((tuple(a), tuple(b)))
    return pairs, open_


def _equal_scopes(ours: Side, mine: Members, theirs: Side, others: Members) -> Iterator[tuple[Members, Members]]:
    """Pairs of scopes with equal contents that do not overlap, the largest first."""
    our_scopes, their_scopes = ours.scopes(mine), theirs.scopes(others)
    by_content: dict[Hashable, tuple[list[Members], list[Members]]] = {}
    for side, scopes, place in ((ours, our_scopes, 0), (theirs, their_scopes, 1)):
        for members in scopes:
            by_content.setdefault(side.content(members), ([], []))[place].append(members)
    for candidates in sorted(by_content.values(), key=lambda sides: -max(len(m) for side in sides for m in side)):
        a = sorted((m for m in candidates[0] if m <= mine), key=min)
        b = sorted((m for m in candidates[1] if m <= others), key=_first(theirs))
        if len(a) == len(b) and theirs.sequence([their_scopes[m] for m in b]):
            for pair in zip(a, b, strict=True):
                yield pair
                mine, others = mine - pair[0], others - pair[1]


def _first(side: Side) -> Callable[[Members], tuple[object, ...]]:
    return lambda members: min(side.key(i) for i in members)


def _natural(name: str) -> tuple[object, ...]:
    """Sorts ``layer10`` behind ``layer2``."""
    parts = re.split(f"({_NUMBER.pattern})", name)  # words and numbers in turn
    return tuple((part, 0) if i % 2 == 0 else ("", _value(part)) for i, part in enumerate(parts))


def _value(number: str) -> int:
    return int(number) if number.isdigit() else ord(number)


def _numbered(names: Sequence[str]) -> bool:
    """Whether each name differs from the next in a number first."""
    for one, other in pairwise(names):
        parts = zip(one.split("."), other.split("."), strict=False)
        a, b = next(((a, b) for a, b in parts if a != b), ("", "."))
        if _NUMBER.sub("#", a) != _NUMBER.sub("#", b):
            return False
    return True
