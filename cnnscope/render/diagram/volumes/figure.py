"""The volumes as a figure: solids, the windows that slide over them, arrows, and what is said about scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cnnscope.analysis.structure import Input, Unit
from cnnscope.ir import Graph
from cnnscope.render import numbers, style
from cnnscope.render.diagram import metrics, words
from cnnscope.render.diagram.canvas import Canvas, Circle, Mark, Path, Point, Polygon, Text
from cnnscope.render.diagram.ladder.cells import Cell, Wire
from cnnscope.render.diagram.ladder.figure import shared
from cnnscope.render.diagram.ladder.legend import HEATS, kind_of
from cnnscope.render.diagram.volumes.maps import Maps, Scale, extents, frames, label, maps, scale, window, wires
from cnnscope.render.diagram.volumes.places import LINE, PLATE, RING, SLANT, Arrow, Solid, place
from cnnscope.render.fields import reach
from cnnscope.render.style import WINDOW, Heat, Theme, ThemeName, kind_colour, shaded

SIZE = 7.0
BORDER = 14.0
LEAST = 0.02
"""A smaller share of a map's side could not be seen as a window, but on the image it is drawn all the same."""
GROUPED = kind_colour("merge")


@dataclass(frozen=True, slots=True)
class Look:
    """What is said about each map beside its shape."""

    heat: Heat = "macs"
    theme: ThemeName = "light"
    rf: bool = True


def volumes(graph: Graph, look: Look = Look()) -> Canvas:
    """The figure, ready to be written in any format."""
    content = maps(graph)
    n = len(content.cells)
    measure = scale(content, min(150.0, max(70.0, 1500 / n)), 34.0 if n > 14 else 44.0)
    weights = shared(content.cells.values(), content.found)
    solids = {
        cell.id: _solid(cell, content, measure, look, weights.get(cell.id, "")) for cell in content.cells.values()
    }
    every = list(wires(content))
    arrows = place(solids, [(a.id, b.id, ", ".join(map(words.label, wire.via))) for a, b, wire in every])
    return _canvas(content, solids, every, arrows, measure, look)


def _solid(cell: Cell, content: Maps, measure: Scale, look: Look, weights: str) -> Solid:
    part, towers = cell.part, content.split(cell)
    if cell.join:
        return Solid(cell, (), 0.0, 0.0, 0.0, 0.0)
    size, plates = extents(part), frames(part)
    channels = part.channels / towers
    wide = measure.width(channels) * (1.35 if towers > 1 else 1.0) / plates**0.5 if size else 7.0
    tall = measure.extent(size[0]) if size else measure.vector(channels)
    deep = measure.extent(size[1]) if len(size) == 2 else 0.0
    lines = tuple(_lines(cell, content, look, weights))
    text = max(metrics.width(line, SIZE, bold=i == 0) for i, line in enumerate(lines))
    return Solid(cell, lines, text, max(wide, 2.5), tall, deep, towers, plates, content.row(cell).count)


def _lines(cell: Cell, content: Maps, look: Look, weights: str) -> Iterator[str]:
    """The shape; the layers; shares and receptive field; whether the network returns it."""
    part, towers = cell.part, content.split(cell)
    shape = numbers.shape(part.shape)
    if towers > 1:
        shape = f"{towers} × {numbers.shape((part.channels // towers, *part.shape[1:]))}"
    yield shape
    if isinstance(part, Input):
        return
    *rest, last = label(cell, content)
    yield from (*rest, f"{last} {weights}".rstrip())
    share = style.share_of(cell.cost, content.found.totals, look.heat)
    field = content.found.fields.get(cell.id)
    if share:
        yield f"{100 * share:.1f} %"
    if look.rf and field is not None:
        yield f"RF {reach(field)}"
    several = len(content.found.graph.outputs) > 1
    marks = [("output", cell.output and several), ("training only", cell.training_only)]
    if any(holds for _, holds in marks):
        yield ", ".join(text for text, holds in marks if holds)


def _canvas(
    content: Maps, solids: Mapping[str, Solid], every: Sequence[tuple[Cell, Cell, Wire]], arrows: Sequence[Arrow],
    measure: Scale, look: Look,
) -> Canvas:  # fmt: skip
    theme = style.THEMES[look.theme]
    marks: list[Mark] = []
    for one in solids.values():
        marks += _drawn(one, theme)
    for source, target, wire in every:
        if not source.join and (size := window(source, target, wire)):
            marks += _window(solids[source.id], solids[target.id], size, theme)
    for arrow in arrows:
        marks += _arrow(arrow, theme)
    for one in solids.values():
        marks += _text(one, theme)
    left = min(one.x - one.slot / 2 for one in solids.values())
    right = max(one.x + one.slot / 2 for one in solids.values())
    tops = [one.top for one in solids.values()]
    tops += [y for mark in marks if isinstance(mark, (Path, Polygon)) for _, y in mark.points]
    bottom = max([one.foot for one in solids.values()] + [y for m in marks if isinstance(m, Path) for _, y in m.points])
    facts = _facts(content, solids, measure, look)
    heading, right, top = _heading(content.found.graph.name, facts, (left, right, min(tops) - 12), theme)
    return Canvas(content.found.graph.name, left - BORDER, top - BORDER, right - left + 2 * BORDER,
                  bottom - top + 2 * BORDER, theme.background, (*heading, *marks))  # fmt: skip


def _heading(
    title: str, lines: Sequence[str], place: tuple[float, float, float], theme: Theme
) -> tuple[list[Mark], float, float]:
    """Name, totals and scales between the left and right edge over the figure; its right and its upper edge."""
    left, right, low = place
    y = low - 11.0 * (len(lines) - 1)
    name = style.shortened(title, max(int((right - left) / (13 * 0.65)), 24))
    marks: list[Mark] = [Text(left, y - 13, name, 13, theme.text, bold=True, anchor="start")]
    marks += [Text(left, y + 11 * i, line, SIZE, theme.muted, anchor="start") for i, line in enumerate(lines)]
    widths = [metrics.width(name, 13, bold=True), *(metrics.width(line, SIZE) for line in lines)]
    return marks, max(right, left + max(widths)), y - 26


def _facts(content: Maps, solids: Mapping[str, Solid], measure: Scale, look: Look) -> list[str]:
    found = content.found
    least = "at least " if found.totals.partial else ""
    facts = f"{numbers.short(found.totals.params)} parameters · {least}{numbers.short(found.totals.macs)} MACs"
    root = "square root of extent" if measure.root else "linear in extent"
    facts += f" · height and depth: {root}; width: square root of channels"
    lines = [facts]
    told = []
    if look.heat != "none":
        told.append(f"%: {HEATS[look.heat]}")
    if any(cell.part.size and len(cell.part.size) == 3 for cell in content.cells.values()):
        told.append("plates: one, and one more for each doubling of the frames")
    if any(one.slices > 1 for one in solids.values()):
        told.append("×n and slices: n in series, figures of all n together")
    if content.towers > 1:
        told.append(f"{content.towers} groups are drawn as {content.towers} towers, orange arrows stay inside a tower")
        if any(node.op.tag == "lrn" for node in found.graph.nodes):
            told.append("LRN mixes neighbouring channels across the towers")
    return [*lines, " · ".join(told)] if told else lines


def _drawn(one: Solid, theme: Theme) -> Iterator[Mark]:
    """Front, top and side of each box; a ring for a join."""
    if one.ring:
        yield Circle(one.x, one.y, RING, theme.background, GROUPED, data=(("layer", one.id),))
        yield Text(one.x, one.y + 4, one.cell.sign, 11, GROUPED, bold=True)
        return
    kinds = [kind_of(part) for part in one.cell.stack]
    colour = kind_colour("attention" if "attention" in kinds else kinds[-1])
    first = True
    for left, y in one.corners():
        for plate in range(one.plates):
            x = left + plate * (one.wide + PLATE)
            yield from _box(one, x, y, colour, theme, (("layer", one.id),) if first else ())
            first = False


def _box(
    one: Solid, x: float, y: float, colour: str, theme: Theme, data: tuple[tuple[str, str], ...]
) -> Iterator[Mark]:
    w, h, dx, dy = one.wide, one.tall, SLANT[0] * one.deep, SLANT[1] * one.deep
    title = f"{numbers.printable(one.id)}: {', '.join(one.lines)}"
    front = ((x, y), (x + w, y), (x + w, y - h), (x, y - h))
    yield Polygon(front, shaded(colour, 0.12), theme.line, width=0.5, title=title, data=data)
    if one.deep:
        roof = ((x, y - h), (x + w, y - h), (x + w + dx, y - h + dy), (x + dx, y - h + dy))
        yield Polygon(roof, shaded(colour, 0.45), theme.line, width=0.5)
        wall = ((x + w, y), (x + w + dx, y + dy), (x + w + dx, y - h + dy), (x + w, y - h))
        yield Polygon(wall, shaded(colour, -0.22), theme.line, width=0.5)
    for k in range(1, min(one.slices, 4)):
        cut = x + w * k / min(one.slices, 4)
        points = ((cut, y), (cut, y - h), *(((cut + dx, y - h + dy),) if one.deep else ()))
        yield Path(points, theme.background, width=0.6)


def _text(one: Solid, theme: Theme) -> Iterator[Mark]:
    for k, line in enumerate(one.lines):
        colour = theme.muted if k else theme.text
        yield Text(one.x, one.bottom + 10 + k * LINE, line, SIZE, colour, bold=not k, halo=theme.background)


def _window(source: Solid, target: Solid, size: tuple[float, float], theme: Theme) -> Iterator[Mark]:
    """The window to scale on the side of the source, and lines from it to what it gives."""
    part = source.cell.part
    tall, deep = extents(part)
    up, back = min(size[0] / tall, 1.0), min(size[1] / deep, 1.0)
    if source.lane != target.lane or (up < LEAST and not isinstance(part, Input)) or source.column + 1 != target.column:
        return
    for tower in range(source.towers):
        low, near = 0.5 - up / 2, 0.5 - back / 2
        corners = tuple(
            source.side(u, b, tower)
            for u, b in ((low, near), (low, near + back), (low + up, near + back), (low + up, near))
        )
        ends = [target.into(tower)] if source.towers > 1 else [target.into(k) for k in range(target.towers)]
        for end in ends:
            for corner in corners[1:3]:
                yield Path((corner, end), theme.muted, dashed=True, width=0.5)
        yield Polygon(corners, theme.background, WINDOW, opacity=0.55, width=0.9)


def _arrow(arrow: Arrow, theme: Theme) -> Iterator[Mark]:
    source, target = arrow.source, arrow.target
    data = ("from", source.id), ("to", target.id)
    grouped = _inside(source, target)
    for a in range(source.towers):
        for b in range(target.towers):
            if grouped and a != b:
                continue
            tower = (("towers", f"{a + 1} {b + 1}"),) if max(source.towers, target.towers) > 1 else ()
            colour = GROUPED if (grouped and source.towers > 1) or arrow.kind == "arc" else theme.line
            points = _route(arrow, a, b)
            yield Path(points, colour, width=0.9, radius=4, head=True, data=(*data, *tower))
    if arrow.label:
        (x, y), (x2, y2) = source.out(), target.into()
        lift = 5 + 0.35 * abs(y2 - y)
        at = ((x + x2) / 2, (y + y2) / 2 - lift) if arrow.kind == "straight" else (x2 - 4, y2 - 5)
        anchor = "middle" if arrow.kind == "straight" else "end"
        yield Text(*at, arrow.label, SIZE, theme.muted, anchor=anchor, halo=theme.background)  # type: ignore[arg-type]


def _inside(source: Solid, target: Solid) -> bool:
    """Whether what a target's tower reads lies in the same tower of the source."""
    part = target.cell.stack[0]
    if not isinstance(part, Unit) or source.towers != target.towers:
        return False
    return part.category == "pool" or getattr(part.main.op, "groups", 1) == target.towers


def _route(arrow: Arrow, a: int, b: int) -> tuple[Point, ...]:
    source, target = arrow.source, arrow.target
    start, end = source.out(a), target.into(b)
    match arrow.kind:
        case "straight":
            return start, end
        case "arc":
            lift = SLANT[0] * source.deep / 2
            x, y = source.x + lift, source.top - 1
            x2, y2 = target.x, target.y - RING if target.ring else target.top - 1
            return (x, y), (x, arrow.roof), (x2, arrow.roof), (x2, y2)
        case "begin":
            x = source.x + max(source.slot, source.across) / 2 + 4 + 4 * arrow.level
            return start, (x, start[1]), (x, end[1]), end
        case "end":
            x = target.x - target.slot / 2 - 9 - 4 * arrow.level
            return start, (x, start[1]), (x, end[1]), end
    x = source.x + source.slot / 2 + 6
    x2 = target.x - target.slot / 2 - 9
    return start, (x, start[1]), (x, arrow.floor), (x2, arrow.floor), (x2, end[1]), end
