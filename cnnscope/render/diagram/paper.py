"""The paper view: the overview, and the anatomy of each distinct block beside it, without cost colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cnnscope.analysis.fuse import fuse
from cnnscope.analysis.structure import signature
from cnnscope.ir import Graph
from cnnscope.render.diagram.model import Box, Cluster, Diagram, Edge, diagram

ACROSS = 4
"""Anatomies side by side before the next row begins."""


def paper(graph: Graph) -> Diagram:
    """Overview and anatomies as one figure: a frame round each anatomy, rows of `ACROSS`."""
    overview = diagram(graph, "overview")
    parts = [_framed(part, f"a{i}", box) for i, (box, part) in enumerate(anatomies(graph, overview))]
    note = f"beside the overview: the {len(parts)} distinct blocks, layer by layer"
    return replace(
        overview,
        boxes=(*overview.boxes, *(box for part in parts for box in part.boxes)),
        clusters=(*overview.clusters, *(cluster for part in parts for cluster in part.clusters)),
        edges=(*overview.edges, *(edge for part in parts for edge in part.edges)),
        order=tuple(_order(parts)),
        notes=(*overview.notes, *([note] if parts else [])),
    )


def anatomies(graph: Graph, overview: Diagram) -> Iterator[tuple[Box, Diagram]]:
    """Each distinct block once: the box that stands for it in the overview, and its layers."""
    seen = set()
    for box in overview.boxes:
        if box.is_block:
            inside = _inside(graph, box)
            sort = signature(fuse(inside))
            if sort not in seen:
                seen.add(sort)
                yield box, diagram(inside, "layer")


def _inside(graph: Graph, box: Box) -> Graph:
    """The first of the folded blocks as a network of its own; what it reads from outside are its inputs."""
    nodes = tuple(graph.node(name) for name in box.nodes)
    own = {node.name for node in nodes}
    outside = dict.fromkeys(name for node in nodes for name in node.inputs if name not in own)
    inputs = {name: graph.value(name) for name in outside}
    return Graph(box.name, inputs, nodes, (nodes[-1].name,), graph.params, graph.scopes)


def _framed(part: Diagram, prefix: str, box: Box) -> Diagram:
    """The same figure inside a frame of its own, with names that meet no others."""
    frame = Cluster(f"cluster_{prefix}", f"{box.title} ({box.name})", box.shape)

    def renamed(name: str) -> str:
        return f"{prefix}.{name}"

    return replace(
        part,
        boxes=tuple(
            replace(b, id=renamed(b.id), cluster=renamed(b.cluster) if b.cluster else frame.id) for b in part.boxes
        ),
        clusters=(
            frame,
            *(replace(c, id=renamed(c.id), parent=renamed(c.parent) if c.parent else frame.id) for c in part.clusters),
        ),
        edges=tuple(Edge(renamed(e.source), renamed(e.target), e.shape, e.skips) for e in part.edges),
    )


def _order(parts: list[Diagram]) -> Iterator[tuple[str, str]]:
    """Pairs of boxes of which the first is to stand above the second: rows of anatomies."""
    for above, below in zip(parts, parts[ACROSS:], strict=False):
        yield above.boxes[-1].id, below.boxes[0].id
