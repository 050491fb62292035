"""The flat form of a spec: every block, repeat, default and expression worked out, one line a layer.

It is a spec again and loads to the same layers, names and totals, so nothing the language does stays hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any

from cnnscope.ir import Graph, Node, Value
from cnnscope.ops.arguments import Argument, Maybe, Padding, PerAxis
from cnnscope.ops.base import REGISTRY
from cnnscope.spec.inputs import looks_like_hwc
from cnnscope.spec.scalars import resolve

if TYPE_CHECKING:
    from cnnscope.spec import Spec

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*( [A-Za-z0-9_./+-]+)*")


def expand(spec: Spec) -> str:
    """The flat spec as YAML text."""
    graph = spec.graph
    lines = ["cnnscope: 1", f"name: {yaml(spec.name)}"]
    lines += [f"{key}: {yaml(value)}" for key, value in _metadata(spec).items() if value]
    lines += _inputs(graph)
    lines += ["layers:", *(f"  - {line}" for line in _layers(graph, training_only=False))]
    lines += _heads(spec)
    partly = _partly_frozen(graph)
    lines += [f"freeze: {yaml(partly)}"] if partly else []
    return "\n".join(lines) + "\n"


def _metadata(spec: Spec) -> dict[str, Any]:
    labels = list(spec.labels) if isinstance(spec.labels, tuple) else spec.labels and str(spec.labels)
    return {
        "about": dict(spec.about), "reference": dict(spec.reference), "preprocess": dict(spec.preprocess),
        "weights": spec.weights and str(spec.weights), "data": spec.data and str(spec.data), "labels": labels,
    }  # fmt: skip


def _inputs(graph: Graph) -> Iterator[str]:
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


def _heads(spec: Spec) -> Iterator[str]:
    if spec.heads:
        yield "heads:"
    for name, node in spec.heads.items():
        output = spec.graph.node(node) if node not in spec.graph.inputs else None
        if output is None or not output.training_only:
            yield f"  {name}: {yaml({'from': output.layer if output else node})}"
            continue
        yield f"  {name}:"
        yield "    training_only: true"
        own = list(_layers(spec.graph, training_only=True, head=name))
        if own:
            yield "    layers:"
            yield from (f"      - {line}" for line in own)
        else:
            yield f"    from: {output.layer}"


def _layers(graph: Graph, *, training_only: bool, head: str = "") -> Iterator[str]:
    """One line for each row of the trunk, or of a head that runs in training only."""
    row_of = {name: name for name in graph.inputs} | {node.name: node.layer for node in graph.nodes}
    owner: dict[str, str] = {}
    for node in graph.nodes:
        for key in node.params.values():
            owner.setdefault(key, node.layer)
    previous = next(iter(graph.inputs)) if len(graph.inputs) == 1 and not training_only else ""
    prefix = f"{head}." if head else ""
    for row, nodes in graph.layers():
        if nodes[0].training_only == training_only and row.startswith(prefix):
            sources = [row_of[name] for name in nodes[0].inputs]
            yield _line(graph, row.removeprefix(prefix), nodes, sources, previous, owner)
            previous = row


def _line(
    graph: Graph, name: str, nodes: Sequence[Node], sources: Sequence[str], previous: str, owner: Mapping[str, str]
) -> str:
    first = nodes[0]
    place: dict[str, Any] = {"name": name}
    if list(sources) != [previous]:
        place = {"from": list(sources) if len(sources) > 1 else sources[0], **place}
    first_owner = next((owner[key] for node in nodes for key in node.params.values()), first.layer)
    if first_owner != first.layer:
        return f"reuse: {yaml({'layer': first_owner} | place)}"
    if first.op.category == "merge":
        place["from"] = list(sources)
    args = arguments(first)
    for node in nodes[1:]:
        role = node.name.rpartition(".")[2]
        word = node.op.tag.removesuffix("norm") if role == "norm" else node.op.tag
        extra = arguments(node)
        args[role] = {word: extra} if extra else word
    weights = [graph.params[key] for node in nodes for key in node.params.values() if not graph.params[key].buffer]
    if weights and not any(param.trainable for param in weights):
        args["frozen"] = True
    return f"{first.op.tag}: {yaml(args | place)}"


def _partly_frozen(graph: Graph) -> list[str]:
    """Frozen weights whose layer has trainable ones too."""
    keys: list[str] = []
    for _, nodes in graph.layers():
        own = [key for node in nodes for key in node.params.values() if not graph.params[key].buffer]
        frozen = [key for key in own if not graph.params[key].trainable]
        keys += frozen if len(frozen) < len(own) else []
    return list(dict.fromkeys(keys))


def arguments(node: Node) -> dict[str, Any]:
    """What must be written to get this op: its arguments in their shortest form, defaults left out."""
    result = {}
    for name, (kind, default) in REGISTRY[node.op.tag].parameters().items():
        value = getattr(node.op, name)
        if value is not None and not _is_default(kind, default, value):
            result[name] = _shortest(kind, value)
    return result


def _is_default(kind: Argument, default: Any, value: Any) -> bool:
    if default is MISSING:
        return False
    if kind.spatial and isinstance(default, tuple) and isinstance(value, tuple):
        default = default * (len(value) // len(default))
    return bool(value == default)


def _shortest(kind: Argument, value: Any) -> Any:
    """A value per axis as one number where all axes agree."""
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
    """Plain data in flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{yaml(str(key))}: {yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(yaml, value)) + "]"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and isinstance(resolve(value), str)
        return value if plain else json.dumps(value, ensure_ascii=False)
    return "~" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
