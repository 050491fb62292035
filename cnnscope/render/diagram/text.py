"""The diagram model as text for other programs: JSON, Mermaid and TikZ. All are in execution order, so that they can be
compared line by line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from cnnscope.render import numbers
from cnnscope.render.diagram.dot import Options, details
from cnnscope.render.diagram.model import Box, Diagram
from cnnscope.render.documents.document import Document, plain
from cnnscope.render.style import SIZES, THEMES, heat_colour, kind_colour, share_of, text_on


def to_json(figure: Diagram, options: Options) -> str:
    """The ``cnnscope.diagram`` document: boxes, clusters and edges, whatever view they would be drawn in."""
    del options  # the look of a picture is not part of its content
    document = plain(Document(format="cnnscope.diagram")) | {
        "model": {"name": figure.name},
        "level": figure.level,
        "boxes": [_box(box) for box in figure.boxes],
        "clusters": [{"id": c.id, "title": c.title, "shape": c.shape, "parent": c.parent} for c in figure.clusters],
        "edges": [{"source": e.source, "target": e.target, "shape": e.shape} for e in figure.edges],
        "totals": {"params": figure.totals.params, "macs": figure.totals.macs},
        "notes": figure.notes,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _box(box: Box) -> dict[str, Any]:
    field = box.field
    return {
        "id": box.id, "name": box.name, "title": box.title, "category": box.category, "cluster": box.cluster,
        "shape": box.shape, "params": box.cost.params, "macs": box.cost.macs, "count": box.count, "growth": box.growth,
        "receptive_field": None if field is None else {"size": field.size, "via": field.via}, "layers": box.layers,
    }  # fmt: skip


def to_mermaid(figure: Diagram, options: Options) -> str:
    """A Mermaid flowchart: what GitHub and GitLab draw inside Markdown."""
    return "\n".join(_mermaid(figure, options)) + "\n"


def _mermaid(figure: Diagram, options: Options) -> Iterator[str]:
    theme = THEMES[options.theme]
    ids = {box.id: f"n{i}" for i, box in enumerate(figure.boxes)}
    yield f"flowchart {options.direction}"
    yield from _mermaid_members(figure, "", ids, options, "  ")
    for edge in figure.edges:
        yield f'  {ids[edge.source]} -->|"{numbers.shape(edge.shape)}"| {ids[edge.target]}'
    for box in figure.boxes:
        fill = heat_colour(share_of(box.cost, figure.totals, options.heat), theme)
        yield f"  style {ids[box.id]} fill:{fill},stroke:{kind_colour(box.category)},color:{text_on(fill, theme)}"


def _mermaid_members(figure: Diagram, cluster: str, ids: dict[str, str], options: Options, pad: str) -> Iterator[str]:
    for box in figure.boxes:
        if box.cluster == cluster:
            count = f" ×{box.count}" if box.count > 1 else ""
            detail = _mermaid_text(details(box, figure, options))
            yield f'{pad}{ids[box.id]}["<b>{_mermaid_text(box.title)}{count}</b><br/>{detail}"]'
    for inner in figure.clusters:
        if inner.parent == cluster:
            number = [c.id for c in figure.clusters].index(inner.id)
            yield f'{pad}subgraph c{number}["{_mermaid_text(inner.title)} {numbers.shape(inner.shape)}"]'
            yield from _mermaid_members(figure, inner.id, ids, options, pad + "  ")
            yield f"{pad}end"


def _mermaid_text(text: str) -> str:
    """The text with Mermaid's entity codes for everything that could end a label or begin a tag."""
    plain = numbers.printable(text)
    return "".join(c if c.isalnum() or c in " .,-_+·×/…%():" else f"#{ord(c)};" for c in plain)


_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "×": r"$\times$", "·": r"$\cdot$", "…": r"\ldots{}",
}  # fmt: skip


def to_tikz(figure: Diagram, options: Options, plain: bytes) -> str:
    """The LaTeX document; ``plain`` is Graphviz's layout of the same figure in its plain format (inches)."""
    return "\n".join(_lines(figure, options, plain.decode().splitlines())) + "\n"


def _lines(figure: Diagram, options: Options, placed: list[str]) -> Iterator[str]:
    theme = THEMES[options.theme]
    boxes = {box.id: box for box in figure.boxes}
    yield r"\documentclass[border=4mm]{standalone}"
    yield r"\usepackage{tikz}"
    yield r"\begin{document}\sffamily"
    yield r"\begin{tikzpicture}[x=1in, y=1in, >=latex, line width=0.4pt]"
    for line in placed:
        words = shlex.split(line)
        if words[0] == "node" and words[1] in boxes:
            x, y, width, height = map(float, words[2:6])
            yield from _node(boxes[words[1]], figure, options, (x, y, width, height))
        elif words[0] == "edge" and words[1] in boxes and words[2] in boxes:
            count = int(words[3])
            points = [f"({words[4 + 2 * i]},{words[5 + 2 * i]})" for i in range(count)]
            turns = zip(points[1::3], points[2::3], points[3::3], strict=True)
            curve = points[0] + "".join(f" .. controls {a} and {b} .. {c}" for a, b, c in turns)
            yield rf"\draw[->, color={colour(theme.line)}] {curve};"
            yield from _edge_label(words[4 + 2 * count :], colour(theme.muted))
    yield r"\end{tikzpicture}"
    yield r"\end{document}"


def _node(box: Box, figure: Diagram, options: Options, place: tuple[float, float, float, float]) -> Iterator[str]:
    x, y, width, height = place
    theme = THEMES[options.theme]
    fill = heat_colour(share_of(box.cost, figure.totals, options.heat), theme)
    left, low, stripe = x - width / 2, y - height / 2, 0.09
    ink, kind = colour(text_on(fill, theme)), colour(kind_colour(box.category))
    yield rf"\fill[color={colour(fill)}] ({left:.3f},{low:.3f}) rectangle ++({width:.3f},{height:.3f});"
    yield rf"\fill[color={kind}] ({left:.3f},{low:.3f}) rectangle ++({stripe},{height:.3f});"
    times = f" ×{box.count}" if box.count > 1 else ""
    for text, up, size, weight in (
        (box.title + times, 0.7, SIZES["name"], r"\bfseries"),
        (details(box, figure, options), 0.25, SIZES["detail"], ""),
    ):
        font = rf"\fontsize{{{size - 1}}}{{{size}}}\selectfont{weight}"
        at = f"({left + stripe + 0.05:.3f},{low + up * height:.3f})"
        yield rf"\node[anchor=west, inner sep=0, text={ink}, font={font}] at {at} {{{escape(text)}}};"


def _edge_label(words: list[str], colour: str) -> Iterator[str]:
    if len(words) >= 5:  # label, x, y, style, colour
        size = SIZES["edge"]
        font = rf"\fontsize{{{size - 1}}}{{{size}}}\selectfont"
        yield rf"\node[text={colour}, font={font}] at ({words[1]},{words[2]}) {{{escape(words[0].strip())}}};"


def colour(colour: str) -> str:
    """A hexadecimal colour in xcolor's own terms, without a definition."""
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"{{rgb,255:red,{r};green,{g};blue,{b}}}"


def escape(text: str) -> str:
    """The text escaped for LaTeX; characters that its fonts lack are written as code points."""
    return "".join(_ESCAPES.get(c) or (c if c.isascii() else f"U+{ord(c):X}") for c in numbers.printable(text))
