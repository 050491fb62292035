"""The rows of the table: plain layers of one size share one, so do equal blocks in series. Rows add up to the network.

The papers leave widths to the table and draw a structure once; here too, `anatomies` has what is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cnnscope.analysis.cost import Cost, known
from cnnscope.analysis.structure import Block, Input, Part, Repeat, Structure, Unit
from cnnscope.render.diagram import words

STRIDE = re.compile(r" (/\d[\d×]*)")
PLAIN = frozenset({"conv", "linear", "attention", "resize", "movement", "merge", "other", "norm", "activation"})
"""Categories of units that share a row with their neighbours of one size; a pool has one of its own."""
MOST, LONGEST_PERIOD = 8, 4
"""Lines in a row, and blocks that alternate in one; more are hard to read."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``parts`` are all that it sums, in order; ``lines`` are its layers, ``count`` is how often they follow
    one another. ``stride`` is that of a block, or of the first of several. ``widths`` are the output channels of the
    layers with weights where the block has branches, in the order of its anatomy."""

    parts: tuple[Part, ...]
    lines: tuple[str, ...]
    count: int = 1
    stride: str = ""
    widths: tuple[int, ...] = ()
    shared: bool = False

    @property
    def last(self) -> Part:
        """The part that gives the row its output."""
        return self.parts[-1]

    @property
    def block(self) -> Block | None:
        """The block that the row is, or repeats."""
        found = blocks(self.parts[0])
        return found[0] if len(found) == 1 else None

    @property
    def cost(self) -> Cost:
        return known(part.cost for part in self.parts)

    @property
    def channels(self) -> str:
        """The channels of the output, ``96 … 256`` where each time adds some."""
        first = self.parts[0]
        if isinstance(first, Repeat) and first.growth:
            return f"{first.first.channels} … {first.channels}"
        return str(self.last.channels)

    @property
    def note(self) -> str:
        """What stands behind the layers: ``first /2``, ``training only``, ``output``."""
        stride = self.stride if self.count == 1 else f"first {self.stride}"
        told = (
            (stride, bool(self.stride)),
            ("training only", self.last.training_only),
            ("shared weights", self.shared),
            ("output", any(part.output for part in self.parts) and bool(self.last.size)),
        )
        return ", ".join(text for text, holds in told if holds)


def rows(found: Structure) -> tuple[Row, ...]:
    """The rows in the order of execution, chains in one piece."""
    drafts: list[list[Part]] = []
    for part in _in_chains(found):
        before = drafts[-1] if drafts else None
        if isinstance(part, Input) and not (part.cost.params or part.cost.macs):
            continue
        if before is not None and _joins(before, part):
            before.append(part)
        else:
            drafts.append([part])
    seen: set[str] = set()
    return tuple(row(parts, found, seen) for draft in drafts for parts in folded(draft, found))


def _in_chains(found: Structure) -> Iterator[Part]:
    """The parts in topological order; what alone reads a part alone follows it at once."""
    done: set[str] = set()
    for part in found.parts:
        one: Part | None = part
        while one is not None and one.id not in done:
            done.add(one.id)
            yield one
            readers = found.readers[one.id]
            one = readers[0] if len(readers) == 1 and readers[0].inputs == (one.id,) else None


def _joins(before: Sequence[Part], part: Part) -> bool:
    """Whether a part goes on with what is before. What that gives must be neither an output nor for training alone."""
    last = before[-1]
    if part.inputs != (last.id,) or last.output or last.training_only != part.training_only:
        return False
    return _detail(part) or _stacks(before, part) or _goes_on(before, part)


def _detail(part: Part) -> bool:
    return isinstance(part, Unit) and part.category in words.DETAILS


def _stacks(before: Sequence[Part], part: Part) -> bool:
    """Whether plain layers of one resolution go on."""
    one = [*before, part]
    alike = part.level == before[-1].level and all(map(_plain, one))
    return alike and sum(len(_written(inner)) for inner in one) <= MOST


def _plain(part: Part) -> bool:
    match part:
        case Unit():
            return part.category in PLAIN
        case Block():
            return part.kind == "gate"
        case Repeat(parts=(Unit() as one,)):
            return one.category in PLAIN
    return False


def _goes_on(before: Sequence[Part], part: Part) -> bool:
    """Whether blocks of one resolution and width go on; only the first may have a stride, and none may grow."""
    found = [blocks(one) for one in (*before, part) if not _detail(one)]
    same = before[-1].level == part.level and before[-1].channels == part.channels
    grows = any(getattr(one, "growth", 0) for one in (*before, part))
    return same and not grows and all(found) and not any(map(_stride, found[-1]))


def blocks(part: Part) -> tuple[Block, ...]:
    """The blocks that a part is or repeats; empty where it has other parts too, and for gates, which are layers."""
    every = part.parts if isinstance(part, Repeat) else (part,)
    found = tuple(one for one in every if isinstance(one, Block) and one.kind != "gate")
    return found if len(found) == len(every) else ()


def folded(parts: Sequence[Part], found: Structure) -> Iterator[list[Part]]:
    """Blocks that go on as rows: from the front as many as are written alike, in one to four that alternate."""
    if not blocks(parts[0]):
        yield list(parts)
        return
    rest = list(parts)
    while rest:
        n = next(n for n in range(len(rest), 0, -1) if n == 1 or _period(rest[:n], found))
        while n < len(rest) and _detail(rest[n]):
            n += 1
        yield rest[:n]
        rest = rest[n:]


def _period(parts: Sequence[Part], found: Structure) -> int:
    """How many blocks of different lines alternate in parts that are written alike; 0 where they do not. Attention
    and the layers after it are one even if they stand there once."""
    lines = [line for part in parts if not _detail(part) for line in _tokens(part, found)]
    fits = (n for n in range(1, LONGEST_PERIOD + 1) if len(lines) % n == 0 and lines == lines[:n] * (len(lines) // n))
    period = next((n for n in fits if n < len(lines)), 0)
    attends = len(lines) == 2 and lines[0][0].startswith("self-attention") and lines[1][0].startswith("MLP")
    return period or (2 if attends else 0)


def _tokens(part: Part, found: Structure) -> list[tuple[str, ...]]:
    """The lines of each block of a part, one after another."""
    return [_lines(block, found) for block in blocks(part)] * (part.count if isinstance(part, Repeat) else 1)


def row(parts: Sequence[Part], found: Structure, seen: set[str]) -> Row:
    """The row of some parts; ``seen`` are the weights of those before, and those of these are added."""
    keys = {key for part in parts for name in part.nodes for key in found.graph.node(name).params.values()}
    shared = bool(keys) and keys <= seen
    seen |= keys
    main = [part for part in parts if not _detail(part)] or list(parts)
    if inner := blocks(main[0]):
        tokens = [lines for part in main for lines in _tokens(part, found)]
        period = _period(main, found) or len(inner)
        lines = tuple(line for one in tokens[:period] for line in one)
        alone = period == 1 and inner[0].kind == "branches"
        widths = tuple(layer.channels for layer in weighted(inner[0])) if alone else ()
        return Row(tuple(parts), lines, len(tokens) // period, _stride(inner[0]), widths, shared)
    if len(main) == 1 and isinstance(main[0], Repeat):
        return Row(tuple(parts), words.lines(main[0]), main[0].count, shared=shared)
    return Row(tuple(parts), tuple(line for part in main for line in _written(part)), shared=shared)


def _written(part: Part) -> tuple[str, ...]:
    """A part's lines as one of several in a row."""
    return words.lines(part) if isinstance(part, Unit) and not _detail(part) else (words.label(part),)


def _stride(block: Block) -> str:
    """The stride of a residual block; empty for 1. Branches differ in theirs, so that each line states its own."""
    if block.kind != "residual":
        return ""
    strides = [match[1] for line in words.block_lines(block) for match in STRIDE.finditer(line)]
    return strides[0] if strides else ""


def _lines(block: Block, found: Structure) -> tuple[str, ...]:
    """The lines of a block without its stride."""
    if one := _inverted(block, found):
        return (one,)
    lines = words.block_lines(block)
    return tuple(STRIDE.sub("", line) for line in lines) if _stride(block) else lines


def _inverted(block: Block, found: Structure) -> str:
    """``1×1 ×6 → 3×3 dw → SE → 1×1``: an inverted residual with its expansion, as tables of MobileNets have it."""
    if block.kind != "residual" or not any(_is_depthwise(part) for part in block.main):
        return ""
    texts = []
    for part in block.main:
        text = words.label(part).partition(",")[0]
        if _is_pointwise(part) and part is block.main[0]:
            text += f" ×{part.channels / _entry_channels(block, found):.3g}"
        elif not (_is_pointwise(part) or _is_depthwise(part) or text == "SE"):
            return ""
        texts.append(text)
    return " → ".join(texts)


def _entry_channels(block: Block, found: Structure) -> int:
    """The channels of what a block reads. Its first layer has a weight for each of them."""
    of = {part.id: part.channels for part in found.parts}
    return of.get(block.entry) or (block.channels if block.shortcut == "identity" else 0) or block.parts[0].channels


def _is_depthwise(part: Part) -> bool:
    return isinstance(part, Unit) and part.category == "conv" and " dw" in words.unit_label(part)


def _is_pointwise(part: Part) -> bool:
    return isinstance(part, Unit) and part.category == "conv" and words.unit_label(part).startswith("1×1,")


def weighted(block: Block) -> tuple[Unit, ...]:
    """The convolutions and linear layers of a block, nested ones too, in order."""
    return tuple(_weighted(block.parts))


def _weighted(parts: Iterable[Part]) -> Iterator[Unit]:
    for part in parts:
        if isinstance(part, Block):
            yield from _weighted(part.parts)
        elif isinstance(part, Unit) and part.category in ("conv", "linear"):
            yield part
