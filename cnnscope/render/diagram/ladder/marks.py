"""The marks of a ladder's boxes, arrows and the text at them, once all are in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cnnscope.analysis.structure import Structure
from cnnscope.render import numbers, style
from cnnscope.render.diagram.canvas import Circle, Mark, Path, Text, rectangle
from cnnscope.render.diagram.ladder.boxes import BADGE, LINE, OUT, PAD, RING, SIZE, Box
from cnnscope.render.diagram.ladder.cells import Cell
from cnnscope.render.diagram.ladder.labels import Label
from cnnscope.render.diagram.ladder.legend import arch, category
from cnnscope.render.diagram.ladder.places import Placed, skip_of
from cnnscope.render.diagram.ladder.routes import Route
from cnnscope.render.style import Heat, Theme, heat_colour, ink_on, kind_colour, text_on

STRIPE = 3.5


@dataclass(frozen=True, slots=True)
class Look:
    """What the reader may choose."""

    heat: Heat = "macs"
    theme: style.ThemeName = "light"
    rf: bool = True


PLAIN = Look()


def label_mark(one: Label, theme: Theme) -> Text:
    """The text at an arrow."""
    return Text(one.x, one.y, one.text, SIZE, theme.up if one.up else theme.down, anchor="start", halo=theme.background)


def wire_marks(placed: Placed, ways: Mapping[tuple[str, str], Route], theme: Theme) -> Iterator[Mark]:
    """The arrows, those to another level in the colour of their direction."""
    of = {one.id: one for one in placed.boxes}
    for (source, target), points in ways.items():
        a, b = of[source].row, of[target].row
        colour = theme.line if a == b else theme.up if b < a else theme.down
        data = ("from", source), ("to", target)
        yield Path(points, colour, width=0.9 if a == b else 1.3, radius=5, head=True, data=data)


def box_marks(one: Box, found: Structure, look: Look) -> Iterator[Mark]:
    """A box with its port, its badge and its skip. Its fill shows its share of the whole of ``found``."""
    theme = style.THEMES[look.theme]
    if one.ringed:
        yield from _ring(one, theme)
    if one.cell.join:
        return
    cell, left, wide = one.cell, one.body, one.right - one.body
    share = style.share_of(cell.cost, found.totals, look.heat)
    fill = heat_colour(share, theme) if found.graph.inputs.get(cell.id) is None else theme.background
    stroke = theme.muted if cell.training_only else theme.frame
    width = 0.9 if cell.training_only else 0.5
    yield rectangle(left, one.y, wide, one.height, fill, stroke, width=width, title=_title(cell, found),
                    data=(("layer", cell.id),), dashed=cell.training_only)  # fmt: skip
    kind = kind_colour(category(one))
    yield rectangle(left, one.y, STRIPE, one.height, kind)
    ink = text_on(fill, theme)
    for k, line in enumerate(one.text):
        y = one.middle - len(one.text) * LINE / 2 + 7 + k * LINE
        yield Text(left + PAD[0], y, line, SIZE, ink, bold=bool(one.letter) or line == "input", anchor="start")
    if one.badge:
        yield rectangle(one.right - one.badge, one.y, one.badge, one.height, kind)
        yield Text(one.right - one.badge / 2, one.middle + 3.2, f"×{cell.count}", BADGE, ink_on(kind), bold=True)
    if one.weights:
        y = one.middle - len(one.text) * LINE / 2 + 7
        yield Text(one.right - one.badge - 5, y, one.weights, SIZE, ink, bold=True, anchor="end")
    if cell.output:
        yield from _output(one, theme)
    if skip := skip_of(one):
        points = arch(left + 2, one.right - one.badge - 2, one.y, 5.5)
        yield Path(points, kind_colour("merge"), dashed=skip == "projection", width=1.0, radius=5)


def _ring(one: Box, theme: Theme) -> Iterator[Mark]:
    colour = kind_colour("merge")
    x = one.x + RING
    if one.cell.port is not None:
        yield Path(((x + RING, one.middle), (one.body, one.middle)), theme.line, width=0.9)
    data = (("layer", one.id),) if one.cell.join else (("port", one.id),)
    yield Circle(x, one.middle, RING, theme.background, colour, data=data)
    yield Text(x, one.middle + 3.6, one.cell.sign, 10, colour, bold=True)


def _output(one: Box, theme: Theme) -> Iterator[Mark]:
    """A dot, and the shape of what the network returns."""
    x, y = one.right + OUT - 4, one.middle
    yield Path(((one.right, y), (x, y)), theme.text, width=1.2)
    yield Circle(x, y, 2.4, theme.text, theme.text, width=0)
    yield Text(x + 4, y + 2.6, numbers.shape(one.cell.part.shape), SIZE, theme.text, anchor="start",
               halo=theme.background)  # fmt: skip


def _title(cell: Cell, found: Structure) -> str:
    """What a reader sees who points at a box: its layers, output, costs."""
    nodes = [name for part in cell.stack for name in part.nodes]
    layers = list(dict.fromkeys(found.graph.node(name).layer for name in nodes))
    names = [cell.id] if not layers else layers[:1] if len(layers) == 1 else [layers[0], layers[-1]]
    cost = cell.cost
    return (
        f"{style.shortened(' … '.join(names), 80)}: {numbers.shape(cell.part.shape)}, {numbers.short(cost.params)} "
        f"params, {numbers.short(cost.macs)} MACs"
    )
