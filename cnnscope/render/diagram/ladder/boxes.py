"""The size of a cell as a box, and where its arrows begin and end."""

from __future__ import annotations

from dataclasses import dataclass

from cnnscope.render import numbers
from cnnscope.render.diagram import metrics
from cnnscope.render.diagram.ladder.cells import Cell

SIZE, LINE = 7.5, 9.2
"""Points of a box's text, and from one line to the next."""
BADGE = 9.0
"""Points of the text of a repeat's badge."""
RING = 7.5
"""The radius of a join."""
STEM = 4.0
"""The line between a port and its box."""
PAD = 8.0, 7.0
"""Points left of the text, and right of it."""
LEAST = 20.0
OUT = 13.0
"""Points from a box to the shape of its output, with the dot between."""


@dataclass(slots=True, eq=False)
class Box:
    """A cell with its text and size, and from the layout its place: (x, y) is the upper left corner.

    The port of a box is a ring at its left; it counts to the width. ``tail`` is what the shape of an output
    takes at its right, which does not. ``weights`` marks boxes that read the same weights.
    """

    cell: Cell
    text: tuple[str, ...]
    letter: str
    width: float
    height: float
    badge: float
    tail: float = 0.0
    weights: str = ""
    row: int = 0
    lane: int = 0
    column: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    @property
    def ringed(self) -> bool:
        """Whether arrows end at a ring: the box is a join or has one as its port."""
        return self.cell.join or self.cell.port is not None

    @property
    def body(self) -> float:
        """The left edge of the box itself, right of its port."""
        return self.x + (2 * RING + STEM if self.cell.port is not None else 0.0)

    @property
    def entry(self) -> tuple[float, float]:
        """The upper and the lower end of what vertical arrows meet."""
        if self.ringed:
            return self.middle - RING, self.middle + RING
        return self.y, self.bottom


def box(cell: Cell, letter: str = "", weights: str = "") -> Box:
    """The box of a cell; one that stands for a tail written in the legend has its ``letter`` alone."""
    tail = OUT + metrics.width(numbers.shape(cell.part.shape), SIZE) if cell.output else 0.0
    if cell.join:
        return Box(cell, (), "", 2 * RING, 2 * RING, 0.0, tail)
    growth = f"+{cell.growth} each" if cell.growth else ""
    text = (letter,) if letter else (*cell.lines, *([growth] if growth else []))
    badge = metrics.width(f"×{cell.count}", BADGE, bold=True) + 9 if cell.count > 1 else 0.0
    longest = max(metrics.width(line, SIZE, bold=bool(letter)) for line in text)
    port = 2 * RING + STEM if cell.port is not None else 0.0
    longest += metrics.width(f"  {weights}", SIZE) if weights else 0.0
    height = max(len(text) * LINE + 7, 16.0 if letter else LEAST)
    return Box(cell, text, letter, PAD[0] + longest + PAD[1] + badge + port, height, badge, tail, weights)
