"""Specs as sources: a file, standard input, or a model of the zoo."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.sources import zoo
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.resolve import Loaded
from cnnscope.spec.marks import MAX_BYTES

STDIN = "<stdin>"
"""What standard input is called in diagnostics."""


@cache
def standard_input() -> bytes:
    """What is on standard input, up to a byte more than a spec may have. Read once: ``-`` may be named twice."""
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """The network a spec file describes; ``-`` is standard input."""
    if source == "-":
        return _load(Path(STDIN), source, inputs, settings, standard_input())
    return _load(Path(source), source, inputs, settings)


def load_from_zoo(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """The model of the zoo with that name."""
    return _load(zoo.path(source), source, inputs, settings)


def _load(
    path: Path, source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any], text: bytes | None = None
) -> Loaded:
    from cnnscope import spec

    loaded = spec.load(path, text=text, set=settings, input=_shapes(inputs))
    return Loaded(loaded.graph, source, loaded.reference, loaded.about)


def _shapes(inputs: tuple[InputSize, ...]) -> tuple[int, ...] | dict[str, tuple[int, ...]] | None:
    for size in inputs:
        if size.dtype not in (None, "float32"):
            raise CnnscopeError.of("E403", f"the inputs of a spec are float32, not {size.dtype}")
    if len(inputs) == 1 and inputs[0].name is None:
        return inputs[0].shape
    return {size.name: size.shape for size in inputs if size.name is not None} or None
