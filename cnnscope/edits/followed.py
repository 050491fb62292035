"""What followed from a change: the nodes that are not as they were although nobody named them, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from cnnscope.edits.intents import takes_size
from cnnscope.ir import Graph, Node
from cnnscope.ops.base import channel_axis, shape_text

What = Literal["out", "in", "groups", "pad", "size", "table"]


@dataclass(frozen=True, slots=True)
class Followed:
    """One thing that followed: ``layer`` had ``was`` and has ``now``, ``because`` of another layer or an intent."""

    layer: str
    what: What
    was: str
    now: str
    because: str


@dataclass(frozen=True, slots=True)
class WeightChanges:
    """The keys of weights and buffers by what became of them."""

    kept: tuple[str, ...]
    resized: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]


def weight_changes(before: Graph, after: Graph) -> WeightChanges:
    """What became of the weights: a weight that was resized cannot be kept, and starts anew."""
    same = [key for key, p in after.params.items() if key in before.params and before.params[key].shape == p.shape]
    resized = [key for key in after.params if key in before.params and key not in set(same)]
    new = [key for key in after.params if key not in before.params]
    gone = [key for key in before.params if key not in after.params]
    return WeightChanges(tuple(same), tuple(resized), tuple(new), tuple(gone))


def followed(before: Graph, after: Graph, asked: Collection[str], why: Mapping[str, str]) -> tuple[Followed, ...]:
    """What followed, in order. ``asked`` are nodes that the user named; ``why`` has the node that ties a width."""
    old = {node.name: node for node in before.nodes}
    return tuple(
        found
        for node in after.nodes
        if node.name in old
        for found in _of(before, after, old[node.name], node, node.name in asked, why)
    )


def _of(before: Graph, after: Graph, was: Node, now: Node, asked: bool, why: Mapping[str, str]) -> Iterator[Followed]:
    a, b = vars_of(was.op), vars_of(now.op)
    x, y = before.values(was), after.values(now)
    if a.get("out") != b.get("out") and not asked and "out" in a and "out" in b:
        depthwise = a.get("groups") == a["out"]
        because = f"`{now.layer}` is depthwise" if depthwise else _join(after, why, now)
        yield Followed(now.layer, "out", str(a["out"]), str(b["out"]), because)
    elif _weighs(was) and was.op.tag == now.op.tag and x and y and _channels(x[0]) != _channels(y[0]):
        yield Followed(now.layer, "in", str(_channels(x[0])), str(_channels(y[0])), f"`{_layer(after, now.inputs[0])}`")
    if a.get("pad") != b.get("pad") and was.op.tag == now.op.tag and "pad" in a:
        meant = now.intent.pad or "half or same"
        if not asked or was.intent.pad == now.intent.pad is not None:
            yield Followed(now.layer, "pad", _pads(a["pad"]), _pads(b["pad"]), f"its padding is `{meant}`")
    if takes_size(now.op) and a.get("size") != b.get("size") and not asked:
        source = now.intent.like or "what it is joined with"
        yield Followed(
            now.layer, "size", shape_text(a["size"]), shape_text(b["size"]), f"it takes the size of `{source}`"
        )
    yield from _tables(before, after, was, now)


def _tables(before: Graph, after: Graph, was: Node, now: Node) -> Iterator[Followed]:
    if now.op.tag not in ("parameter", "position"):
        return
    for key in now.params.values():
        one, other = before.params[key].shape, after.params[key].shape
        if one != other:
            yield Followed(now.layer, "table", shape_text(one), shape_text(other), "interpolate its weights")


def vars_of(op: Any) -> dict[str, Any]:
    """The arguments of an op by name."""
    return {one.name: getattr(op, one.name) for one in fields(op)}


def _weighs(node: Node) -> bool:
    return "weight" in node.params and node.op.category in ("conv", "linear")


def _channels(value: Any) -> int:
    axis = channel_axis(value)
    return int(value.shape[axis]) if value.shape else 1


def _pads(pad: Any) -> str:
    pairs: Sequence[Any] = pad if isinstance(pad, tuple) else ()
    if all(low == high for low, high in pairs):
        sizes = [low for low, _ in pairs]
        return str(sizes[0]) if len(set(sizes)) == 1 else shape_text(tuple(sizes))
    return ", ".join(f"{low}+{high}" for low, high in pairs)


def _join(graph: Graph, why: Mapping[str, str], node: Node) -> str:
    """Why a width is what it is: the join that ties it."""
    layer = why.get(node.name)
    if not layer:
        return "the scale"
    join = next((other for other in graph.nodes if other.layer == layer), None)
    verb = {"add": "adds", "mul": "multiplies", "concat": "joins", "matmul": "contracts"}
    return f"`{layer}` {verb.get(join.op.tag if join else '', 'ties it')}"


def _layer(graph: Graph, name: str) -> str:
    return name if name in graph.inputs else graph.node(name).layer
