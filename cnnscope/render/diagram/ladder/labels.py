"""The text at arrows from one level to another: a pool, an upsampling, a strided convolution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from cnnscope.analysis.structure import Unit
from cnnscope.render.diagram import metrics, words
from cnnscope.render.diagram.ladder.boxes import SIZE, Box
from cnnscope.render.diagram.ladder.places import Placed
from cnnscope.render.diagram.ladder.routes import Route

Rectangle = tuple[float, float, float, float]
BESIDE = 4.0
"""Points from an arrow to its text."""


class Label(NamedTuple):
    """One line; (x, y) is the left end of its baseline. ``parts`` are the ids of the layers that it names."""

    text: str
    x: float
    y: float
    wide: float
    up: bool
    parts: tuple[str, ...] = ()

    def meets(self, left: float, top: float, right: float, bottom: float) -> bool:
        """Whether the text meets a rectangle."""
        return left < self.x + self.wide and right > self.x and top < self.y + 1.5 and bottom > self.y - 6.5


def labels(
    placed: Placed, wires: Sequence[tuple[Box, Box, tuple[Unit, ...]]], ways: Mapping[tuple[str, str], Route]
) -> tuple[Label, ...]:
    """A label for every wire with a resampling, where it meets least of what is there already."""
    found: list[Label] = []
    taken = [(10.0, (box.x, box.y - 6, box.right, box.bottom)) for box in placed.boxes]
    for way in ways.values():
        for (ax, ay), (bx, by) in pairwise(way):
            taken.append((4.0, (min(ax, bx) - 1.5, min(ay, by) - 1, max(ax, bx) + 1.5, max(ay, by) + 1)))
    for source, target, via in wires:
        if not via:
            continue
        text = ", ".join(_text(part, source, target) for part in via)
        label = _best(_places(text, ways[source.id, target.id], up=target.row < source.row), taken, placed.right)
        taken.append((10.0, (label.x, label.y - 6.5, label.x + label.wide, label.y + 1.5)))
        found.append(label._replace(parts=tuple(part.id for part in via)))
    return tuple(found)


def _best(places: Iterable[Label], taken: Sequence[tuple[float, Rectangle]], right: float) -> Label:
    """The first place where nothing is, or else that where least is: boxes and texts weigh more than arrows."""
    least, best = float("inf"), None
    for label in places:
        cost = 20.0 * (label.x < 0 or label.x + label.wide > right + 10)
        for weight, rectangle in taken:
            if label.meets(*rectangle):
                cost += weight
                if cost >= least:
                    break
        if cost < least:
            least, best = cost, label
        if not cost:
            break
    assert best is not None, "a route has a piece, and a piece has places"
    return best


def _text(part: Unit, source: Box, target: Box) -> str:
    """A layer at an arrow; the factor of an upsampling is that between the levels."""
    if part.category != "resize":
        return words.label(part)
    return f"{words.label(part)} ×{2 ** abs((target.cell.level or 0) - (source.cell.level or 0))}"


def _places(text: str, way: Route, *, up: bool) -> Iterator[Label]:
    """Beside the upright pieces of a route, the last first; over its level pieces otherwise."""
    wide = metrics.width(text, SIZE)
    for (x, y), (x2, y2) in list(pairwise(way))[::-1]:
        if x == x2:
            low, high = sorted((y, y2))
            near = (low + 14.0, high - 7.0) if up else (high - 9.0, low + 8.0)
            for at in (*near, (low + high) / 2 + 3, *(low + 6 + 3.0 * k for k in range(int((high - low) / 3)))):
                for left in (x + BESIDE, x - BESIDE - wide):
                    yield Label(text, left, at, wide, up)
        else:
            for at in (y - 3, y + 8.5):
                yield Label(text, (x + x2 - wide) / 2, at, wide, up)
