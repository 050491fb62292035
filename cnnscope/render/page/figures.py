"""The figures of a page: the overview, and what is inside each kind of block."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node
from cnnscope.render import numbers
from cnnscope.render.diagram import layout
from cnnscope.render.diagram.dot import Options, to_dot
from cnnscope.render.diagram.layout import LayoutTimeout, draw_all
from cnnscope.render.diagram.model import Box, Diagram, diagram
from cnnscope.render.diagram.picture import BUDGET, effort
from cnnscope.render.page.svg import Palette, merged

_UNFOLDED = 30
"""The inside of a block with more layers than this is drawn with its repeats folded."""


@dataclass
class Figures:
    """Everything drawn. ``inner`` are distinct insides; ``boxes`` describe what is in each box of the overview.

    A box is ``{"label", "layers", "count", "inner"}``: its layers by number, part after part, how many equal parts,
    and which inside. An inside's ``places`` are, for each of its boxes, the layers by place within one part.
    """

    overview: str
    boxes: list[dict[str, Any]]
    inner: list[dict[str, Any]]
    notes: tuple[str, ...]
    kinds: tuple[str, ...]
    palette: Palette = field(default_factory=Palette)


@dataclass(frozen=True)
class _Inside:
    """The inside of a box, before it is drawn."""

    figure: Diagram
    places: tuple[tuple[int, ...], ...]


def figures(graph: Graph, rows: Sequence[str]) -> Figures:
    """Draws them all in one go. ``rows`` are the names of the layers; E605 where Graphviz does not finish."""
    whole = diagram(graph)
    number = {name: i for i, name in enumerate(rows)}
    boxes: list[dict[str, Any]] = []
    insides: dict[str, _Inside] = {}
    for box in whole.boxes:
        layers = [name for name in box.layers if name in number]
        count = box.count if box.count and len(layers) % box.count == 0 else 1
        inside = _inside(graph, box, layers[: len(layers) // count], whole)
        key = to_dot(inside.figure, _INNER) if inside else ""
        if inside and key not in insides:
            insides[key] = inside
        boxes.append({
            "label": _label(box), "title": numbers.printable(box.title), "count": count,
            "layers": [number[name] for name in layers],
            "inner": list(insides).index(key) if inside else None,
        })  # fmt: skip
    return _drawn(whole, list(insides.values()), boxes)


_OUTER = Options()
_INNER = Options(rf=False)


def _drawn(whole: Diagram, insides: Sequence[_Inside], boxes: list[dict[str, Any]]) -> Figures:
    sources = []
    for figure, options in ((whole, _OUTER), *((inside.figure, _INNER) for inside in insides)):
        sources += [to_dot(figure, options), to_dot(figure, replace(options, theme="dark"))]
    try:
        drawings = draw_all(sources, "svg", limit=layout.LIMIT_SECONDS * 2)
    except LayoutTimeout:
        raise CnnscopeError.of(
            "E605", "Graphviz did not lay the figures out in time", hint="`cnnscope summary` has the layers as a table"
        ) from None
    palette = Palette()
    pictures = [
        merged(light, dark, palette, _buttons(figure), f"{title} of {figure.name}")
        for figure, light, dark, title in zip(
            (whole, *(inside.figure for inside in insides)), drawings[::2], drawings[1::2],
            ("overview", *("inside",) * len(insides)), strict=True,
        )
    ]  # fmt: skip
    inner = [{"svg": svg, "places": inside.places} for svg, inside in zip(pictures[1:], insides, strict=True)]
    kinds = tuple(dict.fromkeys(box.category for box in whole.boxes))
    return Figures(pictures[0], boxes, inner, whole.notes, kinds, palette)


def _buttons(figure: Diagram) -> Mapping[str, tuple[int, str]]:
    """Every box with layers in it by the title that Graphviz gives it."""
    return {numbers.printable(box.id): (i, _label(box)) for i, box in enumerate(figure.boxes) if box.layers}


def _label(box: Box) -> str:
    repeats = f", {box.count} times" if box.count > 1 else ""
    return numbers.printable(f"{box.name}: {box.title}{repeats}, output {numbers.shape(box.shape)}")


def _inside(graph: Graph, box: Box, layers: Sequence[str], whole: Diagram) -> _Inside | None:
    """One part of a box as a figure of its own; None for a single layer, or where it is too much to lay out."""
    if not box.is_block:
        return None
    place = {name: i for i, name in enumerate(layers)}
    prefix = _scope(layers)
    cut = _cut(graph, [node for node in graph.nodes if node.layer in place], prefix)
    figure = diagram(cut, "layer" if len(layers) <= _UNFOLDED else "overview")
    if effort(figure) > BUDGET:
        return None
    places = tuple(tuple(place[prefix + name] for name in part.layers if prefix + name in place)
                   for part in figure.boxes)  # fmt: skip
    return _Inside(replace(figure, name="block", totals=whole.totals, notes=()), places)


def _scope(layers: Sequence[str]) -> str:
    """What the names of all these layers begin with, up to a dot."""
    common = layers[0].split(".")[:-1]
    for name in layers:
        parts = name.split(".")[:-1]
        common = common[: next((i for i, (a, b) in enumerate(zip(common, parts, strict=False)) if a != b), len(parts))]
    return "".join(f"{part}." for part in common)


def _cut(graph: Graph, nodes: Sequence[Node], prefix: str) -> Graph:
    """These nodes as a network of their own, named from within; what they read from outside are its inputs."""
    inside = {node.name for node in nodes}
    entry = _entries(nodes, inside)
    read = {name for node in graph.nodes if node.name not in inside for name in node.inputs} | set(graph.outputs)
    keys = {key for node in nodes for key in node.params.values()}
    return Graph(
        name="block",
        inputs={entry[name]: graph.value(name) for name in entry},
        nodes=tuple(_renamed(node, entry, prefix) for node in nodes),
        outputs=tuple(node.name for node in nodes if node.name in read),
        params={key: param for key, param in graph.params.items() if key in keys},
        scopes={path.removeprefix(prefix): kind for path, kind in graph.scopes.items() if path.startswith(prefix)},
        layout=graph.layout,
    )


def _entries(nodes: Sequence[Node], inside: Collection[str]) -> dict[str, str]:
    """What these nodes read from outside, by the name it has as an input: one that no node's name begins with."""
    outside = list(dict.fromkeys(name for node in nodes for name in node.inputs if name not in inside))
    word = "input"
    while any(name.startswith(word) for name in inside):
        word += "'"
    return {name: word if len(outside) == 1 else f"{word} {i + 1}" for i, name in enumerate(outside)}


def _renamed(node: Node, entry: Mapping[str, str], prefix: str) -> Node:
    inputs = tuple(entry.get(name, name) for name in node.inputs)
    return replace(node, inputs=inputs, layer=node.layer.removeprefix(prefix))
