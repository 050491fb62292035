"""The diagram model as text for other programs: JSON and Mermaid. Both are sorted as the network runs, and diffable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cnnscope.render import numbers
from cnnscope.render.diagram.dot import Options, details
from cnnscope.render.diagram.model import Box, Diagram
from cnnscope.render.diagram.style import THEMES, heat_colour, kind_colour, share_of, text_on
from cnnscope.render.documents.document import Document, plain


def to_json(figure: Diagram, options: Options) -> str:
    """The ``cnnscope.diagram`` document: boxes, clusters and edges, whatever view they would be drawn in."""
    del options  # a picture's look is not part of what it says
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
    """Mermaid's entity codes for everything that could end a label or begin a tag."""
    plain = numbers.printable(text)
    return "".join(c if c.isalnum() or c in " .,-_+·×/…%():" else f"#{ord(c)};" for c in plain)
