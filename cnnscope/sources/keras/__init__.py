"""Keras models as sources: ``model.keras`` archives and the text of ``model.to_json()``, from Keras 2 and 3.

Keras itself is not needed. Only the architecture is read: the archive's weights are never opened, and nothing in the
file is run.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.sources import files
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.keras.build import build
from cnnscope.sources.keras.config import read_network
from cnnscope.sources.resolve import Loaded


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """Returns the model in a ``.keras`` archive or the text of ``to_json()``."""
    if settings:
        raise CnnscopeError.of("E406", f"`{source}` is a file that has no parameters to set")
    return Loaded(read_graph(source, input=inputs), source)


MAX_CONFIG_BYTES = 64 * 2**20
"""The config of the largest model in `keras.applications` has 2 MiB."""
CONFIG = "config.json"


def read_graph(path: str | Path, *, input: Sequence[InputSize] = ()) -> Graph:
    """Returns the graph of a Keras model.

    ``input`` has sizes that the file leaves open, or other sizes, with the axes in the author's order. The graph has
    channels first; its ``layout`` is that of the author. Statistics of batch normalisation, which Keras calls
    non-trainable parameters, are buffers.

    Raises `CnnscopeError`: E403 for sizes, E440 to E442 for files, E443 for configs, E444 for code, E445 for unknown
    layers, E3xx for shapes.
    """
    path = Path(path)
    text = _archived(path) if files.head(path).startswith(b"PK") else _written(path)
    with files.reading(path):
        try:
            return build(read_network(_parsed(text, path)), input)
        except RecursionError:
            raise files.too_large(path, "its config is nested too deeply") from None


def _archived(path: Path) -> bytes:
    """Returns the ``config.json`` of a ``.keras`` archive, decompressed up to the limit."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(CONFIG) as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
    except KeyError:
        raise CnnscopeError.of(
            "E440", f"`{path.name}` is an archive without `{CONFIG}`: not a Keras model",
            hint="write one with `model.save('model.keras')`",
        ) from None  # fmt: skip
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise files.damaged(path, str(error).lower()) from None
    except (NotImplementedError, RuntimeError) as error:  # encrypted, or compressed by another method
        raise files.damaged(path, str(error).lower()) from None
    return _bounded(text, path)


def _written(path: Path) -> bytes:
    with path.open("rb") as file:
        return _bounded(file.read(MAX_CONFIG_BYTES + 1), path)


def _bounded(text: bytes, path: Path) -> bytes:
    if len(text) > MAX_CONFIG_BYTES:
        raise files.too_large(path, f"its config has more than {MAX_CONFIG_BYTES // 2**20} MiB")
    return text


def _parsed(text: bytes, path: Path) -> object:
    if files.known_impostor(text):
        raise files.not_a("a Keras model", path, text)
    try:
        document: object = json.loads(text)
    except UnicodeDecodeError:
        raise files.not_a("a Keras model", path, text) from None
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith((b"{", b"[")):
            raise files.not_a("a Keras model", path, text) from None
        raise files.damaged(path, f"line {error.lineno}, column {error.colno}: {error.msg.lower()}") from None
    except ValueError as error:  # a number of thousands of digits
        raise files.damaged(path, str(error).lower()) from None
    return document
