"""The shapes of values that no rule computes: those that ONNX infers for one node, and those that the file states."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cached_property, lru_cache
from math import prod

import onnx
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from cnnscope.ir import Shape, Value
from cnnscope.sources.onnx.opsets import versions
from cnnscope.sources.onnx.values import DTYPES, Const

Stated = tuple[Shape, str]
Known = Callable[[str], "Value | Const | None"]
SHOWN = 1024
"""The elements of constants up to this size are shown to shape inference."""


class Shapes:
    """Answers for the nodes of ``model``, whose inputs are read as ``inputs`` (by name in the file)."""

    def __init__(self, model: ModelProto, inputs: Mapping[str, Value]) -> None:
        self.model, self.inputs = model, inputs
        self._opsets = [helper.make_opsetid(domain, version) for domain, version in versions(model).items()]

    def of(self, node: NodeProto, known: Known) -> Callable[[str], Stated | None]:
        """Returns a function that gives the shape and dtype of an output of ``node``; None if they are unknown.

        ``known`` has the values that the node and the graphs inside it read.
        """
        inferred = lru_cache(1)(lambda: _inferred(node, known, self._opsets))
        return lambda name: inferred().get(name) or self._written.get(name)

    @cached_property
    def _written(self) -> dict[str, Stated]:
        """The shapes in the file; none if the network is read at another size than they are for."""
        graph = self.model.graph
        for info in graph.input:
            value, dims = self.inputs.get(info.name), info.type.tensor_type.shape.dim
            sizes = sorted(dim.dim_value for dim in dims if dim.dim_value > 0)
            given = sorted(value.shape) if value is not None else sizes
            if any(sizes.count(n) > given.count(n) for n in sizes):
                return {}
        firsts = (info.type.tensor_type.shape.dim[:1] for info in graph.input)
        return _known(graph, {dim.dim_param for dims in firsts for dim in dims if dim.dim_param})


def _inferred(node: NodeProto, known: Known, opsets: list[onnx.OperatorSetIdProto]) -> dict[str, Stated]:
    """Returns what `onnx.shape_inference` finds for a model of this node alone, at the sizes that its inputs have.

    A single node bounds the work: shapes that a whole graph doubles forty times are never made. In graphs inside the
    node the numbers of shapes are not followed, for the same reason.
    """
    graph = GraphProto(name="node", node=[node])
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
    for name in dict.fromkeys(read_by(node)):
        value = known(name)
        if value is None:
            continue
        number = next((key for key, word in DTYPES.items() if word == value.dtype), 0)
        graph.input.append(helper.make_tensor_value_info(name, number, value.shape))
        small = isinstance(value, Const) and not value.is_weight and prod(value.shape) <= SHOWN
        if small and isinstance(value, Const) and value.value is not None:
            graph.initializer.append(numpy_helper.from_array(value.value, name))
    model = ModelProto(ir_version=onnx.IR_VERSION, opset_import=opsets, graph=graph)
    inner = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
    try:
        return _known(onnx.shape_inference.infer_shapes(model, data_prop=not inner).graph, ())
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError, TypeError):
        return {}


def read_by(node: NodeProto) -> list[str]:
    """Returns the names that a node reads, with those that graphs inside it read, be they their own or from outside."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names += [name for inner in graph.node for name in read_by(inner)]
            names += [output.name for output in graph.output]
    return names


def _known(graph: GraphProto, batch: Collection[str]) -> dict[str, Stated]:
    infos = ((info.name, _read(info, batch)) for info in (*graph.value_info, *graph.output))
    return {name: known for name, known in infos if known is not None}


def _read(info: ValueInfoProto, batch: Collection[str]) -> Stated | None:
    """Returns the shape at batch 1 (``batch`` has the names of that axis); None if another axis is left open."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape") or tensor.elem_type not in DTYPES:
        return None
    sizes = [
        1 if dim.dim_param in batch else dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim
    ]
    return (tuple(sizes), DTYPES[tensor.elem_type]) if min(sizes, default=0) >= 0 else None
