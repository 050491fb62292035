"""Keras model files as sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.keras import read as keras
from cnnscope.sources.resolve import Loaded


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """The model in a ``.keras`` archive or the text of ``to_json()``."""
    if settings:
        raise CnnscopeError.of("E406", f"`{source}` is a file that has no parameters to set")
    return Loaded(keras.load(source, input=inputs), source)
