"""The weights an ONNX file holds, under the graph's keys and in torch's layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor


def read_weights(path: Path, graph: Graph) -> dict[str, Tensor]:
    """Every weight and buffer of ``graph``, which `cnnscope.sources.onnx.read.load` made of the same file.

    ONNX multiplies by a matrix of (in, out) where torch's linear layers keep (out, in). E448 where the file lacks a
    weight or has it in another shape, or where its weights lie in a file that is not there.
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
    """Names of the matrices that are multiplied from the right as they are stored."""
    names = []
    for node in model.graph.node:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "MatMul" or (node.op_type == "Gemm" and not attributes.get("transB", 0)):
            names.append(node.input[1])
    return names


def _unreadable(path: Path, reason: str) -> CnnscopeError:
    return CnnscopeError.of("E448", f"cannot read the weights in `{path}`: {reason}", hint="name a file: `--weights`")
