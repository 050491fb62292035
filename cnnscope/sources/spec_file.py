"""Specs as sources: a file, standard input, or a model of the zoo."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason
from cnnscope.sources import files, zoo
from cnnscope.sources.inputs import InputSize, only_sizes
from cnnscope.sources.misfits import misfits
from cnnscope.sources.resolve import Extras, Loaded
from cnnscope.spec.text import MAX_BYTES, read_file

if TYPE_CHECKING:
    from cnnscope.spec import Spec

STDIN = "<stdin>"
"""The name of standard input in diagnostics."""


@cache
def standard_input() -> bytes:
    """Returns standard input, at most one byte more than a spec may have. It is read once, because ``-`` may be named
    twice. Raises E109 where there is none.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise _unreadable("standard input is closed")
    try:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(f"standard input cannot be read: {os_reason(error)}") from None


def _unreadable(message: str) -> CnnscopeError:
    return CnnscopeError.of("E109", message, hint="pass a spec on: `cnnscope summary - < net.yaml`")


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """Returns the network that a spec describes, or a YAML file of Ultralytics."""
    other = _ultralytics(source)
    if other is not None:
        from cnnscope.sources import ultralytics

        return ultralytics.load(source, other, inputs, settings)
    spec = read(source, inputs, settings)
    extras = Extras(weights=spec.weights, data=spec.data, labels=spec.labels, preprocess=spec.preprocess)
    remarks = misfits(spec.graph, lambda: read(source, settings=settings).graph) if inputs else ()
    return Loaded(spec.graph, source, spec.reference, spec.about, extras=extras, remarks=remarks)


def _ultralytics(source: str) -> Mapping[str, Any] | None:
    """Returns the content of a YAML file that describes a network in the way of Ultralytics; None for a spec."""
    path = Path(source)
    if source in zoo.names() or source == "-" or not path.is_file():
        return None
    text = read_file(path)
    if files.known_impostor(text[:512]):
        raise files.not_a("a spec", path, text[:512])
    if not all(re.search(rb"(?m)^" + key + rb"\s*:", text) for key in (b"backbone", b"head")):
        return None
    from cnnscope.sources.ultralytics import is_network
    from cnnscope.spec.marks import parse

    top = parse(text, source).plain()
    return top if is_network(top) else None


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
