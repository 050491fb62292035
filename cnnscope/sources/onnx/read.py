"""ONNX files: the graph, the shapes and sizes of its weights. Needs the package `onnx` (the extra of that name).

Weights in other files are not read, and nothing is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import explained
from cnnscope.ir import Graph
from cnnscope.sources import files
from cnnscope.sources.inputs import InputSize

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_NODES = 200_000
"""More than any model has once its functions are inlined; functions that call each other twice could make 2^depth."""


@explained
def load(path: str | Path, *, input: Sequence[InputSize] = ()) -> Graph:
    """The graph of an ONNX model at batch 1, called like its file: exporters call every graph the same.

    ``input`` gives sizes the file leaves open, or others, in the file's order of axes. Stored real numbers that nodes
    compute with count as parameters, statistics of batch normalisation as buffers: ONNX does not say what was trained.
    What no rule covers is an `Unsupported` row.

    Raises `CnnscopeError`: E403 sizes, E440 to E442 files, E414 without `onnx`, E447 graphs, E3xx shapes.
    """
    path = Path(path)
    start = files.head(path)
    if files.known_impostor(start):
        raise files.not_a("an ONNX model", path, start)
    import onnx

    from cnnscope.sources.onnx.build import build

    protobuf = import_module("google.protobuf.message")  # has no types of its own
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
    """The model with its local functions in place of the calls of them."""
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
