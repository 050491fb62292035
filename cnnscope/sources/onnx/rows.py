"""The names of the rows of an ONNX graph: those of the modules it was exported from, if the file has them.

torch's exporters name nodes ``/layer1/layer1.0/conv1/Conv``, or keep the modules as metadata. Others write paths
(``block1/conv/Conv2D``) or nothing. A module without modules inside is one row. A node directly in a larger module is a
row of its own, such as ``layer1.0.add``.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from cnnscope.sources.files import clean

DEEPEST = 64
"""Modules are not nested deeper than this. Longer paths are no paths of modules, and would make too many groups."""
SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a node: the path of its module, and its name in there."""

    scope: str
    name: str


def rows(nodes: Sequence[NodeProto], places: Sequence[Place] | None = None) -> list[tuple[str, str]]:
    """Returns the row and the name of each node, whose ``places`` may be known. Neither is unique yet."""
    places = places_of(nodes) if places is None else places
    inner = {above for scope in {place.scope for place in places} for above in _above(scope)}
    leaves = [place.scope if place.scope and place.scope not in inner else "" for place in places]
    result: list[tuple[str, str]] = []
    runs: Counter[str] = Counter()
    row, last = "", ""
    lengths = Counter[str]()
    for place, leaf in zip(places, leaves, strict=True):
        if not leaf:
            result.append(("", f"{place.scope}.{place.name}" if place.scope else place.name))
            last = last if not place.scope else ""
            continue
        if leaf != last:
            runs[leaf] += 1
            row, last = leaf if runs[leaf] == 1 else f"{leaf}#{runs[leaf]}", leaf
        lengths[row] += 1
        result.append((row, place.name))
    return [(row or name, name if not row else row if lengths[row] == 1 else f"{row}.{name}") for row, name in result]


def places_of(nodes: Sequence[NodeProto]) -> list[Place]:
    """Returns the place of each node. One without a place, as optimisers of graphs make them, is in the innermost
    module that has all its neighbours, if they have places.
    """
    places = [_place(node) for node in nodes]
    places = [Place("", p.name) if p.scope.count(".") >= DEEPEST else p for p in places]
    if not any(place.scope for place in places):
        return places
    makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    near: dict[int, list[int]] = {i: [] for i, node in enumerate(nodes) if not _is_placed(node)}
    for i, node in enumerate(nodes):
        for maker in {makers[name] for name in node.input if name in makers}:
            for a, b in ((i, maker), (maker, i)):
                if a in near and b not in near:
                    near[a].append(b)
    for i, others in near.items():
        scopes = [places[other].scope.split(".") for other in others]
        if scopes:
            places[i] = Place(".".join(common_prefix(scopes)), places[i].name)
    return places


def common_prefix(paths: Sequence[Sequence[str]]) -> list[str]:
    """Returns the first parts that all paths share, of one path all but its last."""
    shared: list[str] = []
    for parts in zip(*(path[:-1] for path in paths) if len(paths) == 1 else paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


def _is_placed(node: NodeProto) -> bool:
    return "/" in node.name or bool(_metadata(node, SCOPES))


def _above(scope: str) -> list[str]:
    """Returns the scopes around a scope."""
    parts = scope.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _place(node: NodeProto) -> Place:
    scopes, classes = _metadata(node, SCOPES), _metadata(node, CLASSES)
    if len(scopes) > 1:
        module = scopes[-2]
        if node.op_type.startswith("Conv") and "BatchNorm" in "".join(classes[-2:-1]):
            weight = node.input[1] if len(node.input) > 1 else ""  # fused: torch's exporter keeps the place of the norm
            module = weight.removesuffix(".weight") if weight.endswith(".weight") else module
        return Place(clean(module) if module else "", clean(scopes[-1]).rpartition(".")[2])
    if "/" in node.name:
        *path, name = [part for part in node.name.split("/") if part] or [node.op_type]
        return Place(clean("/".join(_joined(path))) if path else "", clean(name).lower().replace(".", "_"))
    name = node.name.removeprefix("node_") or (node.output[0] if node.output else "") or node.op_type
    return Place("", clean(name))


def _joined(path: Sequence[str]) -> list[str]:
    """Returns the path with each scope stated once: exporters write ``layer1/layer1.0/layer1.0.conv``."""
    result: list[str] = []
    before = ""
    for part in path:
        result.append(part.removeprefix(f"{before}.") if before else part)
        before = part
    return result


def _metadata(node: NodeProto, key: str) -> list[str]:
    """Returns a list that torch's exporter stores with a node in Python's notation."""
    for entry in node.metadata_props:
        if entry.key == key and len(entry.value) < 10_000:
            try:
                value = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return []
            return [str(item) for item in value] if isinstance(value, list) else []
    return []


def scope_classes(nodes: Sequence[NodeProto], places: Sequence[Place]) -> Mapping[str, str]:
    """Returns the class of each module that has modules inside, as far as the metadata have it; others are a
    ``group``.
    """
    classes: dict[str, str] = {}
    for node in nodes:
        scopes, named = _metadata(node, SCOPES), _metadata(node, CLASSES)
        if len(scopes) == len(named):
            for scope, name in zip(scopes[1:-2], named[1:-2], strict=True):
                classes.setdefault(clean(scope), name.rpartition(".")[2])
    groups = dict.fromkeys(above for scope in dict.fromkeys(place.scope for place in places) for above in _above(scope))
    return {scope: classes.get(scope, "group") for scope in groups}
