"""Shapes that an ONNX file states, or that ONNX's own shape inference finds; asked only where no rule knows better."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from math import prod

import onnx
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from cnnscope.ir import Shape, Value
from cnnscope.sources.onnx.values import DTYPES, MAX_ELEMENTS


class Shapes:
    """``stated(name)`` is the shape and dtype of a value at the inputs' sizes, None where nothing tells."""

    def __init__(self, model: ModelProto, inputs: Mapping[str, Value], channels_last: Collection[str]) -> None:
        self.model, self.inputs, self.channels_last = model, inputs, channels_last

    def stated(self, name: str) -> tuple[Shape, str] | None:
        return self._written.get(name) or self._inferred.get(name)

    @cached_property
    def _written(self) -> dict[str, tuple[Shape, str]]:
        firsts = (info.type.tensor_type.shape.dim[:1] for info in self.model.graph.input)
        return _known(self.model.graph, {dim.dim_param for dims in firsts for dim in dims if dim.dim_param})

    @cached_property
    def _inferred(self) -> dict[str, tuple[Shape, str]]:
        """By `onnx.shape_inference`, of a copy without weights."""
        try:
            return _known(onnx.shape_inference.infer_shapes(self._lean(), data_prop=True).graph, ())
        except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
            return {}

    def _lean(self) -> ModelProto:
        """The model at these input sizes; a large constant is an input of its shape."""
        source = self.model.graph
        lean = ModelProto(ir_version=self.model.ir_version, opset_import=self.model.opset_import)
        lean.graph.name = source.name or "graph"
        lean.graph.node.extend(source.node)
        lean.graph.output.extend(source.output)
        for name, value in self.inputs.items():
            n, c, *size = value.shape if len(value.shape) > 1 else (*value.shape, 1)
            shape = (n, *size, c) if name in self.channels_last else value.shape
            number = next(key for key, word in DTYPES.items() if word == value.dtype)
            lean.graph.input.append(onnx.helper.make_tensor_value_info(name, number, shape))
        for tensor in source.initializer:
            if prod(tensor.dims) > min(MAX_ELEMENTS, 1024) or tensor.data_location == TensorProto.EXTERNAL:
                info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                lean.graph.input.append(info)
            else:
                lean.graph.initializer.append(tensor)
        return lean


def _known(graph: GraphProto, batch: Collection[str]) -> dict[str, tuple[Shape, str]]:
    infos = ((info.name, _read(info, batch)) for info in (*graph.value_info, *graph.output))
    return {name: known for name, known in infos if known is not None}


def _read(info: ValueInfoProto, batch: Collection[str]) -> tuple[Shape, str] | None:
    """The shape at batch 1 (``batch`` has the names of that axis), None if another axis is left open."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape") or tensor.elem_type not in DTYPES:
        return None
    known = tuple(1 if dim.dim_param in batch else dim.dim_value for dim in tensor.shape.dim)
    return (known, DTYPES[tensor.elem_type]) if min(known, default=1) > 0 else None
