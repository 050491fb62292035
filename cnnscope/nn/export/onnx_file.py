"""A graph as an ONNX file, exported by torch. Every layer and every weight has its name from the graph."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError, explained
from cnnscope.files import write_bytes
from cnnscope.ir import Graph
from cnnscope.nn.build import build

if TYPE_CHECKING:
    from torch import Tensor, nn

_SCOPES = "pkg.torch.onnx.name_scopes"
_LARGEST = 2**31 - 2**20
"""Most bytes of weights in one protobuf message, with room for the rest of the file."""


@explained
def write_onnx(graph: Graph, path: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write the network in eval mode at batch 1, with ``weights`` (a state dict) or freshly initialised ones.

    Layers stay as they are: batch norm is not folded into convolutions, so the file has the graph's weights. E430
    without the ``onnx`` extra, E427 where the weights are too many for one file or torch cannot export an op.
    """
    size = sum(param.nbytes for param in graph.params.values())
    if size > _LARGEST:
        raise CnnscopeError.of("E427", f"`{graph.name}` has {size:,} bytes of weights; an ONNX file holds 2 GiB")
    network = build(graph).eval()
    if weights is not None:
        network.load_state_dict(dict(weights), strict=True)
    model = _model(graph, network)
    write_bytes(path, model.SerializeToString())


def _model(graph: Graph, network: nn.Module) -> Any:
    import onnx_ir
    import torch
    from onnxscript import optimizer

    inputs = tuple(torch.zeros(value.shape, dtype=getattr(torch, value.dtype)) for value in graph.inputs.values())
    outputs = [name for name in graph.outputs if not graph.node(name).training_only]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                network, inputs, dynamo=True, optimize=False, verbose=False,
                input_names=list(graph.inputs), output_names=outputs,
            )  # fmt: skip
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise CnnscopeError.of("E427", f"torch cannot export `{graph.name}` to ONNX: {reason}") from error
    assert program is not None
    # only what computes shapes is folded: the optimizer's own rules merge batch norm into convolutions
    optimizer.fold_constants(program.model, onnx_shape_inference=False, should_fold=_without(graph.params))
    optimizer.remove_unused_nodes(program.model)
    model = onnx_ir.to_proto(program.model)
    _drop_zero_biases(model, graph.params)
    _rename(model.graph.node)
    whole = model.graph
    for part in (whole, *whole.value_info, *whole.input, *whole.output, *whole.initializer):
        del part.metadata_props[:]
    return model


def _without(params: Collection[str]) -> Any:
    """A rule for folding constants: nodes that compute with weights are not folded."""

    def fold(node: Any) -> bool | None:
        reads = any(value is not None and value.name in params for value in node.inputs)
        return False if reads and node.op_type != "Shape" else None

    return fold


def _drop_zero_biases(model: Any, params: Collection[str]) -> None:
    """Removes the zeros that torch writes as the bias of convolutions without one."""
    from onnx import numpy_helper

    zeros = {t.name for t in model.graph.initializer if t.name not in params and not numpy_helper.to_array(t).any()}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and len(node.input) == 3 and node.input[2] in zeros:
            del node.input[2]
    used = {name for node in model.graph.node for name in node.input} | {out.name for out in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _rename(nodes: Iterable[Any]) -> None:
    """Names nodes after their layers, and removes paths of this machine from their metadata."""
    taken: set[str] = set()
    for node in nodes:
        scopes = next((p.value for p in node.metadata_props if p.key == _SCOPES), "[]")
        layer = next((scope for scope in reversed(ast.literal_eval(scopes)[:-1]) if scope), node.op_type)
        name, count = layer, 2
        while name in taken:
            name, count = f"{layer}_{count}", count + 1
        taken.add(name)
        node.name = name
        node.doc_string = ""
        del node.metadata_props[:]
