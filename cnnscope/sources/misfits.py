"""Weights whose shape follows from the size of the input: those that were trained at another size do not fit."""

from __future__ import annotations

from collections.abc import Callable

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.ops.base import shape_text


def misfits(graph: Graph, declared: Callable[[], Graph]) -> tuple[str, ...]:
    """Returns a remark on the weights of ``graph`` that have another shape at the ``declared`` size, if any have."""
    try:
        other = declared()
    except CnnscopeError:  # it fits at the given size only, or declares none, so nothing was trained at its own
        return ()
    if any(name not in other.inputs or other.inputs[name].shape[1] != v.shape[1] for name, v in graph.inputs.items()):
        return ()  # other channels have a parameter, so they are meant
    known = {key: param.shape for key, param in other.params.items()}
    keys = [
        key for key, param in graph.params.items() if not param.buffer and known.get(key, param.shape) != param.shape
    ]
    if not keys:
        return ()
    layers = dict.fromkeys(next(n.layer for n in graph.nodes if key in n.params.values()) for key in keys)
    named = ", ".join(f"`{layer}`" for layer in list(layers)[:5]) + (", ..." if len(layers) > 5 else "")
    first = keys[0]
    shapes = f"`{first}` is {shape_text(graph.params[first].shape)}, at the declared size {shape_text(known[first])}"
    return (f"weights trained at the declared size do not fit {named}: {shapes}",)
