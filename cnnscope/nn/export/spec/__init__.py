"""A graph as a spec file with blocks for repeats, branches for residuals and joins, and defaults of convolutions.

The text is loaded again to check it. If the result is not the same network, or the network does not consist of nested
branches, the flat form (one line a layer) is written instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cnnscope import spec
from cnnscope.analysis.cost import known, node_costs
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node
from cnnscope.nn.export import check_operands, described, prepared, unwritable
from cnnscope.nn.export.spec.blocks import Blocks
from cnnscope.nn.export.spec.entries import Defaults, text
from cnnscope.ops.base import REGISTRY
from cnnscope.spec import Spec
from cnnscope.spec.emit import expand, inputs, yaml


def spec_source(graph: Graph) -> str:
    """Returns the spec as YAML text, without weights that nothing uses.

    Raises `CnnscopeError` E427 for ops that are no layers of the spec language.
    """
    graph, _ = prepared(graph)
    graph = replace(graph, nodes=tuple(replace(node, in_place=False) for node in graph.nodes))
    strange = [node for node in graph.nodes if REGISTRY.get(node.op.tag) is not type(node.op)]
    if strange:
        why = f"{len(strange):,} of its ops are no layers of the language"
        raise unwritable(graph, "a spec", why, described(strange))
    check_operands(graph, "a spec")
    if graph.inputs.keys() & set(graph.outputs):
        raise unwritable(graph, "a spec", "one of its outputs is an input, and a spec has layers as outputs")
    why = ""
    for attempt in (_folded, _flat):
        written = attempt(graph)
        why = "" if written is None else _difference(graph, written)
        if written is not None and not why:
            return written
    partial = [node for node in graph.nodes if _roles(graph, node) != node.params.keys()]
    raise unwritable(graph, "a spec", why, described(partial))


def _roles(graph: Graph, node: Node) -> set[str]:
    """The weights and buffers that a layer of this type has in a spec."""
    x = graph.values(node)
    return {*node.op.weights(x), *node.op.buffers(x)}


def _folded(graph: Graph) -> str | None:
    """The form with blocks and branches; None if the network has several ends or shared weights, or is not nested."""
    keys = [key for node in graph.nodes for key in node.params.values()]
    whole = len(graph.inputs) == 1 == len(graph.outputs) and len(keys) == len(set(keys))
    weights = [p for p in graph.params.values() if not p.buffer]
    if not whole or any(not p.trainable for p in weights) or any(node.training_only for node in graph.nodes):
        return None
    blocks = Blocks(graph, Defaults.of(graph))
    body = blocks.whole()
    if body is None:
        return None
    lines = ["cnnscope: 1", f"name: {yaml(graph.name)}", *inputs(graph)]
    if blocks.defaults.conv:
        lines.append(f"defaults: {yaml({'conv': dict(blocks.defaults.conv)})}")
    lines += _blocks(blocks)
    return "\n".join([*lines, "layers:", *text(body, 2)]) + "\n"


def _blocks(blocks: Blocks) -> Iterator[str]:
    if blocks.blocks:
        yield "blocks:"
    for block in blocks.blocks:
        yield f"  {block.name}:"
        if block.params:
            yield f"    params: {yaml(block.params)}"
        yield "    layers:"
        yield from text(block.body, 6)


def _flat(graph: Graph) -> str:
    names = _names(graph)
    nodes = tuple(
        replace(
            node, name=names[node.name], layer=names.get(node.layer, names[node.name]),
            inputs=tuple(names.get(name, name) for name in node.inputs),
        )
        for node in graph.nodes
    )  # fmt: skip
    outputs = tuple(names[name] for name in graph.outputs)
    renamed = replace(graph, nodes=nodes, outputs=outputs)
    last = [node.name for node in renamed.nodes if not node.training_only][-1]
    return expand(Spec(graph.name, renamed, {} if outputs == (last,) else _heads(renamed)))


def _heads(graph: Graph) -> Mapping[str, str]:
    """Outputs by name: the scope of each head, if every head is in a scope of its own."""
    scopes = [name.partition(".")[0] for name in graph.outputs]
    layers = {node.layer for node in graph.nodes}
    return {
        scope if scopes.count(scope) == 1 and scope not in layers else f"output{i}": name
        for i, (scope, name) in enumerate(zip(scopes, graph.outputs, strict=True), 1)
    }


def _names(graph: Graph) -> dict[str, str]:
    """Names that a spec can have, with an underscore before the number of a repeated call."""
    return {name: name.replace("#", "_") for node in graph.nodes for name in (node.name, node.layer)}


def _difference(graph: Graph, written: str) -> str:
    """Why the text does not load to a network of the same weights, work and outputs; "" if it does."""
    try:
        loaded = spec.load("exported.yaml", text=written).graph
    except CnnscopeError as error:
        return error.diagnostics[0].message
    return (
        "" if _facts(loaded) == _facts(graph) else "its layers have other weights or work than the language gives them"
    )


def _facts(graph: Graph) -> tuple[object, ...]:
    total = known(node_costs(graph).values())
    shapes: Sequence[object] = sorted(graph.value(name).features for name in graph.outputs)
    weights = sorted((param.shape, param.buffer, param.trainable) for param in graph.params.values())
    return total.macs, total.flops, shapes, weights
