"""ONNX model files as sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx import read as onnx
from cnnscope.sources.onnx.weights import read_weights
from cnnscope.sources.resolve import Extras, Loaded


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """The model in an ``.onnx`` file."""
    if settings:
        raise CnnscopeError.of("E406", f"`{source}` is a file that has no parameters to set")
    graph = onnx.load(source, input=inputs)
    return Loaded(graph, source, extras=Extras(own=lambda: read_weights(Path(source), graph)))
