"""From a graph to a file's bytes: the formats, and what happens when a figure is too much for Graphviz."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from itertools import takewhile
from typing import Literal

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.options.network import DiagramOptions
from cnnscope.render.diagram import layout
from cnnscope.render.diagram.dot import Options, to_dot
from cnnscope.render.diagram.layout import Engine, LayoutTimeout, draw
from cnnscope.render.diagram.model import DetailLevel, Diagram, diagram
from cnnscope.render.diagram.text import to_tikz
from cnnscope.render.diagram.views import TEXT, Compromise, graph_formats
from cnnscope.render.style import PAGES, check_format

LEVELS: tuple[DetailLevel, ...] = ("op", "layer", "block", "overview")
"""From the most to the least detail."""

Fit = Literal["a4", "slide", "none"]
MOST_COLUMNS = 4

BUDGET = 40_000
"""Edges times the ranks they span: above it `dot` takes more than seconds (measured on DenseNets and chains)."""


def picture(
    graph: Graph, form: str, level: DetailLevel, options: Options, *, engine: Engine | None = None,
    limit: float | None = None, fit: Fit = "none",
) -> tuple[bytes, DetailLevel]:  # fmt: skip
    """The file's bytes, and the level it was drawn at: less detail than asked for where Graphviz would not finish."""
    check_format(form, graph_formats())
    figure = diagram(graph, level)
    if form in TEXT:
        return TEXT.find(form)(figure, options).encode(), level
    for simpler in _simpler(level):
        if simpler != level:
            note = f"drawn at level {simpler}: {level} is too much to lay out"
            figure = diagram(graph, simpler)
            figure = replace(figure, notes=(*figure.notes, note))
        if effort(figure) > BUDGET and simpler != LEVELS[-1]:
            continue
        try:
            fitted = (
                options
                if fit == "none"
                else _fitted(figure, options, (PAGES[fit].width, PAGES[fit].height), engine, limit)
            )
            return _laid_out(figure, form, fitted, engine, limit), simpler
        except LayoutTimeout:
            continue
    raise CnnscopeError.of("E605", f"Graphviz did not lay the figure out within {limit or layout.LIMIT_SECONDS:g} s",
                           hint="try `-o figure.dot`, or another view")  # fmt: skip


def _laid_out(figure: Diagram, form: str, options: Options, engine: Engine | None, limit: float | None) -> bytes:
    """The figure drawn by Graphviz, or placed by it and written as TikZ."""
    dot = to_dot(figure, options)
    if form == "tex":
        return to_tikz(figure, options, draw(dot, "plain", engine=engine, limit=limit)).encode()
    return draw(dot, form, engine=engine, limit=limit)


class SimplerPicture(Compromise):
    """A figure was too much to lay out, and drawn with less detail than asked for."""


def graph_view(graph: Graph, form: str, options: DiagramOptions) -> bytes:
    """The graph view in any format. Warns with `SimplerPicture` where it is drawn with less detail than asked for."""
    level = options.level or "overview"
    content, drawn = picture(graph, form, level, _look(options), engine=options.engine, fit=options.fit)
    if drawn != level:
        message = f"drawn at level {drawn}: {level} is too much to lay out"
        warnings.warn(message, SimplerPicture, stacklevel=2)
    return content


def _look(options: DiagramOptions) -> Options:
    return Options(options.heat, options.rf, options.theme, options.direction)


def _fitted(
    figure: Diagram, options: Options, page: tuple[float, float], engine: Engine | None, limit: float | None
) -> Options:
    """The options with as many columns as leave the picture largest on the page."""

    def shrink(columns: int) -> float:
        wrapped = replace(options, columns=columns)
        width, height = size(draw(to_dot(figure, wrapped), "svg", engine=engine, limit=limit))
        return min(1.0, page[0] / width, page[1] / height)

    return replace(options, columns=max(range(1, MOST_COLUMNS + 1), key=shrink), page=page)


def size(svg: bytes) -> tuple[float, float]:
    """The width and the height in points that an SVG document states."""
    found = re.search(rb'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    assert found, "Graphviz states the size of its pictures"
    return float(found[1]), float(found[2])


def _simpler(level: DetailLevel) -> tuple[DetailLevel, ...]:
    """This level and those with less detail."""
    return LEVELS[len(tuple(takewhile(lambda one: one != level, LEVELS))) :]


def effort(figure: Diagram) -> int:
    """How much work a figure is for `dot`: the sum over edges of the ranks between their ends."""
    rank: dict[str, int] = {}
    sources: dict[str, list[str]] = {}
    for edge in figure.edges:
        sources.setdefault(edge.target, []).append(edge.source)
    for box in figure.boxes:
        rank[box.id] = 1 + max((rank[s] for s in sources.get(box.id, ()) if s in rank), default=-1)
    return sum(max(rank[e.target] - rank[e.source], 1) for e in figure.edges if e.source in rank)
