"""Aligning two sequences that are the same but for the order of whole stretches.

The longest stretch both have is matched first, then the longest of what is left (greedy string tiling, Wise 1993).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

Doubt = list[tuple[tuple[int, ...], tuple[int, ...]]]
"""Groups of positions on either side that could be matched in several ways."""


def tile(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> tuple[dict[int, int], Doubt]:
    """Positions matched, and groups of positions that could be matched in several ways."""
    pairs: dict[int, int] = {}
    doubt: Doubt = []
    free = set(range(len(ours))), set(range(len(theirs)))
    while stretches := _longest(ours, theirs, *free):
        for mine, others in stretches:
            if not (free[0].issuperset(mine) and free[1].issuperset(others)):
                break  # overlaps the one before; what is left of it is found next time
            if len(mine) == len(others):
                pairs |= zip(mine, others, strict=True)
            else:
                doubt.append((mine, others))
            free[0].difference_update(mine)
            free[1].difference_update(others)
    return pairs, doubt


def _longest(
    ours: Sequence[Hashable], theirs: Sequence[Hashable], mine: set[int], others: set[int]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The longest stretches both sides have among what is free: the positions of each, once per place it stands."""
    places: dict[Hashable, list[int]] = {}
    for j in sorted(others):
        places.setdefault(theirs[j], []).append(j)
    best, starts = 0, dict[tuple[Hashable, ...], tuple[set[int], set[int]]]()
    ending: dict[int, int] = {}  # length of the stretch ending at (i - 1, j)
    for i in range(len(ours)):
        here = {j: ending.get(j - 1, 0) + 1 for j in places.get(ours[i], ())} if i in mine else {}
        for j, length in here.items():
            if length > best:
                best, starts = length, {}
            if length == best:
                where = starts.setdefault(tuple(ours[i - length + 1 : i + 1]), (set(), set()))
                where[0].add(i - length + 1)
                where[1].add(j - length + 1)
        ending = here
    return [(_covered(a, best), _covered(b, best)) for a, b in starts.values()]


def _covered(starts: Iterable[int], length: int) -> tuple[int, ...]:
    """The positions of stretches that begin at ``starts``, without those that overlap the one before."""
    result: list[int] = []
    for start in sorted(starts):
        if not result or start > result[-1]:
            result += range(start, start + length)
    return tuple(result)
