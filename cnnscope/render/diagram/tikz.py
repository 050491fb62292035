"""A canvas as a LaTeX document, drawn with TikZ."""

from __future__ import annotations

from collections.abc import Iterator

from cnnscope.render.diagram.canvas import Canvas, Circle, Mark, Path, Point, Polygon, Text, head, shaft
from cnnscope.render.diagram.text import colour, escape

ANCHORS = {"start": "base west", "middle": "base", "end": "base east"}


def to_tikz(canvas: Canvas) -> str:
    """The document; points of the canvas are points on the page."""
    return "\n".join(_lines(canvas)) + "\n"


def _lines(canvas: Canvas) -> Iterator[str]:
    yield r"\documentclass[border=4mm]{standalone}"
    yield r"\usepackage{tikz}"
    yield r"\begin{document}\sffamily"
    yield rf"\begin{{tikzpicture}}[x=1bp, y=-1bp, scale={canvas.scale:.4f}, line join=round]"
    for mark in canvas.marks:
        yield from _mark(mark, canvas.scale)
    yield r"\end{tikzpicture}"
    yield r"\end{document}"


def _mark(mark: Mark, scale: float) -> Iterator[str]:
    match mark:
        case Polygon():
            look = _outline(mark.fill, mark.stroke, mark.width * scale) + _dash(mark.dashed)
            yield rf"\filldraw[{look}] {_through(mark.points)} -- cycle;"
        case Path():
            width, radius = mark.width * scale, mark.radius * scale
            look = f"draw={colour(mark.stroke)}, line width={width:.2f}bp, rounded corners={radius:.1f}bp"
            yield rf"\path[{look}{_dash(mark.dashed)}] {_through(shaft(mark))};"
            if mark.head:
                yield rf"\fill[fill={colour(mark.stroke)}] {_through(head(mark))} -- cycle;"
        case Circle():
            yield (
                rf"\filldraw[{_outline(mark.fill, mark.stroke, mark.width * scale)}] "
                rf"({mark.x:.1f},{mark.y:.1f}) circle[radius={mark.radius:g}bp];"
            )
        case Text():
            size = mark.size * scale
            font = rf"\fontsize{{{size:.2f}}}{{{size * 1.2:.2f}}}\selectfont" + (r"\bfseries" if mark.bold else "")
            look = f"anchor={ANCHORS[mark.anchor]}, inner sep=0, text={colour(mark.colour)}, font={font}"
            yield rf"\node[{look}] at ({mark.x:.1f},{mark.y:.1f}) {{{_words(mark.text)}}};"


def _words(text: str) -> str:
    signs = {"→": r"$\to$", "‖": r"$\|$", "\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--"}
    return "".join(signs[c] if c in signs else escape(c) for c in text)


def _outline(fill: str, stroke: str, width: float) -> str:
    line = "draw=none" if stroke == "none" or not width else f"draw={colour(stroke)}, line width={width:.2f}bp"
    return f"fill={colour(fill)}, {line}" if fill != "none" else line


def _dash(dashed: bool) -> str:
    return ", dash pattern=on 2.5bp off 2bp" if dashed else ""


def _through(points: tuple[Point, ...]) -> str:
    return " -- ".join(f"({x:.1f},{y:.1f})" for x, y in points)
