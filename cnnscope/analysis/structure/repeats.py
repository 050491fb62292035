"""Tandem repeats: parts that follow one another several times become one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from cnnscope.analysis.cost import known
from cnnscope.analysis.structure.keys import Keys
from cnnscope.analysis.structure.parts import Input, Part, Repeat

LONGEST_PERIOD = 4


def folded(parts: Sequence[Part], keys: Keys) -> tuple[Part, ...]:
    """The parts, with those that repeat folded, in the order in which the last of each stands."""
    found: dict[str, Part] = {part.id: part for part in parts}
    for chain in _chains(parts):
        for repeat in _repeats(chain, keys):
            for member in repeat.members[:-1]:
                del found[member.id]
            found[repeat.id] = repeat
    return tuple(found[part.id] for part in parts if part.id in found)


def _chains(parts: Sequence[Part]) -> Iterator[tuple[Part, ...]]:
    """Longest chains in which each part reads the one before alone and is its only reader."""
    readers: dict[str, list[Part]] = {part.id: [] for part in parts}
    for part in parts:
        for name in part.inputs:
            readers[name].append(part)
    taken: set[str] = set()
    for part in parts:
        if part.id in taken or isinstance(part, Input):
            continue
        chain = [part]
        while not chain[-1].output and len(readers[chain[-1].id]) == 1:
            (after,) = readers[chain[-1].id]
            if after.inputs != (chain[-1].id,) or after.training_only != part.training_only:
                break
            chain.append(after)
        taken |= {one.id for one in chain}
        yield tuple(chain)


def _repeats(chain: Sequence[Part], keys: Keys) -> Iterator[Repeat]:
    """From the front, the repeat that covers most; of several periods that cover as much the shortest."""
    numbers = [keys.exact(part) for part in chain]
    start = 0
    while start < len(chain):
        count, period = max(
            ((_times(numbers, start, period), period) for period in range(1, LONGEST_PERIOD + 1)),
            key=lambda found: (found[0] * found[1] if found[0] > 1 else 0, -found[1]),
        )
        if count > 1:
            yield _repeat(chain[start : start + count * period], period)
        start += count * period if count > 1 else 1


def _times(numbers: Sequence[int], start: int, period: int) -> int:
    """How often the first ``period`` numbers from ``start`` stand there in a row."""
    first, end = numbers[start : start + period], start + period
    while len(first) == period and numbers[end : end + period] == first:
        end += period
    return (end - start) // period


def _repeat(members: Sequence[Part], period: int) -> Repeat:
    first, last = members[0], members[-1]
    widths = [part.channels for part in members[period - 1 :: period]]
    steps = {after - before for before, after in pairwise(widths)}
    return Repeat(
        id=last.id, nodes=tuple(name for part in members for name in part.nodes), inputs=first.inputs, shape=last.shape,
        size=last.size, channels=last.channels, level=last.level, cost=known(part.cost for part in members),
        output=last.output, training_only=last.training_only, parts=tuple(members[:period]), members=tuple(members),
        count=len(members) // period, growth=steps.pop() if len(steps) == 1 else 0,
    )  # fmt: skip
