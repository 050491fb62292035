"""The diagram model: boxes, clusters and edges at a level of detail, with costs and receptive fields.

Every view draws from this alone, so the content of a figure is decided here once: what is one box, what is
folded, what an edge carries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cnnscope.analysis.cost import Cost, known, node_costs
from cnnscope.analysis.fuse import Unit, chain_concats
from cnnscope.analysis.hierarchy import Group, Part, Run, block_kinds, fold, hierarchy, is_chain, units_of
from cnnscope.analysis.receptive_field import Field, theoretical
from cnnscope.ir import Graph, Node, Shape
from cnnscope.render import numbers

DetailLevel = Literal["overview", "block", "layer", "op"]


@dataclass(frozen=True, slots=True)
class Box:
    """One thing in a figure: an input, a layer, a block, or a run of ``count`` of them folded into one.

    ``growth`` is the number of channels each folded part adds to the one before. ``layers`` are the rows inside, of
    all folded parts. ``cost`` is theirs together; ``shape`` and ``field`` are those of the last one's output.
    """

    id: str
    name: str
    title: str
    category: str
    shape: Shape
    cost: Cost
    field: Field | None
    cluster: str = ""
    count: int = 1
    growth: int = 0
    layers: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    is_block: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """A frame round boxes and other clusters; ``parent`` is empty at the top."""

    id: str
    title: str
    shape: Shape
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """What flows from one box to another. ``skips`` marks an edge past at least one box."""

    source: str
    target: str
    shape: Shape
    skips: bool = False


@dataclass(frozen=True, slots=True)
class Diagram:
    """A whole figure before it is drawn; ``notes`` say in words what was simplified.

    ``order`` has pairs of boxes of which the first is to stand above the second, with nothing drawn between them.
    """

    name: str
    level: DetailLevel
    boxes: tuple[Box, ...]
    clusters: tuple[Cluster, ...]
    edges: tuple[Edge, ...]
    totals: Cost
    notes: tuple[str, ...] = ()
    order: tuple[tuple[str, str], ...] = ()
    more: bool = False
    """Whether there are weights that nobody knows of, so that the parameters are a lower bound."""

    @property
    def parameters(self) -> str:
        """The parameters in words."""
        return f"{'>= ' if self.more else ''}{numbers.short(self.totals.params)} parameters"


@dataclass(frozen=True, slots=True)
class _Tile:
    """Parts that are drawn as one box, in a cluster."""

    run: Run
    cluster: str

    @property
    def nodes(self) -> Iterator[Node]:
        return (node for part in self.run.parts for unit in units_of(part) for node in unit.nodes)


def diagram(graph: Graph, level: DetailLevel = "overview") -> Diagram:
    """The figure of ``graph`` at a level: folded blocks, all blocks, all layers, or all ops."""
    costs, fields = node_costs(graph), theoretical(graph)
    graph, chained = chain_concats(graph)
    root = hierarchy(graph)
    blocks = block_kinds(root) if level in ("overview", "block") else frozenset()
    clusters: list[Cluster] = []
    tiles = list(_tiles(root, level, blocks, "", clusters))
    boxes = [*_input_boxes(graph, fields), *(_box(tile, graph, costs, fields) for tile in tiles)]
    used = {box.cluster for box in boxes}
    return Diagram(
        name=graph.name, level=level, boxes=tuple(boxes), clusters=tuple(_needed(clusters, used)),
        edges=tuple(_edges(graph, tiles)), totals=known(costs.values()), notes=tuple(_notes(tiles, chained)),
        more=bool(graph.uncounted),
    )  # fmt: skip


def _tiles(
    group: Group, level: DetailLevel, blocks: frozenset[str], cluster: str, clusters: list[Cluster]
) -> Iterator[_Tile]:
    """The group's parts as tiles, groups that are no blocks opened up as clusters."""
    runs = fold(group.children, similar=True) if level == "overview" else [Run((part,)) for part in group.children]
    for run in runs:
        if isinstance(run.first, Group) and _opens(run.first, blocks):
            for part in run.parts:
                assert isinstance(part, Group)
                last = part.units[-1].last.output.features
                clusters.append(Cluster(f"cluster_{part.path}", part.path.rpartition(".")[2], last, cluster))
                yield from _tiles(part, level, blocks, clusters[-1].id, clusters)
        elif level == "op":
            yield from (_Tile(Run((Unit((node,)),)), cluster) for part in run.parts for unit in units_of(part)
                        for node in unit.nodes)  # fmt: skip
        else:
            yield _Tile(run, cluster)


def _opens(group: Group, blocks: frozenset[str]) -> bool:
    """Whether a group is a frame round its parts, not a block: so is a mere chain of blocks that bears their name."""
    if group.block not in blocks:
        return True
    return is_chain(group) and any(isinstance(part, Group) and part.block in blocks for part in group.children)


def _input_boxes(graph: Graph, fields: Mapping[str, Field]) -> Iterator[Box]:
    for name, value in graph.inputs.items():
        yield Box(f"in_{name}", name, "input", "input", value.features, Cost(), fields.get(name))


def _box(tile: _Tile, graph: Graph, costs: Mapping[str, Cost], fields: Mapping[str, Field]) -> Box:
    nodes = list(tile.nodes)
    first, last = tile.run.first, nodes[-1]
    block = isinstance(first, Group)
    return Box(
        id=nodes[0].name, name=_run_name(tile.run), title=_title(first), shape=last.output.features,
        category="block" if block else nodes[0].op.category, cost=known(costs[node.name] for node in nodes),
        field=fields.get(last.name), cluster=tile.cluster, count=tile.run.count, growth=tile.run.growth,
        layers=tuple(dict.fromkeys(node.layer for node in nodes)), is_block=block,
        nodes=tuple(node.name for unit in units_of(first) for node in unit.nodes),
    )  # fmt: skip


def _title(part: Part) -> str:
    """The bold text of a box: the block's kind, or the layer with the ops fused behind it."""
    if isinstance(part, Group):
        return part.kind
    words = {"batchnorm": "BN", "layernorm": "LN", "groupnorm": "GN", "instancenorm": "IN"}
    main, *followers = part.nodes
    label = main.op.label()
    kind = "" if label.startswith(main.op.tag) else main.op.tag
    return " · ".join([" ".join(filter(None, (kind, label))), *(words.get(n.op.tag, n.op.tag) for n in followers)])


def _run_name(run: Run) -> str:
    names = [part.path if isinstance(part, Group) else part.name for part in run.parts]
    if len(names) == 1:
        return names[0]
    return f"{names[0]} … {names[-1].rpartition('.')[2]}"


def _edges(graph: Graph, tiles: Sequence[_Tile]) -> Iterator[Edge]:
    place = {node.name: i for i, tile in enumerate(tiles) for node in tile.nodes}
    ids = [next(iter(tile.nodes)).name for tile in tiles]
    seen: set[tuple[str, str]] = set()
    for i, tile in enumerate(tiles):
        for name in (name for node in tile.nodes for name in node.inputs):
            source = ids[place[name]] if name in place else f"in_{name}"
            if source == ids[i] or (source, ids[i]) in seen:
                continue
            seen.add((source, ids[i]))
            skips = place.get(name, -1) < i - 1
            yield Edge(source, ids[i], graph.value(name).features, skips)


def _needed(clusters: Sequence[Cluster], used: set[str]) -> Iterator[Cluster]:
    """Clusters that contain a box, directly or in an inner cluster."""
    parents = {cluster.id: cluster.parent for cluster in clusters}
    keep: set[str] = set()
    for name in used:
        while name:
            keep.add(name)
            name = parents[name]
    return (cluster for cluster in clusters if cluster.id in keep)


def _notes(tiles: Sequence[_Tile], chained: int) -> Iterator[str]:
    folded = [tile.run for tile in tiles if tile.run.count > 1]
    if folded:
        boxes = "1 box" if len(folded) == 1 else f"{len(folded)} boxes"
        yield f"{sum(run.count for run in folded)} equal neighbours are drawn as {boxes} (×n)"
    if any(run.growth for run in folded):
        yield "+n: each has n channels more than the one before"
    if chained:
        yield f"{chained} concatenations of all earlier maps are drawn as a chain: cat(cat(a, b), c) for cat(a, b, c)"
