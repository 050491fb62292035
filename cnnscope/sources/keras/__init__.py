"""Keras models as sources, from Keras 2 and 3: ``model.keras`` archives, whole-model ``.h5`` files, the text of
``model.to_json()`` and the ``model.json`` of TensorFlow.js.

Keras itself is not needed, and nothing in a file is run. HDF5 needs the package `h5py` (the extra ``keras``). The
architecture is read alone; weights are read when a network is run (`cnnscope.sources.keras.weights`).
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError, explained
from cnnscope.ir import Graph
from cnnscope.sources import files
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.keras import hdf5
from cnnscope.sources.keras.build import build_with_origins
from cnnscope.sources.keras.config import Network, read_network
from cnnscope.sources.keras.stored import Origin
from cnnscope.sources.misfits import misfits
from cnnscope.sources.resolve import Extras, Loaded

if TYPE_CHECKING:
    from torch import Tensor


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """Returns the model in a file of Keras, with its own weights if the file has them."""
    if settings:
        raise CnnscopeError.of("E406", f"`{source}` is a file that has no parameters to set")
    path = Path(source)
    network, graph, origins = _read(path, inputs)

    def weights(file: Path) -> dict[str, Tensor]:
        from cnnscope.sources.keras.weights import read_weights

        return read_weights(file, network, graph, origins)

    def own_format(file: Path) -> dict[str, Tensor] | None:
        return weights(file) if hdf5.has_weights(file) else None

    own = (lambda: weights(path)) if hdf5.has_weights(path) else None
    remarks = misfits(graph, lambda: _read(path, ())[1]) if inputs else ()
    return Loaded(graph, source, extras=Extras(own=own, own_format=own_format), remarks=remarks)


MAX_CONFIG_BYTES = 64 * 2**20
"""The config of the largest model in `keras.applications` has 2 MiB."""
CONFIG = "config.json"


def read_graph(path: str | Path, *, input: Sequence[InputSize] = ()) -> Graph:
    """Returns the graph of a Keras model.

    ``input`` has sizes that the file leaves open, or other sizes, with the axes in the author's order. The graph has
    channels first; its ``layout`` is that of the author. Statistics of batch normalisation, which Keras calls
    non-trainable parameters, are buffers.

    Raises `CnnscopeError`: E403 for sizes, E414 for HDF5 without h5py, E440 to E442 for files, E443 for configs, E444
    for code, E445 for unknown layers, E3xx for shapes.
    """
    return _read(Path(path), input)[1]


def _read(path: Path, input: Sequence[InputSize]) -> tuple[Network, Graph, dict[str, Origin]]:
    start = files.head(path)
    text = _archived(path) if start.startswith(b"PK") else _written(path)
    if start.startswith(hdf5.MAGIC):
        text = _in_hdf5(path)
    with files.reading(path):
        try:
            network = read_network(_topology(_parsed(text, path), path))
            return network, *build_with_origins(network, input)
        except RecursionError:
            raise files.too_large(path, "its config is nested too deeply") from None


@explained
def _in_hdf5(path: Path) -> bytes:
    """Returns the config of a model that was saved whole, as Keras 2 does by default."""
    with hdf5.opened(path, 0) as file:
        config = file.attrs.get("model_config")
    if config is None:
        raise CnnscopeError.of(
            "E440", f"`{path.name}` holds weights without their model",
            hint="name the model (`model.keras`, or the text of `model.to_json()`) and this file with `--weights`",
        )  # fmt: skip
    if not isinstance(config, (str, bytes)):
        raise files.damaged(path, "its attribute `model_config` is no text")
    return _bounded(config if isinstance(config, bytes) else config.encode("utf-8", "surrogateescape"), path)


def _topology(document: object, path: Path) -> object:
    """Returns the model in a ``model.json`` of TensorFlow.js, or the document as it is."""
    if not isinstance(document, dict) or "modelTopology" not in document:
        return document
    if document.get("format") == "graph-model":
        raise CnnscopeError.of(
            "E440", f"`{path.name}` is a TensorFlow.js graph, not a Keras model",
            hint="convert the Keras model itself, or export it to ONNX",
        )  # fmt: skip
    topology = document["modelTopology"]
    return topology.get("model_config", topology) if isinstance(topology, dict) else topology


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
