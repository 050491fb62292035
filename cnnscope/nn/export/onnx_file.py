"""A graph as an ONNX file, exported by torch. Every layer and every weight has its name from the graph."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, count
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
    divided = next((n for n, m in zip(graph.nodes, network.calls, strict=True) if _is_divided(m)), None)
    if divided is not None:
        what = f"`{divided.name}` is `{divided.op.tag}` with a `divisor`, which torch leaves out of ONNX files"
        raise CnnscopeError.of("E427", what, hint="`--to pytorch` writes it")
    if weights is not None:
        network.load_state_dict(dict(weights), strict=True)
    model = _model(graph, network)
    write_bytes(path, model.SerializeToString())


def _is_divided(module: object) -> bool:
    """Whether a module is a pool that divides by a number of its own."""
    return getattr(module, "divisor_override", None) is not None


def _model(graph: Graph, network: nn.Module) -> Any:
    import onnx_ir
    from onnx_ir.passes.common import NameFixPass
    from onnxscript import optimizer

    program = _exported(graph, network)
    NameFixPass()(program.model)  # torch gives what it computes on the way names that outputs and weights have too
    # only what computes shapes is folded: the optimizer's own rules merge batch norm into convolutions
    optimizer.fold_constants(program.model, onnx_shape_inference=False, should_fold=_without(graph.params))
    optimizer.remove_unused_nodes(program.model)
    model = onnx_ir.to_proto(program.model)
    _drop_zero_biases(model, graph.params)
    _rename(model.graph.node, {node.name for node in graph.nodes})
    whole = model.graph
    for part in (whole, *whole.value_info, *whole.input, *whole.output, *whole.initializer):
        del part.metadata_props[:]
    return model


def _exported(graph: Graph, network: nn.Module) -> Any:
    """Torch's program of a network. Its weights have their keys as names; an input or an output with the name of a
    weight has another one, because a name in ONNX is that of one tensor.
    """
    names: list[str] = []
    for name in (*graph.inputs, *_outputs(graph)):
        names.append(_free(name, {*graph.params, *names}))
    try:
        return _program(graph, network, names)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = next(iter(str(cause).splitlines()), type(cause).__name__)
        raise CnnscopeError.of("E427", f"torch cannot export {_culprit(graph)} to ONNX: {reason}") from error


def _program(graph: Graph, network: nn.Module, names: Sequence[str]) -> Any:
    import torch

    inputs = tuple(torch.zeros(value.shape, dtype=getattr(torch, value.dtype)) for value in graph.inputs.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            network, inputs, dynamo=True, optimize=False, verbose=False,
            input_names=names[: len(inputs)], output_names=names[len(inputs) :],
        )  # fmt: skip


def _outputs(graph: Graph) -> list[str]:
    return [name for name in graph.outputs if not graph.node(name).training_only]


def _culprit(graph: Graph) -> str:
    """The first layer that torch cannot export on its own either, else the whole network, as messages name them."""
    tried = set()
    for node in graph.nodes:
        x = {name: graph.value(name) for name in node.inputs}
        if (alike := (node.op, tuple(x.values()))) not in tried:
            tried.add(alike)
            alone = Graph(node.name, x, (node,), (node.name,), {key: graph.params[key] for key in node.params.values()})
            try:
                _program(alone, build(alone).eval(), [*x, node.name])
            except Exception:  # noqa: BLE001  # whatever torch says of it, the network's own error is told
                return f"`{node.name}` (`{node.op.tag}`) of `{graph.name}`"
    return f"`{graph.name}`"


def _free(name: str, taken: Collection[str]) -> str:
    """The name, with the first number that makes it a new one if it is taken."""
    return next(new for new in chain((name,), (f"{name}_{i}" for i in count(2))) if new not in taken)


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


def _rename(nodes: Iterable[Any], layers: Collection[str]) -> None:
    """Names nodes after their layers, and removes paths of this machine from their metadata.

    Further nodes of a layer, and those of none, are numbered past the names of all layers.
    """
    named: set[str] = set()
    for node in nodes:
        scopes = next((p.value for p in node.metadata_props if p.key == _SCOPES), "[]")
        layer = next((scope for scope in reversed(ast.literal_eval(scopes)[:-1]) if scope), "")
        is_first = layer and layer not in named
        node.name = layer if is_first else _free(layer or node.op_type, {*named, *layers})
        named.add(node.name)
        node.doc_string = ""
        del node.metadata_props[:]
