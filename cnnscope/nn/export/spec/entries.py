"""Layers of a spec as data with a literal for each number, and as text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, replace
from typing import Any

from cnnscope.analysis.fuse import Unit, fuse
from cnnscope.ir import Graph, Node
from cnnscope.nn.code import Lit, Raw
from cnnscope.ops.base import REGISTRY
from cnnscope.ops.conv import Conv
from cnnscope.ops.window import resolve_pad
from cnnscope.spec.emit import shortest, yaml

WIDTH = 100
Data = Any
"""Plain YAML data with `Lit` and `Raw` for values, and `Entry` items in lists."""


@dataclass(frozen=True)
class Entry:
    """One item of a list of layers. ``name`` is the layer's name inside the list; with "" the spec numbers it."""

    tag: str
    args: Mapping[str, Data] = field(default_factory=dict)
    name: str = ""

    def named(self, name: str) -> Entry:
        return replace(self, name=name)


Body = tuple[Entry, ...]


@dataclass(frozen=True)
class Defaults:
    """Arguments that most convolutions have in common, which the spec has once, as ``defaults``."""

    conv: Mapping[str, Data]

    @classmethod
    def of(cls, graph: Graph) -> Defaults:
        """The commonest bias, norm, activation and padding of the graph's convolutions, each if most have it."""
        units = [unit for unit in fuse(graph) if type(unit.main.op) is Conv]
        votes: dict[str, Counter[str]] = {}
        texts: dict[str, Data] = {}
        for unit in units:
            for name, value in {**_decorations(unit), **_conv_words(graph, unit.main)}.items():
                votes.setdefault(name, Counter())[yaml(value)] += 1
                texts[yaml(value)] = value
        common = {name: votes[name].most_common(1)[0] for name in ("bias", "pad", "norm", "act") if name in votes}
        shared = {name: texts[text] for name, (text, count) in common.items() if 2 * count > len(units) > 2}
        plain = {"bias": True, "pad": 0, "norm": "none", "act": "none"}
        return cls({name: value for name, value in shared.items() if value != plain[name]})


def _conv_words(graph: Graph, node: Node) -> dict[str, Data]:
    return {"bias": node.op.bias, "pad": _pad(graph, node)}  # type: ignore[attr-defined]  # asked of convolutions


def _pad(graph: Graph, node: Node) -> Data:
    """The padding in its shortest form: ``half`` where that means the same."""
    op: Any = node.op
    if resolve_pad("half", graph.values(node)[0].shape[2:], op.kernel, op.stride, op.dilation) == op.pad:
        return "half"
    return _value(shortest(REGISTRY[op.tag].parameters()["pad"][0], op.pad))


def entries(graph: Graph, unit: Unit, name: str, defaults: Defaults) -> Body:
    """A unit as layers: one, or several where its norm or activation cannot be written with its first op."""
    main = unit.main
    if not REGISTRY[main.op.tag].decorates:
        return tuple(Entry(n.op.tag, _arguments(graph, n, defaults), name if n is main else "") for n in unit.nodes)
    args = _arguments(graph, main, defaults)
    said = {"norm": "none", "act": "none", **defaults.conv} if type(main.op) is Conv else {}
    for role, value in _decorations(unit).items():
        args[role] = Lit(value, role, said.get(role, "none"))
    weights = [graph.params[key] for node in unit.nodes for key in node.params.values() if not graph.params[key].buffer]
    if weights and not any(param.trainable for param in weights):
        args["frozen"] = True
    return (Entry(main.op.tag, args, name),)


def _decorations(unit: Unit) -> dict[str, Data]:
    found: dict[str, Data] = {"norm": "none", "act": "none"}
    for node in unit.nodes[1:]:
        norm = node.op.category == "norm"
        word = node.op.tag.removesuffix("norm") if norm else node.op.tag
        given = {key: plain(lit) for key, lit in _plain_arguments(node).items() if not lit.implied}
        found["norm" if norm else "act"] = {word: given} if given else word
    return found


def _arguments(graph: Graph, node: Node, defaults: Defaults) -> dict[str, Data]:
    args: dict[str, Data] = dict(_plain_arguments(node))
    if type(node.op) is Conv:
        for name, value in _conv_words(graph, node).items():
            said = defaults.conv.get(name, args[name].default)
            pointless = name == "pad" and value == "half" and said == 0 and set(node.op.kernel) == {1}
            args[name] = Lit(0 if pointless else value, name, said)
    return args


def _plain_arguments(node: Node) -> dict[str, Lit]:
    """Every argument in its shortest form, with its default."""
    result = {}
    for name, (kind, default) in REGISTRY[node.op.tag].parameters().items():
        value = getattr(node.op, name)
        if default is MISSING:
            result[name] = Lit(_value(shortest(kind, value)), _argument_name(name))
            continue
        if kind.spatial and isinstance(default, tuple) and isinstance(value, tuple):
            default = default * (len(value) // len(default))
        result[name] = Lit(_value(shortest(kind, value)), name, _value(shortest(kind, default)))
    return result


def _value(value: Data) -> Data:
    return tuple(map(_value, value)) if isinstance(value, (list, tuple)) else value


def _argument_name(name: str) -> str:
    """Torch's word for channels, so that code and specs name parameters by the same rules."""
    return "out_channels" if name == "out" else name


# -- text --------------------------------------------------------------------------------------------------------------


def plain(data: Data) -> Data:
    """Data as YAML has it, without arguments that equal their defaults."""
    if isinstance(data, Lit):
        return plain(data.value)
    if isinstance(data, Raw):
        return data.text
    if isinstance(data, Mapping):
        return {key: plain(value) for key, value in data.items() if not (isinstance(value, Lit) and value.implied)}
    return [plain(item) for item in data] if isinstance(data, (tuple, list)) else data


def text(body: Body, indent: int) -> Iterator[str]:
    """The lines of a list of layers."""
    for entry in body:
        yield from _entry(entry, " " * indent)


def _entry(entry: Entry, pad: str) -> Iterator[str]:
    args = dict(entry.args)
    lists = {key: args.pop(key) for key in ("paths", "shortcut", "layers") if _holds_layers(args.get(key))}
    said = {key: value for key, value in plain(args).items() if value != {}}
    said |= {"name": entry.name} if entry.name else {}
    line = f"{pad}- {entry.tag}: {_yaml(_short(entry.tag, said))}" if said else f"{pad}- {entry.tag}"
    if not lists and len(line) <= WIDTH:
        yield line
        return
    yield f"{pad}- {entry.tag}:"
    for key, value in said.items():
        if key == "each":
            yield f"{pad}    {key}:"
            yield from (f"{pad}      - {_yaml(row)}" for row in value)
        else:
            yield f"{pad}    {key}: {_yaml(value)}"
    for key, value in lists.items():
        yield f"{pad}    {key}:"
        if key == "paths":
            for name, path in value.items():
                yield f"{pad}      {name}:" + ("" if path else " []")
                yield from text(path, len(pad) + 8)
        else:
            yield from text(value, len(pad) + 6)


def _yaml(value: Data) -> str:
    """YAML in flow style, in which a single parameter needs no quotes."""
    return re.sub(r'"(\$\w+)"', r"\1", yaml(value))


def _holds_layers(value: Data) -> bool:
    if isinstance(value, Mapping):
        return True
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Entry)


def _short(tag: str, said: Mapping[str, Data]) -> Data:
    """The bare value, if the layer has no other argument."""
    op = REGISTRY.get(tag)
    key = op.short if op is not None else "block" if tag == "use" else None
    return said[key] if key is not None and list(said) == [key] else said
