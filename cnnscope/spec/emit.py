"""Writes the flat form of a spec: every block, repeat, default and expression is worked out, with one line a layer.

The result is a spec again. It loads to the same layers, names and totals, so it shows all that the language did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cnnscope.ir import Graph, Node, Operation, Value
from cnnscope.ops.arguments import PAD_WORDS, Argument, Maybe, Padding, PerAxis
from cnnscope.ops.base import REGISTRY
from cnnscope.spec.metadata import looks_like_hwc
from cnnscope.spec.text import resolve

if TYPE_CHECKING:
    from cnnscope.spec import Spec

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*( [A-Za-z0-9_./+-]+)*")


def expand(spec: Spec) -> str:
    """Returns the flat spec as YAML text."""
    graph = spec.graph
    rows = _Rows(graph)
    lines = ["cnnscope: 1", f"name: {yaml(spec.name)}"]
    lines += [f"{key}: {yaml(value)}" for key, value in _metadata(spec).items() if value]
    lines += inputs(graph)
    lines += ["layers:", *(f"  - {line}" for line in _layers(rows, training_only=False))]
    lines += _heads(spec, rows)
    partly = _partly_frozen(graph)
    lines += [f"freeze: {yaml(partly)}"] if partly else []
    return "\n".join(lines) + "\n"


def _metadata(spec: Spec) -> dict[str, Any]:
    labels = list(spec.labels) if isinstance(spec.labels, tuple) else spec.labels and str(spec.labels)
    return {
        "about": dict(spec.about), "reference": dict(spec.reference), "preprocess": dict(spec.preprocess),
        "weights": spec.weights and str(spec.weights), "data": spec.data and str(spec.data), "labels": labels,
    }  # fmt: skip


def inputs(graph: Graph) -> Iterator[str]:
    """Yields the lines that state the shapes of the inputs, in the author's layout."""
    shapes = {name: _input(value, graph.layout) for name, value in graph.inputs.items()}
    if list(shapes) == ["input"]:
        yield f"input: {yaml(shapes['input'])}"
    else:
        yield "inputs:"
        yield from (f"  {name}: {yaml(shape)}" for name, shape in shapes.items())


def _input(value: Value, layout: str) -> dict[str, Any]:
    channels, *spatial = value.features
    shape = [*spatial, channels] if layout == "HWC" else [channels, *spatial]
    said = spatial and (layout == "HWC" or looks_like_hwc(shape))
    return {"shape": shape, "layout": layout} if said else {"shape": shape}


def _heads(spec: Spec, rows: _Rows) -> Iterator[str]:
    if spec.heads:
        yield "heads:"
    for name, node in spec.heads.items():
        output = spec.graph.node(node) if node not in spec.graph.inputs else None
        if output is None or not output.training_only:
            yield f"  {name}: {yaml({'from': output.layer if output else node})}"
            continue
        yield f"  {name}:"
        yield "    training_only: true"
        own = list(_layers(rows, training_only=True, head=name))
        if own:
            yield "    layers:"
            yield from (f"      - {line}" for line in own)
        else:
            yield f"    from: {output.layer}"


@dataclass(frozen=True)
class _Rows:
    """The rows of a graph: the row of each node, the row that first used a weight, and all rows that use the same
    weights.
    """

    graph: Graph

    @cached_property
    def of(self) -> dict[str, str]:
        return {name: name for name in self.graph.inputs} | {node.name: node.layer for node in self.graph.nodes}

    @cached_property
    def owners(self) -> dict[str, str]:
        owners: dict[str, str] = {}
        for node in self.graph.nodes:
            for key in node.params.values():
                owners.setdefault(key, node.layer)
        return owners

    @cached_property
    def users(self) -> dict[str, list[Node]]:
        users: dict[str, list[Node]] = {}
        for _, nodes in self.graph.layers():
            users.setdefault(self.owner(nodes), []).append(nodes[0])
        return users

    def owner(self, nodes: Sequence[Node]) -> str:
        """Returns the row whose weights a row uses: itself, unless an earlier row used them first."""
        return next((self.owners[key] for node in nodes for key in node.params.values()), nodes[0].layer)


def _layers(rows: _Rows, *, training_only: bool, head: str = "") -> Iterator[str]:
    """Yields one line for each row of the trunk, or of a head that runs in training only."""
    graph = rows.graph
    previous = next(iter(graph.inputs)) if len(graph.inputs) == 1 and not training_only else ""
    prefix = f"{head}." if head else ""
    for row, nodes in graph.layers():
        if nodes[0].training_only == training_only and row.startswith(prefix):
            yield _line(rows, row.removeprefix(prefix), nodes, previous)
            previous = row


def _line(rows: _Rows, name: str, nodes: Sequence[Node], previous: str) -> str:
    first = nodes[0]
    sources = [rows.of[source] for source in first.inputs]
    place: dict[str, Any] = {"name": name}
    if sources != [previous] or first.op.category == "merge":
        place = {"from": sources if first.op.category == "merge" or len(sources) > 1 else sources[0], **place}
    owner = rows.owner(nodes)
    if owner != first.layer:
        return f"reuse: {yaml({'layer': owner} | place)}"
    args = arguments(first) | _common_padding(rows, first)
    for node in nodes[1:]:
        role = node.name.rpartition(".")[2]
        word = node.op.tag.removesuffix("norm") if role == "norm" else node.op.tag
        extra = arguments(node)
        args[role] = {word: extra} if extra else word
    params = [rows.graph.params[key] for node in nodes for key in node.params.values()]
    if any(not p.buffer for p in params) and not any(p.trainable for p in params):
        args["frozen"] = True
    return f"{first.op.tag}: {yaml(args | place)}"


def _common_padding(rows: _Rows, first: Node) -> dict[str, str]:
    """Returns the word for padding of a layer that is reused at another size, where the same word means
    other numbers.
    """
    users = rows.users.get(first.layer, [first])
    if not hasattr(first.op, "pad") or all(user.op == first.op for user in users):
        return {}

    def agrees(word: str) -> bool:
        return all(_padded(user.op, word, rows.graph.values(user)) == user.op for user in users)

    return next(({"pad": word} for word in PAD_WORDS if agrees(word)), {})


def _padded(op: Any, word: str, x: Sequence[Value]) -> Operation:
    bound: Operation = replace(op, pad=word).bind(x)
    return bound


def _partly_frozen(graph: Graph) -> list[str]:
    """Returns the frozen weights whose layer also has trainable ones."""
    keys: list[str] = []
    for _, nodes in graph.layers():
        own = [key for node in nodes for key in node.params.values() if not graph.params[key].buffer]
        frozen = [key for key in own if not graph.params[key].trainable]
        keys += frozen if len(frozen) < len(own) else []
    return list(dict.fromkeys(keys))


def arguments(node: Node) -> dict[str, Any]:
    """Returns the arguments that must be written to get this op, in their shortest form and without defaults."""
    result = {}
    for name, (kind, default) in REGISTRY[node.op.tag].parameters().items():
        value = getattr(node.op, name)
        if value is not None and not _is_default(kind, default, value):
            result[name] = shortest(kind, value)
    return result


def _is_default(kind: Argument, default: Any, value: Any) -> bool:
    if default is MISSING:
        return False
    if kind.spatial and isinstance(default, tuple) and isinstance(value, tuple):
        default = default * (len(value) // len(default))
    return bool(value == default)


def shortest(kind: Argument, value: Any) -> Any:
    """Returns a value per axis as one number if all axes agree."""
    kind = kind.kind if isinstance(kind, Maybe) else kind
    if isinstance(kind, Padding) and isinstance(value, tuple):
        sides = [low if low == high else [low, high] for low, high in value]
        if any(isinstance(side, list) for side in sides):
            return [[low, high] for low, high in value]
        value = tuple(sides)
    elif not isinstance(kind, PerAxis):
        return list(value) if isinstance(value, tuple) else value
    if isinstance(value, tuple):
        return value[0] if len(set(value)) == 1 else list(value)
    return value


def yaml(value: Any) -> str:
    """Returns plain data as YAML in flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{yaml(str(key))}: {yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(yaml, value)) + "]"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and isinstance(resolve(value), str)
        return value if plain else json.dumps(value, ensure_ascii=False)
    return "~" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
