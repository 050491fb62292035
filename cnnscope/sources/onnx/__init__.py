"""ONNX files as sources: the graph of a model, and its weights. Needs the package `onnx` (the extra of that
name).

To read the graph, only the shapes and dtypes of weights are looked at: their elements stay in the file, and nothing is
run. Weights in other files are not looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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

    from cnnscope.sources.onnx.build import Built


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """Returns the model in an ``.onnx`` file."""
    if settings:
        raise CnnscopeError.of("E406", f"`{source}` is a file that has no parameters to set")
    read = _read(Path(source), inputs)
    return Loaded(read.graph, source, notes=read.notes, extras=Extras(own=lambda: _own(source, read)))


def _own(source: str, read: Built) -> Mapping[str, Tensor]:
    """Returns the weights of a graph; raises E448 if they cannot be read, as where their file is missing."""
    from cnnscope.sources.onnx.weights import load, unreadable

    try:
        return load(read.views, read.graph.params)
    except CnnscopeError as error:
        raise unreadable(source, error) from None


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
    return _read(Path(path), input).graph


def _read(path: Path, sizes: Sequence[InputSize]) -> Built:
    start = files.head(path)
    if files.known_impostor(start):
        raise files.not_a("an ONNX model", path, start)
    import onnx  # noqa: F401  # so that it is missed before anything else is

    from cnnscope.sources.onnx.build import build_with_weights
    from cnnscope.sources.onnx.opsets import remarks
    from cnnscope.sources.onnx.skim import skim

    model = skim(path)
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise files.not_a("an ONNX model", path, start)
    with files.reading(path):
        try:
            built = build_with_weights(_inlined(model, path), sizes, path)
            graph = replace(built.graph, name=path.stem)
            return replace(built, graph=graph, notes=(*remarks(model), *built.notes))
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
