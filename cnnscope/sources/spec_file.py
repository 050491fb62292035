"""Specs as sources: a file, standard input, or a model of the zoo."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError
from cnnscope.ops.base import shape_text
from cnnscope.sources import zoo
from cnnscope.sources.inputs import InputSize, only_sizes
from cnnscope.sources.resolve import Extras, Loaded
from cnnscope.spec.text import MAX_BYTES

if TYPE_CHECKING:
    from cnnscope.ir import Graph
    from cnnscope.spec import Spec

STDIN = "<stdin>"
"""The name of standard input in diagnostics."""


@cache
def standard_input() -> bytes:
    """Returns standard input, at most one byte more than a spec may have. It is read once, because ``-`` may be named
    twice.
    """
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """Returns the network that a spec describes."""
    spec = read(source, inputs, settings)
    extras = Extras(weights=spec.weights, data=spec.data, labels=spec.labels, preprocess=spec.preprocess)
    notes = _misfits(spec.graph, source, settings) if inputs else ()
    return Loaded(spec.graph, source, spec.reference, spec.about, notes=notes, extras=extras)


def _misfits(graph: Graph, source: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns a note on the weights whose shape follows from the size of the input, if any do."""
    try:
        declared = read(source, settings=settings).graph
    except CnnscopeError:  # the spec fits at the given size only, so nothing was trained at its own
        return ()
    if any(declared.inputs[name].shape[1] != value.shape[1] for name, value in graph.inputs.items()):
        return ()  # the spec has a parameter for that, so it is meant
    other = {key: param.shape for key, param in declared.params.items()}
    keys = [
        key for key, param in graph.params.items() if not param.buffer and other.get(key, param.shape) != param.shape
    ]
    if not keys:
        return ()
    layers = dict.fromkeys(next(n.layer for n in graph.nodes if key in n.params.values()) for key in keys)
    named = ", ".join(f"`{layer}`" for layer in list(layers)[:5]) + (", ..." if len(layers) > 5 else "")
    first = keys[0]
    shapes = f"`{first}` is {shape_text(graph.params[first].shape)}, at the declared size {shape_text(other[first])}"
    return (f"weights trained at the declared size do not fit {named}: {shapes}",)


def read(source: str, inputs: tuple[InputSize, ...] = (), settings: Mapping[str, Any] | None = None) -> Spec:
    """Returns the spec itself: a model of the zoo, a file, or standard input (``-``)."""
    from cnnscope import spec

    text = standard_input() if source == "-" else None
    path = zoo.path(source) if source in zoo.names() else Path(STDIN if source == "-" else source)
    return spec.load(path, text=text, set=settings, input=_shapes(inputs))


def _shapes(inputs: tuple[InputSize, ...]) -> tuple[int, ...] | dict[str, tuple[int, ...]] | None:
    only_sizes(inputs, "a spec")
    for size in inputs:
        if size.dtype not in (None, "float32"):
            raise CnnscopeError.of("E403", f"the inputs of a spec are float32, not {size.dtype}")
    if len(inputs) == 1 and inputs[0].name is None:
        return inputs[0].shape
    return {size.name: size.shape for size in inputs if size.name is not None} or None
