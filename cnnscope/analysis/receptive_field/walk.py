"""One pass over a graph that follows the image's axes from the inputs to every node; and how a unit is named.

All receptive-field engines are folds over this pass. A unit is a layer and a position in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cnnscope.analysis.receptive_field.digits import Layout, channels_last, is_map, seed, shape_of
from cnnscope.analysis.receptive_field.layout import Action, Elsewhere, Global, follow, join
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph, Node, Shape, Value
from cnnscope.ir.steps import Expand, Step

FIRST = 2
"""The first spatial axis of a map."""
_LAYERS = frozenset({"conv", "pool", "norm", "resize"})
"""Categories of ops on maps, whose second axis has the channels."""


class Move(NamedTuple):
    """One step taken by a tensor that has the layout ``before`` it."""

    step: Step
    before: Layout
    actions: tuple[Action, ...]


class Path(NamedTuple):
    """What a node does with one of its inputs: ``source`` by name, moved until it has the node's shape."""

    source: str
    moves: tuple[Move, ...]

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(action for move in self.moves for action in move.actions)


class Visit(NamedTuple):
    """A node with the paths from those of its inputs that an image reaches, none if it reaches no input.

    ``merging`` has the actions on the maps when the paths are read together. ``known`` is False after an op without a
    rule.
    """

    node: Node
    paths: tuple[Path, ...] = ()
    merging: tuple[Action, ...] = ()
    layout: Layout = ()
    known: bool = True


def images(graph: Graph, wrt: str | None = None) -> dict[int, tuple[str, ...]]:
    """The inputs that are images, by number of spatial axes, ascending; only ``wrt`` if it is given."""
    ranks: dict[int, list[str]] = {}
    for name, value in graph.inputs.items():
        if value.spatial and wrt in (None, name):
            ranks.setdefault(len(value.spatial), []).append(name)
    return {rank: tuple(ranks[rank]) for rank in sorted(ranks)}


def image_axes(graph: Graph, name: str) -> tuple[int, ...]:
    """The axes of an input along which its image lies, in order: all but the batch and the channels.

    The channels are axis 1, unless the network folds that axis into the batch: then it has frames, as in a video
    (T, C, H, W) each frame of which goes through a two-dimensional network, and the channels are where its first layer
    has them.
    """
    rank = len(graph.inputs[name].shape)
    channels = _channels_of_frames(graph, name) if rank > FIRST + 1 else 1
    return tuple(axis for axis in range(1, rank) if axis != channels)


def extents(graph: Graph, name: str) -> Shape:
    """The extents of an input along its `image_axes`; empty for an input that is no map."""
    value = graph.inputs[name]
    return tuple(value.shape[axis] for axis in image_axes(graph, name)) if value.spatial else ()


def _channels_of_frames(graph: Graph, name: str) -> int:
    """The axis of the channels. Every axis but the batch is followed to the first layer on maps."""
    shape = graph.inputs[name].shape
    layouts = {name: seed(shape, range(1, len(shape)))}
    for node in graph.nodes:
        source = next((i for i in node.inputs if i in layouts), None)
        if source is None:
            continue
        if node.op.category in _LAYERS:
            frames, channels = layouts[source][:2]
            found = channels.images[0] + 1 if len(channels.images) == 1 and frames.images else 1
            return found if channels.extent == shape[found] else 1
        reads = node.op.reads(graph.values(node))
        if reads is None:
            return 1
        _, layouts[node.name] = _moves(layouts[source], reads[node.inputs.index(source)], node.output.shape)
    return 1


def positions(value: Value, layout: Layout) -> tuple[int, ...]:
    """The axes that give a unit its position: all but batch and channels of a map or tokens, else those with image
    positions.

    A tensor whose axes from the third on are the image's, in order, counts as a map; where the last axis holds the
    pixels of a cell behind the cells' positions, it holds channels.
    """
    if value.kind == "map" or is_map(layout):
        return tuple(range(FIRST, len(value.shape)))
    if value.kind == "tokens":
        return tuple(range(1, len(value.shape) - 1))
    if channels_last(layout):
        return tuple(range(1, len(value.shape) - 1))
    return tuple(i for i, axis in enumerate(layout) if any(digit.moves for digit in axis.digits))


def has_frames(value: Value, layout: Layout) -> bool:
    """Whether the first axis of a map holds parts of the image, as frames do that were folded into the batch.

    A unit belongs to one of them. Its position does not name it, so that of the first is meant.
    """
    return value.kind == "map" and bool(layout) and any(digit.moves for digit in layout[0].digits)


def walk(graph: Graph, sources: Collection[str]) -> Iterator[Visit]:
    """Yields every node in order, with what happens to the axes of the images ``sources`` on the way into it."""
    layouts = {name: seed(graph.inputs[name].shape, image_axes(graph, name)) for name in sources}
    local = dict.fromkeys(sources, True)
    unknown: set[str] = set()
    for node in graph.nodes:
        reached = [i for i, name in enumerate(node.inputs) if name in layouts]
        reads = node.op.reads(graph.values(node)) if reached else ()
        if reads is None or not unknown.isdisjoint(node.inputs):
            unknown.add(node.name)
            yield Visit(node, known=False)
            continue
        paths, ends = [], []
        for i in reached:
            source = node.inputs[i]
            same = not reads[i] and graph.value(source).shape == node.output.shape
            moves, end = ((), layouts[source]) if same else _moves(layouts[source], reads[i], node.output.shape)
            paths.append(Path(source, moves))
            ends.append(end)
        if not paths:
            yield Visit(node)
            continue
        kept = [local[path.source] and stays_local(path.actions) for path in paths]
        layout, merging = join(ends, kept, node.output.shape) if len(ends) > 1 else (ends[0], ())
        layouts[node.name], local[node.name] = layout, any(kept)
        yield Visit(node, tuple(paths), merging, layout)


def stays_local(actions: Iterable[Action]) -> bool:
    """Whether a local field is still local after these actions."""
    return not any(isinstance(a, Elsewhere) or (isinstance(a, Global) and not a.own) for a in actions)


def _moves(layout: Layout, steps: tuple[Step, ...], shape: tuple[int, ...]) -> tuple[tuple[Move, ...], Layout]:
    moves = []
    for step in steps:
        after, actions = follow(layout, step)
        moves.append(Move(step, layout, actions))
        layout = after
    if shape_of(layout) != shape:
        after, actions = follow(layout, Expand(shape))
        moves.append(Move(Expand(shape), layout, actions))
        layout = after
    return tuple(moves), layout


def names(graph: Graph) -> dict[str, str]:
    """All names of layers, with the input or node that each stands for: a row for its last op, an op for itself, a
    group for its output."""
    nodes = {name: name for name in (*graph.inputs, *(node.name for node in graph.nodes))}
    return _groups(graph) | nodes | {row: members[-1].name for row, members in graph.layers()}


def _groups(graph: Graph) -> dict[str, str]:
    """The groups of layers, each with its output: the last of its nodes that something outside reads."""
    readers: dict[str, list[str]] = {name: [""] for name in graph.outputs}
    for node in graph.nodes:
        for source in node.inputs:
            readers.setdefault(source, []).append(node.layer)
    found: dict[str, tuple[bool, str]] = {}
    for node in graph.nodes:
        parts = node.layer.split(".")
        for group in (".".join(parts[:end]) for end in range(1, len(parts))):
            leaves = any(not f"{reader}.".startswith(f"{group}.") for reader in readers.get(node.name, ()))
            if leaves or not found.get(group, (False, ""))[0]:
                found[group] = leaves, node.name
    return {group: name for group, (_, name) in found.items()}


def pick(layer: str, known: Mapping[str, str]) -> str:
    """The input or node that `names` has for ``layer``; E205 if there is none."""
    if layer not in known:
        raise CnnscopeError.of("E205", f"no layer is called `{layer}`", hint=did_you_mean(layer, known))
    return known[layer]


def find(graph: Graph, layer: str) -> str:
    """The input or node that gives ``layer`` its output; E205 if there is none."""
    return pick(layer, names(graph))


def check(layer: str, position: Sequence[int], extents: Shape) -> None:
    """E203 unless ``position`` is one of the layer's: an index from 0 per axis."""
    grid = "x".join(map(str, extents))
    if len(position) != len(extents):
        axes = f"{len(extents)} number{'s' * (len(extents) > 1)} ({grid})" if extents else "no numbers"
        raise CnnscopeError.of("E203", f"a position in `{layer}` takes {axes}, not {len(position)}")
    if any(not 0 <= at < n for at, n in zip(position, extents, strict=True)):
        where = ",".join(map(str, position))
        message = f"`{layer}` has {grid} positions, and {where} is none of them"
        raise CnnscopeError.of("E203", message, hint="positions count from 0")


def unknown(layer: str) -> CnnscopeError:
    """The error E306: the receptive field depends on an op that no rule covers."""
    return CnnscopeError.of("E306", f"the receptive field of `{layer}` is unknown: it depends on an op without a rule")
