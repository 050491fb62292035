"""Constants computed by nodes, one expression a node: ONNX infers their shape now, its reference implementation
computes their elements once somebody needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from cnnscope.ir import Stored
from cnnscope.sources.onnx.values import DTYPES, Array, Const, invalid, origins

RANDOM = frozenset({
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout",
})  # fmt: skip
"""Operators whose results are not constants."""
QUANTISED = frozenset({"DequantizeLinear", "QuantizeLinear"})
"""Operators whose further inputs are scales and zero points, which are no weights."""
RESHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})
REFUSALS = (
    onnx.defs.SchemaError, onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, RuntimeError,
    TypeError,
)  # fmt: skip
"""What ONNX raises for a node that contradicts its specification; the rule of the operator says what is wrong."""
_SHOWN = 1024
"""The elements of constants up to this size are shown to shape inference."""


@dataclass(frozen=True, slots=True)
class ConstantNode:
    """A node of which every input is a constant, or missing."""

    type: str
    inputs: Sequence[Const | None]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]
    opset: int

    @property
    def has_graphs(self) -> bool:
        """Whether it contains graphs, as branches and loops do."""
        return any(isinstance(value, GraphProto) for value in self.attributes.values())


def lazily(call: ConstantNode) -> list[Const] | None:
    """Returns the outputs of a node of constants; None if their shapes cannot be known."""
    constants = [x for x in call.inputs if x is not None]
    name = call.type.rpartition("::")[2]
    if not constants or not any(call.outputs[:1]) or name in RANDOM or call.has_graphs:
        return None
    moved = _moved(call, constants)
    if moved is not None:
        return [moved]
    try:
        node = helper.make_node(name, [f"i{i}" if x is not None else "" for i, x in enumerate(call.inputs)],
                                [f"o{i}" if output else "" for i, output in enumerate(call.outputs)],
                                **call.attributes)  # fmt: skip
    except ValueError:  # an empty list, whose type nothing shows
        return None
    types = _types(node, call)
    if types is None:
        return None
    if name in RESHAPES:
        return [constants[0].reshaped(types["o0"][0])]
    opset = max(call.opset, 21) if name in QUANTISED else call.opset  # older ones mean the same and are not implemented
    label = node.SerializeToString(deterministic=True) + opset.to_bytes(4, "little")
    places = [i for i, x in enumerate(call.inputs) if x is not None]
    made = []
    for index, output in enumerate(call.outputs):
        if not output:
            made.append(constants[0])  # nobody can ask for it
            continue
        shape, dtype = types[f"o{index}"]
        run = _Run(node, opset, places, f"o{index}")
        made.append(Const.computed(output, shape, dtype, label + run.output.encode(), run, constants, _origin(call)))
    return made


def _moved(call: ConstantNode, constants: Sequence[Const]) -> Const | None:
    """Returns the result of a movement that undoes another, or of one that does nothing."""
    first = constants[0]
    order = call.attributes.get("perm")
    if call.type == "Transpose" and (order is None or sorted(order) == list(range(len(first.shape)))):
        return first.permuted(order or range(len(first.shape))[::-1])
    same = call.type == "Cast" and DTYPES.get(call.attributes.get("to", 0)) == first.dtype
    return first if call.type == "Identity" or same else None


def _origin(call: ConstantNode) -> tuple[Stored, ...]:
    """Returns the weights that the result is made of. What is dequantised is a weight of its stored type."""
    first = call.inputs[0]
    if any(x.measured for x in call.inputs if x is not None):
        return ()  # scales
    if call.type.rpartition("::")[2] not in QUANTISED or first is None:
        return origins(call.inputs)
    return first.origin or (stored_in(first) if call.type.endswith("DequantizeLinear") else ())


def stored_in(constant: Const) -> tuple[Stored, ...]:
    """Returns the tensors in the file that a constant is computed from."""
    found: dict[Stored, None] = {}
    seen, waiting = {constant.digest}, [constant]
    while waiting:
        step = waiting.pop()
        found |= {step.leaf: None} if step.leaf is not None else {}
        waiting += [x for x in step.inputs if x.digest not in seen]
        seen.update(x.digest for x in step.inputs)
    return tuple(found)


def _types(node: NodeProto, call: ConstantNode) -> dict[str, tuple[tuple[int, ...], str]] | None:
    """Returns the shape and type of each output as ONNX infers them; None if one is unknown."""
    try:
        schema = onnx.defs.get_schema(node.op_type, call.opset, "")
        types, data = {}, {}
        for name, x in zip(node.input, call.inputs, strict=True):
            if isinstance(x, Const):
                number = next(key for key, word in DTYPES.items() if word == x.dtype)
                types[name] = helper.make_tensor_type_proto(number, x.shape)
                value = None if x.is_weight or int(np.prod(x.shape)) > _SHOWN else x.value
                if value is not None:
                    data[name] = numpy_helper.from_array(value)
        found = onnx.shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=[helper.make_opsetid("", call.opset)],
            ir_version=onnx.IR_VERSION,
        )  # fmt: skip
    except REFUSALS:
        return None
    return _read(node, found)


def _read(node: NodeProto, found: dict[str, Any]) -> dict[str, tuple[tuple[int, ...], str]] | None:
    result = {}
    for name in filter(None, node.output):
        tensor = found[name].tensor_type if name in found else None
        if tensor is None or not tensor.HasField("shape") or tensor.elem_type not in DTYPES:
            return None
        if not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            return None
        result[name] = tuple(dim.dim_value for dim in tensor.shape.dim), DTYPES[tensor.elem_type]
    return result


class _Run:
    """Computes one output of one node by ONNX's reference implementation."""

    def __init__(self, node: NodeProto, opset: int, places: Sequence[int], output: str) -> None:
        self.node, self.opset, self.places, self.output = node, opset, places, output

    def __call__(self, arrays: Sequence[Array]) -> Array:
        feeds = {f"i{place}": array for place, array in zip(self.places, arrays, strict=True)}
        undefined = TensorProto.UNDEFINED
        graph: GraphProto = helper.make_graph(
            [self.node], "g", [helper.make_tensor_value_info(name, undefined, None) for name in feeds],
            [helper.make_tensor_value_info(self.output, undefined, None)],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        try:
            with np.errstate(all="ignore"):
                (array,) = ReferenceEvaluator(model).run([self.output], feeds)
        except (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise invalid(f"`{self.node.op_type}` of constants cannot be computed: {reason}") from None
        return np.asarray(array)
