"""Further changes with which a refused edit fits, found by trying and verified by inference.

What two ways to a join disagree about was changed on one of them, so the same change is tried on the layers of the
other. Only what fits is returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cnnscope.edits.apply import Edited, apply
from cnnscope.edits.change import Change, SetArgs
from cnnscope.edits.refit import MisfitError
from cnnscope.edits.select import selected
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node
from cnnscope.ops.traced import Traced

MOST = 3
_SHAPING = ("stride", "kernel", "pad", "dilation")


def remedies(graph: Graph, changes: Sequence[Change], misfit: MisfitError, most: int = MOST) -> tuple[Edited, ...]:
    """Edits with one change more than ``changes`` that fit, the nearest to the misfit first."""
    found: list[Edited] = []
    for more in _candidates(graph, changes, misfit):
        try:
            found.append(apply(graph, [*changes, more]))
        except CnnscopeError:
            continue  # it does not fit either, and is no remedy
        if len(found) == most:
            break
    return tuple(found)


def _candidates(graph: Graph, changes: Sequence[Change], misfit: MisfitError) -> Iterator[Change]:
    if misfit.node not in graph._nodes_by_name:
        return
    sets = [change for change in changes if isinstance(change, SetArgs)]
    touched = {node.name for change in sets for node in selected(graph, change.layers)}
    ways = [_before(graph, name) for name in graph.node(misfit.node).inputs]
    shared = set.intersection(*ways) if len(ways) > 1 else set()
    others = [way - shared for way in ways if not touched & (way - shared)]
    near = [node for node in reversed(graph.nodes) if any(node.name in way for way in others)]
    for node in near:
        for change in sets:
            args = {name: value for name, value in change.args.items() if name in _SHAPING and _takes(node, name)}
            if args:
                yield SetArgs(node.name, args)


def _takes(node: Node, name: str) -> bool:
    return not isinstance(node.op, Traced) and name in type(node.op).parameters()  # type: ignore[attr-defined]  # an op


def _before(graph: Graph, name: str) -> set[str]:
    """The nodes that a value is computed from, its own included."""
    found, waiting = set[str](), [name]
    while waiting:
        now = waiting.pop()
        if now not in found and now in graph._nodes_by_name:
            found.add(now)
            waiting += graph.node(now).inputs
    return found
