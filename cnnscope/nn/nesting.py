"""Matches two sets of named modules by their scopes, and by order inside a scope.

Scopes (``layer1.0``) with the same contents are matched first, the largest before smaller ones, and then the modules
inside them. Equal scopes, and equal modules in one scope, are matched in order. If only one side has an order, numbers
in the names of the other have to show it (``layer2``, ``layer10``); names that differ in letters stay ambiguous.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Members = frozenset[int]
Group = tuple[tuple[int, ...], tuple[int, ...]]
"""Positions on either side that are alike, where it is not known which belong together."""

_NUMBER = re.compile(r"\d+|(?<=\d)[a-z]\b")  # the letters of 6b, 6c, 6d also count as numbers


@dataclass(frozen=True, slots=True)
class Side:
    """Names and kinds of modules. Only equal kinds match. ``ordered`` says whether their order has a meaning."""

    names: Sequence[str]
    kinds: Sequence[Hashable]
    ordered: bool = True

    def key(self, i: int) -> tuple[object, ...]:
        """The sort key of position ``i``."""
        return (i,) if self.ordered else _natural(self.names[i])

    def sequence(self, names: Sequence[str]) -> bool:
        """Whether these names, once sorted, are in a known order."""
        return self.ordered or _numbered(names)

    def scopes(self, within: Members) -> dict[Members, str]:
        """The members of each scope inside ``within``, with its name; not of scopes with one member or all."""
        members: dict[str, set[int]] = {}
        for i, name in enumerate(self.names):
            for dot in re.finditer(r"\.", name):
                members.setdefault(name[: dot.start()], set()).add(i)
        return {frozenset(m): scope for scope, m in members.items() if 1 < len(m) < len(within) and m <= within}

    def content(self, members: Iterable[int]) -> Hashable:
        """The number of members of each kind."""
        return frozenset(Counter(self.kinds[i] for i in members).items())


def nest(ours: Side, theirs: Side) -> tuple[dict[int, int], list[Group]]:
    """Returns matched positions, and groups with several possible matches. ``ours`` is the side with an order."""
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
    """Pairs of scopes with equal contents, which do not overlap, the largest first."""
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
    """A sort key by which ``layer10`` comes after ``layer2``."""
    parts = re.split(f"({_NUMBER.pattern})", name)  # words and numbers alternate
    return tuple((part, 0) if i % 2 == 0 else ("", _value(part)) for i, part in enumerate(parts))


def _value(number: str) -> int:
    return int(number) if number.isdigit() else ord(number)


def _numbered(names: Sequence[str]) -> bool:
    """Whether the first part in which each name differs from the next is a number."""
    for one, other in pairwise(names):
        parts = zip(one.split("."), other.split("."), strict=False)
        a, b = next(((a, b) for a, b in parts if a != b), ("", "."))
        if _NUMBER.sub("#", a) != _NUMBER.sub("#", b):
            return False
    return True
