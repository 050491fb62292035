"""The ladder in every format, and its parts as a diagram for formats that are text."""

from __future__ import annotations

from collections.abc import Iterator

from cnnscope.analysis.structure import Block, Input, Part, Repeat, Structure, structure
from cnnscope.ir import Graph
from cnnscope.options.network import DiagramOptions
from cnnscope.render import style
from cnnscope.render.diagram import words
from cnnscope.render.diagram.canvas import Canvas, to_svg
from cnnscope.render.diagram.dot import Options
from cnnscope.render.diagram.ladder.figure import draw
from cnnscope.render.diagram.ladder.legend import kind_of
from cnnscope.render.diagram.ladder.marks import Look
from cnnscope.render.diagram.model import Box, Diagram, Edge
from cnnscope.render.diagram.small import check_text
from cnnscope.render.diagram.views import TEXT


def ladder_view(graph: Graph, form: str, options: DiagramOptions) -> bytes:
    """The ladder in any format. Warns with `SmallText` where it cannot be read on the page it is fitted to."""
    if form in TEXT:
        return TEXT.find(form)(folded(graph), Options(options.heat, options.rf, options.theme)).encode()
    canvas = _fitted(graph, options)
    match form:
        case "png" | "pdf":
            from cnnscope.render.diagram.raster import to_raster

            return to_raster(canvas, form, options.dpi)
        case "tex":
            from cnnscope.render.diagram.tikz import to_tikz

            return to_tikz(canvas).encode()
    return to_svg(canvas)


def _fitted(graph: Graph, options: DiagramOptions) -> Canvas:
    look = Look(options.heat, options.theme, options.rf)
    if options.fit == "none":
        return draw(graph, look)
    page = style.PAGES[options.fit]
    canvas = draw(graph, look, page).fitted(page)
    check_text(canvas.smallest, options.fit)
    return canvas


def folded(graph: Graph) -> Diagram:
    """The parts of the structure as boxes, and what each reads as edges. Text formats have no room for arrows with
    layers at them, so that every part is a box."""
    found = structure(graph)
    ids = [part.id for part in found.parts]
    edges = tuple(
        Edge(name, part.id, found.graph.value(name).features, skips=ids.index(name) < i - 1)
        for i, part in enumerate(found.parts)
        for name in part.inputs
    )
    boxes = tuple(_boxes(found))
    return Diagram(found.graph.name, "overview", boxes, (), edges, found.totals, tuple(_notes(found, boxes)))


def _boxes(found: Structure) -> Iterator[Box]:
    for part in found.parts:
        layers = tuple(dict.fromkeys(found.graph.node(name).layer for name in part.nodes))
        first = (part.parts if isinstance(part, Repeat) else (part,)) if not isinstance(part, Input) else ()
        yield Box(
            id=part.id, name=_name(part, layers), title=_title(part), shape=part.shape,
            category="input" if isinstance(part, Input) else kind_of(part), cost=part.cost,
            field=found.fields.get(part.id), count=getattr(part, "count", 1), growth=getattr(part, "growth", 0),
            layers=layers, nodes=tuple(name for one in first for name in one.nodes),
            is_block=isinstance(part, Block) or (isinstance(part, Repeat) and isinstance(part.first, Block)),
        )  # fmt: skip


def _title(part: Part) -> str:
    return "input" if isinstance(part, Input) else " · ".join(words.lines(part))


def _name(part: Part, layers: tuple[str, ...]) -> str:
    if isinstance(part, Input) or not layers:
        return part.id
    return layers[0] if len(layers) == 1 else f"{layers[0]} … {layers[-1]}"


def _notes(found: Structure, boxes: tuple[Box, ...]) -> Iterator[str]:
    if any(box.count > 1 for box in boxes):
        yield "×n: n in series are one box"
    if any(box.growth for box in boxes):
        yield "+n: each has n channels more than the one before"
    if found.chained:
        chain = "a chain: cat(cat(a, b), c) for cat(a, b, c)"
        yield f"{found.chained} concatenations of all earlier maps are drawn as {chain}"
    if found.rest.params:
        yield f"{found.rest.params:,} parameters are read by no layer and are in no box"
