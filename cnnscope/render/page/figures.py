"""The figure of a page: the ladder with a button for every box, and what is inside each kind of box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnnscope.analysis.structure import Input, Part, Repeat, Structure
from cnnscope.ir import Graph
from cnnscope.render import numbers
from cnnscope.render.diagram import words
from cnnscope.render.diagram.ladder.cells import Cell
from cnnscope.render.diagram.ladder.figure import Drawn, Ladder, drawn, ladder
from cnnscope.render.diagram.ladder.marks import Look
from cnnscope.render.page import insides
from cnnscope.render.page.svg import Palette, button, picture, shapes

LOOKS = Look(), Look(theme="dark")


@dataclass(frozen=True)
class Figures:
    """Everything drawn. ``inner`` are distinct insides; ``boxes`` describe what is in each box and label.

    A box is ``{"label", "title", "layers", "count", "inner", "more"}``: its layers by number, part after part, how many
    equal parts, which inside (None where there is nothing to open), and layers that the box counts but does not show.
    An inside's ``places`` are, for each of its boxes, the layers by place within one part of the box.
    """

    overview: str
    boxes: list[dict[str, Any]]
    inner: list[dict[str, Any]]
    notes: tuple[str, ...]
    palette: Palette


@dataclass
class _Insides:
    """Distinct insides by number, as they are met."""

    found: Structure
    palette: Palette
    known: dict[tuple[str, tuple[tuple[int, ...], ...]], int] = field(default_factory=dict)

    def put(self, cell: Cell, layers: Sequence[str]) -> int | None:
        """The number of the inside of a cell; ``layers`` are those of one part. None where there is nothing inside."""
        parts = insides.opened(cell)
        if len(parts) < 2:
            return None
        place = {name: i for i, name in enumerate(layers)}
        light, dark = insides.drawn(self.found, parts, LOOKS)
        of, body = {part.id: part for part in parts}, shapes(light.wires, dark.wires, self.palette)
        places: list[tuple[int, ...]] = []
        for (name, a), (_, b) in zip(light.boxes, dark.boxes, strict=True):
            content = shapes(a, b, self.palette)
            own = tuple(place[one] for one in _layers(self.found, [of[name]]) if one in place) if name in of else ()
            body += button("i", len(places), _title([of[name]]), content) if own else content
            places.append(own)
        key = picture(body, light.frame, "inside"), tuple(places)
        return self.known.setdefault(key, len(self.known))


def figures(graph: Graph, rows: Sequence[str]) -> Figures:
    """Draws all. ``rows`` are the names of the layers."""
    content = ladder(graph)
    number = {name: i for i, name in enumerate(rows)}
    palette = Palette()
    inner = _Insides(content.found, palette)
    light, dark = drawn(content, LOOKS)
    boxes = [_box(cell, content, number, inner) for cell in content.cells.values()]
    boxes += _labels(light, content, number)
    shown = _overview(light, dark, palette, boxes)
    kinds = [{"svg": svg, "places": places} for svg, places in inner.known]
    return Figures(shown, boxes, kinds, tuple(_notes(content.found)), palette)


def _overview(light: Drawn, dark: Drawn, palette: Palette, boxes: Sequence[Mapping[str, Any]]) -> str:
    """The ladder, without its heading, which the page has already."""
    number = {box["id"]: i for i, box in enumerate(boxes)}
    body = shapes(light.back, dark.back, palette) + shapes(light.wires, dark.wires, palette)
    for (name, a), (_, b) in zip(light.boxes, dark.boxes, strict=True):
        body += _pressed(number[name], boxes, shapes(a, b, palette))
    for (names, text), (_, other) in zip(light.labels, dark.labels, strict=True):
        body += _pressed(number["via " + " ".join(names)], boxes, shapes((text,), (other,), palette))
    body += f'<g class="notes">{shapes(light.legend, dark.legend, palette)}</g>'
    top = min(mark.y for mark in light.back if hasattr(mark, "y")) - 12 if light.back else light.top
    frame = light.left, top, light.width, light.height - (top - light.top)
    return picture(body, frame, f"architecture of {light.title}")


def _pressed(number: int, boxes: Sequence[Mapping[str, Any]], content: str) -> str:
    box = boxes[number]
    return button("n", number, box["label"], content) if box["layers"] else content


def _box(cell: Cell, content: Ladder, number: Mapping[str, int], inner: _Insides) -> dict[str, Any]:
    layers = [name for name in _layers(content.found, cell.stack) if name in number]
    count = cell.count if len(layers) % cell.count == 0 else 1
    one = layers[: len(layers) // count]
    rest = [cell.port] if cell.port is not None else []
    more = [name for name in _layers(content.found, [*rest, *cell.extra]) if name in number and name not in layers]
    return {
        "id": cell.id, "label": _label(cell, layers), "title": _title(cell.stack), "count": count,
        "layers": [number[name] for name in layers], "more": [number[name] for name in more],
        "inner": inner.put(cell, one) if one else None,
    }  # fmt: skip


def _labels(light: Drawn, content: Ladder, number: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """The layers that are written at arrows, each once."""
    parts = {part.id: part for cell in content.cells.values() for wire in cell.wires for part in wire.via}
    for names in dict.fromkeys(names for names, _ in light.labels):
        named = [parts[name] for name in names]
        layers = [name for name in _layers(content.found, named) if name in number]
        title = _title(named)
        yield {"id": "via " + " ".join(names), "label": f"{' … '.join(layers)}: {title}", "title": title, "count": 1,
               "layers": [number[name] for name in layers], "more": [], "inner": None}  # fmt: skip


def _layers(found: Structure, parts: Sequence[Part]) -> list[str]:
    """The layers of some parts in order, each once."""
    return list(dict.fromkeys(found.graph.node(name).layer for part in parts for name in part.nodes))


def _title(parts: Sequence[Part]) -> str:
    return numbers.printable(" · ".join(line for part in parts for line in words.lines(part)))


def _label(cell: Cell, layers: Sequence[str]) -> str:
    name = cell.id if not layers else layers[0] if len(layers) == 1 else f"{layers[0]} … {layers[-1]}"
    times = f", {cell.count} times" if isinstance(cell.part, Repeat) and cell.count > 1 else ""
    what = "input" if isinstance(cell.part, Input) else _title(cell.stack)
    return numbers.printable(f"{name}: {what}{times}, output {numbers.shape(cell.part.shape)}")


def _notes(found: Structure) -> Iterator[str]:
    if found.chained:
        chain = "a chain: cat(cat(a, b), c) for cat(a, b, c)"
        yield f"{found.chained} concatenations of all earlier maps are drawn as {chain}."
    if found.rest.params:
        yield f"{found.rest.params:,} parameters are read by no layer and are in no box."
