"""ONNX files as sources: the graph of a model, and its weights. Needs the package `onnx` (the extra of that
name).

To read the graph, only the shapes and dtypes of weights are looked at. Weights in other files are not read, and nothing
is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError, explained
from cnnscope.ir import Graph
from cnnscope.sources import files
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.resolve import Extras, Loaded

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """Returns the model in an ``.onnx`` file."""
    if settings:
        raise CnnscopeError.of("E406", f"`{source}` is a file that has no parameters to set")
    graph = read_graph(source, input=inputs)
    return Loaded(graph, source, extras=Extras(own=lambda: read_weights(Path(source), graph)))


MAX_NODES = 200_000
"""More nodes than any model has once its functions are inlined. Functions that call each other twice could
make 2^depth.
"""


@explained
def read_graph(path: str | Path, *, input: Sequence[InputSize] = ()) -> Graph:
    """Returns the graph of an ONNX model at batch 1, named after its file, since exporters give every graph
    the same name.

    ``input`` has sizes that the file leaves open, or other sizes, with the axes in the file's order. Stored real
    numbers that nodes compute with count as parameters, and statistics of batch normalisation as buffers: ONNX does not
    say what was trained. An operator without a rule becomes an `Unsupported` row.

    Raises `CnnscopeError`: E403 for sizes, E440 to E442 for files, E414 without `onnx`, E447 for graphs, E3xx for
    shapes.
    """
    path = Path(path)
    start = files.head(path)
    if files.known_impostor(start):
        raise files.not_a("an ONNX model", path, start)
    import onnx

    from cnnscope.sources.onnx.build import build

    protobuf = import_module("google.protobuf.message")  # without type stubs
    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except protobuf.DecodeError:
        raise files.damaged(path, "it is no protobuf message, or breaks off") from None
    if not model.HasField("graph") or not model.graph.node:
        raise files.not_a("an ONNX model", path, start)
    with files.reading(path):
        try:
            return replace(build(_inlined(model, path), input), name=path.stem)
        except RecursionError:
            raise files.too_large(path, "its graphs are nested too deeply") from None


def _inlined(model: ModelProto, path: Path) -> ModelProto:
    """Returns the model with its local functions inlined."""
    if not model.functions:
        return model
    import onnx.inliner

    functions = {(f.domain, f.name): [(n.domain, n.op_type) for n in f.node] for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(name: tuple[str, str], above: tuple[tuple[str, str], ...] = ()) -> int:
        if name not in functions:
            return 1
        if name in above:
            raise files.damaged(path, f"the function `{name[1]}` calls itself")
        if name not in sizes:
            sizes[name] = min(sum(size(inner, (*above, name)) for inner in functions[name]), MAX_NODES + 1)
        return sizes[name]

    if sum(size((node.domain, node.op_type)) for node in model.graph.node) > MAX_NODES:
        raise files.too_large(path, f"with its functions inlined it has more than {MAX_NODES} nodes")
    return onnx.inliner.inline_local_functions(model)


def read_weights(path: Path, graph: Graph) -> dict[str, Tensor]:
    """Returns every weight and buffer of ``graph``, which `read_graph` read from the same file.

    ONNX stores a matrix as (in, out) where torch's linear layers have (out, in). Raises E448 if the file lacks a weight
    or has it in another shape, or if its weights are in another file that is missing.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    try:
        model = onnx.load(str(path))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from None
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    turned = set(_turned(model))
    weights = {}
    for key, param in graph.params.items():
        if key.endswith("num_batches_tracked") and key not in stored:
            weights[key] = torch.zeros(param.shape, dtype=torch.int64)
            continue
        if key not in stored:
            raise _unreadable(path, f"it has no stored tensor `{key}`")
        array = numpy_helper.to_array(stored[key])
        if key in turned and array.ndim == 2:
            array = array.T
        if array.size != param.numel or (array.ndim == len(param.shape) and array.shape != param.shape):
            raise _unreadable(path, f"`{key}` has shape {array.shape}, not {param.shape}")
        weights[key] = torch.from_numpy(array.copy()).reshape(param.shape)
    return weights


def _turned(model: ModelProto) -> list[str]:
    """Returns the names of the matrices that are multiplied from the right as they are stored."""
    names = []
    for node in model.graph.node:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "MatMul" or (node.op_type == "Gemm" and not attributes.get("transB", 0)):
            names.append(node.input[1])
    return names


def _unreadable(path: Path, reason: str) -> CnnscopeError:
    return CnnscopeError.of("E448", f"cannot read the weights in `{path}`: {reason}", hint="name a file: `--weights`")
