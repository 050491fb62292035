"""Finds the head of a network, the layer that gives the class scores, and replaces it."""

from __future__ import annotations

from dataclasses import replace

from cnnscope.edits.refit import refit
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node
from cnnscope.ops.conv import Conv
from cnnscope.ops.product import ComputedConv, ComputedLinear, Linear


def find_head(graph: Graph, name: str | None = None) -> Node:
    """The last layer with weights before the output, if it is a linear layer or a convolution; or the layer ``name``.

    E493 if there is no single one, E205 for an unknown name.
    """
    if name is not None:
        return _named_head(graph, name)
    outputs = [output for output in graph.outputs if output in graph.inputs or not graph.node(output).training_only]
    hint = "name the layer that gives the classes: `--head NAME`"
    if len(outputs) != 1:
        listed = ", ".join(f"`{_layer(graph, output)}`" for output in outputs[:4]) + ", ..." * (len(outputs) > 4)
        message = f"the network has {len(outputs)} outputs ({listed}), so no single head"
        raise CnnscopeError.of("E493", message, hint=hint)
    found = _behind(graph, outputs[0])
    if isinstance(found, str):
        raise CnnscopeError.of("E493", f"the network has no head to replace: {found}", hint=hint)
    return found


def _behind(graph: Graph, name: str) -> Node | str:
    """The classifier whose scores lead to the value ``name``, or why there is none."""
    while name not in graph.inputs:
        node = graph.node(name)
        if any(not graph.params[key].buffer for key in node.params.values()):
            if _is_classifier(graph, node):
                return node
            return f"its last layer with weights, `{node.layer}`, is a `{node.op.tag}`"
        sources = dict.fromkeys(node.inputs)
        if len(sources) != 1:
            return f"`{node.layer}` joins {len(sources)} ways" if sources else f"`{node.layer}` reads no image"
        name = next(iter(sources))
    return "it has no weights between image and output"


def _is_classifier(graph: Graph, node: Node) -> bool:
    """Whether a node is a linear layer or plain convolution that shares its weights with no other."""
    computed = isinstance(node.op, (ComputedConv, ComputedLinear))
    alone = all(other is node or not set(other.params.values()) & set(node.params.values()) for other in graph.nodes)
    return isinstance(node.op, (Linear, Conv)) and not computed and alone


def _named_head(graph: Graph, name: str) -> Node:
    from cnnscope.edits.remove import members

    nodes = [graph.node(member) for member in members(graph, name)]
    heads = [node for node in nodes if _is_classifier(graph, node)]
    if len(heads) != 1:
        what = f"holds {len(heads)} linear layers and convolutions" if heads else "is no linear layer or convolution"
        raise CnnscopeError.of("E493", f"`{name}` cannot be the head: it {what} with weights of its own")
    after = _weighted_after(graph, heads[0])
    if after is not None:
        raise CnnscopeError.of("E493", f"`{name}` cannot be the head: `{after.layer}` comes after it",
                               hint="name the layer that gives the classes")  # fmt: skip
    return heads[0]


def _weighted_after(graph: Graph, head: Node) -> Node | None:
    """The first linear layer or convolution that reads the output of ``head``, directly or through other nodes."""
    reached = {head.name}
    for node in graph.nodes:
        if reached.intersection(node.inputs):
            reached.add(node.name)
            if isinstance(node.op, (Linear, Conv)):
                return node
    return None


def _layer(graph: Graph, name: str) -> str:
    return name if name in graph.inputs else graph.node(name).layer


def with_head(graph: Graph, head: Node, classes: int) -> Graph:
    """The network with ``classes`` outputs of ``head``; auxiliary heads for training get as many.

    Shapes after the head are inferred again: E491 if a layer does not fit.
    """
    heads = {head.name}
    for output in graph.outputs:
        if output not in graph.inputs and graph.node(output).training_only:
            found = _behind(graph, output)
            if isinstance(found, Node) and _outputs(found) == _outputs(head):
                heads.add(found.name)
    nodes = [_resized(node, classes) if node.name in heads else node for node in graph.nodes]
    changed = refit(graph, nodes, graph.outputs)
    own = set(changed.node(head.name).params.values())
    params = {key: replace(p, trainable=True) if key in own else p for key, p in changed.params.items()}
    return replace(changed, params=params)


def _outputs(node: Node) -> int:
    assert isinstance(node.op, (Linear, Conv))
    return node.op.out


def _resized(node: Node, classes: int) -> Node:
    assert isinstance(node.op, (Linear, Conv))
    return replace(node, op=replace(node.op, out=classes))
