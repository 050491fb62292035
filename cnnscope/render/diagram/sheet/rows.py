"""The rows of the table: plain layers of one size share one, so do equal blocks in series. Rows add up to the network.

The papers leave widths to the table and draw a structure once; here too, `anatomies` has what is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cnnscope.analysis.cost import Cost, known
from cnnscope.analysis.structure import Block, Input, Part, Repeat, Structure, Unit
from cnnscope.render import numbers
from cnnscope.render.diagram import words

STRIDE = re.compile(r" (/\d[\d×]*)")
PLAIN = frozenset({"conv", "linear", "attention", "resize", "movement", "merge", "other", "norm", "activation"})
"""Categories of units that share a row with their neighbours of one size; a pool has one of its own."""
MOST = 8
"""Lines in a row; more are hard to read."""


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
        """The first block, if the row is made of blocks alone."""
        return block_of(self.parts[0])

    @property
    def cost(self) -> Cost:
        return known(part.cost for part in self.parts)

    @property
    def channels(self) -> str:
        """The channels of the output, ``96 … 256`` where each time adds some."""
        last = self.last
        if isinstance(last, Repeat) and last.growth:
            return f"{last.first.channels} … {last.channels}"
        return str(last.channels)

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


def block_of(part: Part) -> Block | None:
    """The block that a part is or repeats."""
    first = part.first if isinstance(part, Repeat) else part
    return first if isinstance(first, Block) else None


def rows(found: Structure) -> tuple[Row, ...]:
    """The rows in the order of execution, chains in one piece."""
    drafts: list[list[Part]] = []
    for part in _in_chains(found):
        before = drafts[-1] if drafts else None
        if isinstance(part, Input) and not (part.cost.params or part.cost.macs):
            continue
        if before is not None and part.inputs == (before[-1].id,) and not _apart(before, part):
            if _detail(part) or _stacks(before, part) or _repeats(before, part, found):
                before.append(part)
                continue
        drafts.append([part])
    seen: set[str] = set()
    return tuple(_row(parts, found, seen) for parts in drafts)


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


def _apart(before: Sequence[Part], part: Part) -> bool:
    """Whether a row must end here: what it gives is read elsewhere too, or only one of the two is for training."""
    return before[-1].output or before[-1].training_only != part.training_only


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


def _repeats(before: Sequence[Part], part: Part, found: Structure) -> bool:
    """Whether a block goes on: the same lines, channels and resolution as the one before, but for the first's stride."""
    first, block = block_of(before[-1]), block_of(part)
    if first is None or block is None or _stride(block) or getattr(part, "growth", 0):
        return False
    same = before[-1].level == part.level and before[-1].channels == part.channels and first.kind == block.kind
    return same and _lines(before[-1], found) == _lines(part, found)


def _row(parts: Sequence[Part], found: Structure, seen: set[str]) -> Row:
    keys = {key for part in parts for name in part.nodes for key in found.graph.node(name).params.values()}
    shared = bool(keys) and keys <= seen
    seen |= keys
    main = [part for part in parts if not _detail(part)] or list(parts)
    if len(main) == 1 or block_of(main[0]) is not None:
        block = block_of(main[0])
        if block is not None and block.kind != "gate":
            count = sum(part.count if isinstance(part, Repeat) else 1 for part in main)
            widths = tuple(part.channels for part in weighted(block)) if block.kind == "branches" else ()
            return Row(tuple(parts), _lines(main[0], found), count, _stride(block), widths, shared)
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


def _lines(part: Part, found: Structure) -> tuple[str, ...]:
    """The lines of a block or of a repeat of some, without strides."""
    block = block_of(part)
    one = _inverted(block, found) if block is not None and len(getattr(part, "parts", ())) else ""
    if one and (isinstance(part, Block) or (isinstance(part, Repeat) and len(part.parts) == 1)):
        return (one,)
    return words.lines(part) if block is None or not _stride(block) else tuple(STRIDE.sub("", line) for line in words.lines(part))


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


def amount(n: int | None, *, partial: bool = False) -> str:
    """A figure of the table; a dash for none."""
    if not n:
        return numbers.UNKNOWN if partial else "\N{EN DASH}"
    return f"≥ {numbers.short(n)}" if partial else numbers.short(n)
