"""Which nodes a user means by a name, a pattern or a layer type."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from cnnscope.edits.remove import members
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph, Node
from cnnscope.ops.base import REGISTRY, named


def selected(graph: Graph, pattern: str) -> tuple[Node, ...]:
    """The nodes of the layers that a name or a pattern (``layer4.[12].conv2``, ``layer1.*``) selects; E205 for none."""
    found = tuple(node for node in graph.nodes if pattern in (node.name, node.layer))
    found = found or tuple(node for node in graph.nodes if matches(node, pattern))
    return found or tuple(graph.node(name) for name in members(graph, pattern))


def matches(node: Node, pattern: str) -> bool:
    """Whether a pattern selects a node, by the name of its layer or its own, or a group around it."""
    names = (node.name, node.layer)
    return any(fnmatchcase(name, form) for name in names for form in (pattern, f"{pattern}.*"))


def of_type(graph: Graph, what: str, within: str = "*") -> tuple[Node, ...]:
    """The nodes that ``what`` names, a layer type or a layer, and the pattern ``within`` selects; E205 for none."""
    op = named(what)
    tag = None if op is None else op.tag
    tagged = [node for node in graph.nodes if node.op.tag == tag or what == node.op.tag]
    found = tuple(tagged) or selected_or_type(graph, what)
    inside = tuple(node for node in found if matches(node, within))
    if not inside:
        message = f"no `{what}` is in a layer that `{within}` selects"
        raise CnnscopeError.of("E205", message, hint="`cnnscope summary` lists the layers")
    return inside


def selected_or_type(graph: Graph, what: str) -> tuple[Node, ...]:
    """As `selected`; the error knows that a layer type may have been meant."""
    if what in REGISTRY or named(what) is not None:
        types = dict.fromkeys(node.op.tag for node in graph.nodes)
        raise CnnscopeError.of("E205", f"the network has no `{what}`", hint=f"it has {', '.join(types)}")
    try:
        return selected(graph, what)
    except CnnscopeError as error:
        hint = did_you_mean(what.lower(), list(dict.fromkeys(node.op.tag for node in graph.nodes)))
        (found,) = error.diagnostics
        raise CnnscopeError.of("E205", found.message, hint=hint or found.hint) from None


def rows(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The layers of nodes, each once."""
    return tuple(dict.fromkeys(node.layer for node in nodes))
