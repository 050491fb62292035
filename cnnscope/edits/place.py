"""Changes of arguments, types and places of layers, before anything is inferred again.

Each function takes a draft, a graph whose shapes are not those of its ops any more, and returns another draft. A new
node has the value that it reads as its output until the draft is refitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cnnscope.edits.change import Insert, Remove, Resize, SetArgs, Swap
from cnnscope.edits.intents import is_window, pad_word, padded
from cnnscope.edits.parse import layer_type
from cnnscope.edits.remove import detached
from cnnscope.edits.select import of_type, selected
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph, Node, Value
from cnnscope.ir.builder import Names
from cnnscope.ir.declared import fitted
from cnnscope.ops.arguments import ArgumentError
from cnnscope.ops.base import Op, channel_axis
from cnnscope.ops.composite import Composite
from cnnscope.ops.pool import BlurPool, MaxPool
from cnnscope.ops.traced import Traced


def with_args(draft: Graph, graph: Graph, change: SetArgs) -> Graph:
    """The draft with other arguments. Padding keeps its word where the kernel or its dilation changes."""
    found = selected(draft, change.layers)
    takes = {node.name for node in found if _takes(node, change.args)}
    if not takes:
        raise _no_argument(change, found)
    nodes = [_changed(node, graph, change.args) if node.name in takes else node for node in draft.nodes]
    return replace(draft, nodes=tuple(nodes))


def _takes(node: Node, args: Mapping[str, Any]) -> bool:
    return not isinstance(node.op, Traced) and all(name in type(node.op).parameters() for name in args)  # type: ignore[attr-defined]  # an op


def _no_argument(change: SetArgs, found: Sequence[Node]) -> CnnscopeError:
    plain = [node for node in found if not isinstance(node.op, Traced)]
    known = dict.fromkeys(name for node in plain for name in type(node.op).parameters())  # type: ignore[attr-defined]  # an op
    unknown = next(iter(change.args))
    kinds = " and ".join(dict.fromkeys(f"`{node.op.tag}`" for node in found))
    aliases = {old: new for node in plain for old, new in type(node.op).aliases.items()}  # type: ignore[attr-defined]  # an op
    right = aliases.get(unknown)
    hint = f"did you mean `{right}`?" if right in known else did_you_mean(unknown, list(known))
    hint = hint or (f"it has {', '.join(known)}" if known else "what is traced between layers has none")
    return CnnscopeError.of("E202", f"`{change.layers}` ({kinds}) has no argument `{unknown}`", hint=hint)


def _changed(node: Node, graph: Graph, args: Mapping[str, Any]) -> Node:
    x = graph.values(node) if node.name in graph._nodes_by_name else (node.output,)
    op: Any = node.op
    values = _read(type(op), args, x, node)
    new = replace(op, **values)
    intent = node.intent
    if "pad" in args:
        word: Any = values["pad"] if isinstance(values["pad"], str) else None
        intent = replace(intent, pad=word)
        new = new if word is None else replace(new, pad=padded(new, word, x) or word)
    elif is_window(op) and {"kernel", "dilation"} & set(args) and node.name in graph._nodes_by_name:
        word = pad_word(graph.node(node.name), x)
        pads = None if word is None else padded(new, word, x) or word
        new = new if pads is None else replace(new, pad=pads)
        intent = replace(intent, pad=word)
    return replace(node, op=new, intent=intent)


def _read(op: type[Op], args: Mapping[str, Any], x: Sequence[Value], node: Node) -> dict[str, Any]:
    ndim = _image_axes(x[0]) if x else None
    values = {}
    for name, raw in args.items():
        try:
            values[name] = op.parameters()[name][0].read(raw, ndim)
        except ArgumentError as error:
            message = f"`{name}` of `{node.layer}`: {error.message}"
            raise CnnscopeError.of(error.code, message, hint=error.hint) from None
    return values


def _image_axes(value: Value) -> int | None:
    """The number of spatial axes; a traced tensor may be a map too."""
    return len(value.shape) - 2 if value.kind in ("map", "tensor") and len(value.shape) > 2 else None


def without(draft: Graph, change: Remove) -> Graph:
    """The draft without the layers, groups or types of layers."""
    names = [n for what in change.layers for n in _removable(draft, what)]
    nodes, outputs = detached(draft, names)
    return replace(draft, nodes=tuple(nodes), outputs=tuple(outputs))


def _removable(draft: Graph, what: str) -> tuple[str, ...]:
    groups = {node.layer.split(".")[0] for node in draft.nodes} | {node.layer for node in draft.nodes}
    if what in groups or what in draft.scopes:
        return (what,)
    tagged = tuple(node.name for node in draft.nodes if node.op.tag == what)
    return tagged or tuple(node.name for node in selected(draft, what))


def swapped(draft: Graph, change: Swap) -> Graph:
    """The draft with layers of another type; arguments that both types have are kept unless others are given."""
    for node in of_type(draft, change.what, change.within):
        parts = _parts(node, draft.values(node), change)
        if parts:
            draft = _in_place_of(draft, node, parts)
    return draft


def _parts(node: Node, x: Sequence[Value], change: Swap) -> list[Op]:
    """The ops that take the place of one: nothing where it stays."""
    to = layer_type(change.to)
    op: Any = node.op
    if isinstance(op, Traced) or issubclass(to, Composite):
        what = "is no layer of a type of its own" if isinstance(op, Traced) else "would be replaced by several layers"
        raise CnnscopeError.of("E492", f"`{node.layer}` cannot be swapped for `{to.tag}`: it {what}")
    if isinstance(op, MaxPool) and to is BlurPool:
        return _blurred(node, op, change)
    shared = {
        name: getattr(op, name) for name in to.parameters() if hasattr(op, name) and name in type(op).parameters()
    }
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in shared.items()}
    given = {name: _lists(value) for name, value in plain.items() if name not in change.args} | dict(change.args)
    if "out" in to.parameters() and "out" not in given:
        given["out"] = node.output.shape[channel_axis(node.output)]
    ndim = _image_axes(x[0])
    try:
        return [to.read(given, ndim)]
    except ArgumentError as error:
        raise CnnscopeError.of(error.code, f"`{node.layer}`: {error.message}", hint=error.hint) from None


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple | list) else value


def _blurred(node: Node, op: MaxPool, change: Swap) -> list[Op]:
    """Maximum with stride 1, then a blur that subsamples (Zhang 2019, section 3.2). A pool of stride 1 stays."""
    if max(op.step) == 1:
        return []
    if op.ceil:
        message = f"`{node.layer}` rounds its size up (`ceil`), which `blurpool` cannot"
        raise CnnscopeError.of("E492", message, hint=f"leave it out with --in, or `{node.layer}.ceil=false` first")
    given = {"kernel": 3, "pad": "half", "stride": list(op.step)} | dict(change.args)
    return [replace(op, stride=(1,) * len(op.kernel)), BlurPool.read(given, len(op.kernel))]


def _in_place_of(draft: Graph, node: Node, parts: Sequence[Op]) -> Graph:
    """The draft with a chain of ops in a node's place; the first has its name, so that it keeps weights that fit."""
    names = Names((*draft.inputs, *(other.name for other in draft.nodes)))
    chain = [replace(node, op=parts[0])]
    for op in parts[1:]:
        name = names.unique(f"{node.name}.{op.tag}")
        chain.append(Node(name, op, (chain[-1].name,), node.output, layer=f"{node.layer}.{op.tag}"))
    return _behind(draft, node.name, chain, replaces=True)


def inserted(draft: Graph, change: Insert) -> Graph:
    """The draft with a new layer behind another one or an input."""
    op = layer_type(change.layer)
    if issubclass(op, Composite) or op.arity[0] > 1:
        raise CnnscopeError.of("E492", f"`{op.tag}` cannot be inserted: only layers of one input and one op can")
    source = change.after if change.after in draft.inputs else selected(draft, change.after)[-1].name
    value = draft.value(source)
    ndim = _image_axes(value)
    try:
        made = op.read(change.args, ndim)
    except ArgumentError as error:
        raise CnnscopeError.of(error.code, error.message, hint=error.hint) from None
    names = Names((*draft.inputs, *(node.name for node in draft.nodes), *(node.layer for node in draft.nodes)))
    name = names.unique(f"{change.after.replace('*', '')}_{op.tag}")
    fresh = Node(name, made, (source,), value)
    if source in draft.inputs:
        nodes = [replace(node, inputs=_instead(node.inputs, source, name)) for node in draft.nodes]
        return replace(draft, nodes=(fresh, *nodes))
    return _behind(draft, source, [draft.node(source), fresh])


def _behind(draft: Graph, name: str, chain: Sequence[Node], *, replaces: bool = False) -> Graph:
    """The draft with ``chain`` in the place of the node ``name``; its readers read the chain's last."""
    last = chain[-1].name
    nodes: list[Node] = []
    for node in draft.nodes:
        nodes += chain if node.name == name else [replace(node, inputs=_instead(node.inputs, name, last))]
    return replace(draft, nodes=tuple(nodes), outputs=_instead(draft.outputs, name, last))


def _instead(names: Sequence[str], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)


def resized(draft: Graph, change: Resize) -> Graph:
    """The draft with other sizes of inputs. E403 for a size that is another network's, E408 for an unknown input."""
    inputs = dict(draft.inputs)
    for name, size in change.sizes.items():
        if not name and len(inputs) > 1:
            raise CnnscopeError.of(
                "E403", f"the network has {len(inputs)} inputs", hint=f"write `{next(iter(inputs))}=...`"
            )
        key = name or next(iter(inputs))
        if key not in inputs:
            hint = did_you_mean(key, list(inputs)) or f"there are {', '.join(inputs)}"
            raise CnnscopeError.of("E403", f"no input is called `{key}`", hint=hint)
        value = inputs[key]
        shape = fitted(value.features, tuple(size), 0 if value.kind == "map" else None, name)
        inputs[key] = replace(value, shape=(*value.shape[:1], *shape) if value.batch_axis == 0 else shape)
    return replace(draft, inputs=inputs)
