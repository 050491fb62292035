"""The cells of a ladder: what is one box, what is an arrow's label, what is a port of a box."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cnnscope.analysis.cost import Cost, known
from cnnscope.analysis.structure import Block, Input, Part, Repeat, Structure, Unit
from cnnscope.render.diagram import words

LONGEST_STACK = 6
"""Plain layers in one box; more are hard to count."""
PLAIN = frozenset({"conv", "linear", "pool", "attention", "resize", "movement"})
"""Categories of units that share a box with their neighbours."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What a cell reads: another cell, through the layers ``via`` that are written at the arrow."""

    source: str
    via: tuple[Unit, ...] = ()


@dataclass(slots=True, eq=False)
class Cell:
    """A box: ``stack`` are its parts in series, ``port`` is a join drawn in front of it, ``extra`` are parts that the
    figure counts here but does not draw. A lone join is a cell without text."""

    stack: list[Part]
    wires: list[Wire]
    port: Part | None = None
    extra: list[Part] = field(default_factory=list)
    output: bool = False

    @property
    def id(self) -> str:
        return self.stack[-1].id

    @property
    def part(self) -> Part:
        """The part that gives the cell its output."""
        return self.stack[-1]

    @property
    def level(self) -> int | None:
        return self.part.level

    @property
    def join(self) -> bool:
        """Whether the cell is a lone join, drawn as a sign in a circle."""
        return is_join(self.part)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts that count here."""
        return (*([self.port] if self.port else []), *self.stack, *self.extra)

    @property
    def cost(self) -> Cost:
        return known(part.cost for part in self.parts)

    @property
    def count(self) -> int:
        """How often what the box shows follows itself; 1 where the lines of a stack say so themselves."""
        return self.part.count if len(self.stack) == 1 and isinstance(self.part, Repeat) else 1

    @property
    def growth(self) -> int:
        return self.part.growth if isinstance(self.part, Repeat) else 0

    @property
    def training_only(self) -> bool:
        return self.part.training_only

    @property
    def sign(self) -> str:
        """The sign of the join that the cell is or has as its port."""
        join = self.part if self.join else self.port
        return words.SIGNS.get(words.label(join), "*") if join is not None else ""

    @property
    def lines(self) -> tuple[str, ...]:
        if self.join:
            return ()
        if len(self.stack) == 1:
            return words.lines(self.part)
        return tuple(
            line
            for part in self.stack
            for line in (words.lines(part) if isinstance(part, Unit) else (words.label(part),))
        )


def is_join(part: Part) -> bool:
    """Whether a part is a unit that joins several others."""
    return isinstance(part, Unit) and part.category == "merge"


def cells(found: Structure) -> dict[str, Cell]:
    """The cells of a network by id, in execution order."""
    return _stacked(_ported(_summed(singles(found))))


def singles(found: Structure, at_arrow: Callable[[Unit], bool] = lambda part: True) -> dict[str, Cell]:
    """A cell for each part by id, but for details and for the resamplings that are at arrows, if they may be there."""
    stands: dict[str, Wire] = {}
    made: dict[str, Cell] = {}
    for part in found.parts:
        wires = [stands[name] for name in part.inputs]
        source = made[wires[0].source] if len(wires) == 1 else None
        if source is not None and isinstance(part, Unit) and not isinstance(source.part, Input):
            via = wires[0].via
            if _is_detail(part) and not (via and part.output):
                stands[part.id] = wires[0]
                source.extra.append(part)
                source.output |= part.output
                continue
            if at_arrow(part) and not source.output and _at_arrow(part, source, via, found):
                stands[part.id] = Wire(source.id, (*via, part))
                continue
        made[part.id] = Cell([part], wires, output=part.output)
        stands[part.id] = Wire(part.id)
    return made


def _is_detail(part: Unit) -> bool:
    """Whether a part is not drawn: a norm or activation on its own."""
    return part.category in words.DETAILS and len(part.inputs) == 1


def _at_arrow(part: Unit, source: Cell, via: tuple[Unit, ...], found: Structure) -> bool:
    """Whether a part is written at the arrow to another level: a pool, an upsampling, a strided convolution before a
    block or a join; and a 1×1 convolution before an upsampling."""
    readers = found.readers[part.id]
    if not readers or part.output or part.level is None or source.training_only != part.training_only:
        return False
    if not via and len(readers) == 1 and _is_pointwise(part) and part.level == source.level:
        (after,) = readers
        return isinstance(after, Unit) and after.category == "resize" and _leads(after, found)
    if part.level == source.level or not _leads(part, found):
        return False
    if part.category in ("pool", "resize") or part.main.op.tag == "upconv":
        return not via or part.category == "resize"
    (reader, *others) = readers
    return part.category == "conv" and not via and not others and (is_join(reader) or _is_block(reader))


def _leads(part: Unit, found: Structure) -> bool:
    """Whether all that reads a part lies on its level."""
    return bool(found.readers[part.id]) and all(reader.level == part.level for reader in found.readers[part.id])


def _is_pointwise(part: Unit) -> bool:
    op = part.main.op
    return part.category == "conv" and {*words.numbers_of(getattr(op, "kernel", 0))} == {1} and not words.slash(op)


def _is_block(part: Part) -> bool:
    return isinstance(part, (Block, Repeat)) and len(part.inputs) == 1


def _summed(made: dict[str, Cell]) -> dict[str, Cell]:
    """A sum that only a sum of its level reads is part of that sum: a + (b + c) is one join of three."""
    read = readers(made.values())
    for cell in list(made.values()):
        after = read.get(cell.id, [])
        if cell.sign == "+" and cell.join and not cell.output and len(after) == 1:
            (outer,) = after
            if outer.join and outer.sign == "+" and outer.level == cell.level and not outer.extra:
                place = outer.wires.index(Wire(cell.id)) if Wire(cell.id) in outer.wires else -1
                if place >= 0 and not _finished(cell):
                    outer.wires[place : place + 1] = cell.wires
                    outer.extra += cell.parts
                    del made[cell.id]
    return made


def _finished(cell: Cell) -> bool:
    """Whether something follows the sum itself, such as an activation, so that it is more than a term."""
    return bool(cell.extra) or (isinstance(cell.part, Unit) and len(cell.part.ops) > 1)


def readers(made: Iterable[Cell]) -> dict[str, list[Cell]]:
    """The cells that read each cell, by its id."""
    found: dict[str, list[Cell]] = {}
    for cell in made:
        for name in dict.fromkeys(wire.source for wire in cell.wires):
            found.setdefault(name, []).append(cell)
    return found


def _ported(made: dict[str, Cell]) -> dict[str, Cell]:
    """A join that one box of its level reads becomes that box's port; none does where a join has several readers, so
    that the joins of a feature pyramid look alike."""
    read = readers(made.values())
    if any(cell.join and len(read.get(cell.id, ())) > 1 for cell in made.values()):
        return made
    for cell in list(made.values()):
        after = read.get(cell.id, [])
        if not cell.join or cell.output or len(after) != 1:
            continue
        (reader,) = after
        plain = not reader.join and reader.wires == [Wire(cell.id)]
        if plain and reader.level == cell.level and reader.training_only == cell.training_only:
            reader.port, reader.wires = cell.part, cell.wires
            reader.extra += cell.extra
            del made[cell.id]
    return made


def _stacked(made: dict[str, Cell]) -> dict[str, Cell]:
    """Plain layers of one level in series share a box."""
    read = readers(made.values())
    for cell in list(made.values()):
        if len(cell.wires) != 1 or cell.wires[0].via or cell.port is not None:
            continue
        before = made[cell.wires[0].source]
        alone = len(read[before.id]) == 1 and not before.output and before.level == cell.level
        fits = len(before.stack) + len(cell.stack) <= LONGEST_STACK and before.training_only == cell.training_only
        if alone and fits and _is_plain(before) and _is_plain(cell):
            del made[before.id]
            cell.stack = [*before.stack, *cell.stack]
            cell.wires, cell.port, cell.extra = before.wires, before.port, [*before.extra, *cell.extra]
    return made


def _is_plain(cell: Cell) -> bool:
    return all(_layer(part) for part in cell.stack) and not cell.join


def _layer(part: Part) -> bool:
    one = part.parts[0] if isinstance(part, Repeat) and len(part.parts) == 1 else part
    return isinstance(one, Unit) and one.category in PLAIN
