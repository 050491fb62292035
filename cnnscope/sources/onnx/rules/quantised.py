"""ONNX operators on integers that stand for real numbers: (q - zero point) * scale.

Each is the operator on real numbers with weights of fewer bits. Weights are dequantised constants, which count by what
the file stores; scales and zero points are no parameters. A value that the file rounds to integers has that type; the
rounding itself is no op. Sources: the specifications of ONNX and of ONNX Runtime's contributed operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from cnnscope.ir import Shape, Stored
from cnnscope.ops.generic import Elementwise, Movement
from cnnscope.ops.product import Linear
from cnnscope.sources.onnx.lazy import ConstantNode, lazily, stored_in
from cnnscope.sources.onnx.rules import RULES, OperatorCall, UnreadableError, rule
from cnnscope.sources.onnx.values import Array, Const, Operand, dtype_of, invalid

MICROSOFT = "com.microsoft::"


@rule("QuantizeLinear", f"{MICROSOFT}QuantizeLinear")
def _quantize(call: OperatorCall) -> list[Operand]:
    """The value has the type of the zero point from here on. An input of the network is converted."""
    x, dtype = call.tensor(0), _type(call, 2)
    if x in call.builder.inputs:
        x = call.emit_call(Elementwise("quantizelinear", dtype=dtype), "clone", x)  # nothing is rounded
        call.rounds.types[x] = call.value(call.tensor(0)).dtype
    return [call.rounded(x, dtype)]


@rule("DequantizeLinear", f"{MICROSOFT}DequantizeLinear")
def _dequantize(call: OperatorCall) -> list[Operand]:
    """A constant whose scale is not constant stays what the file stores."""
    operand = call.operand(0)
    if isinstance(operand, str) and operand not in call.rounds.types:  # integers from outside
        point = call.operand(2) if call.has(2) else None
        return [_dequantised(call, operand, call.operand(1), point, call.integer("axis", 1))]
    return [weight(operand, None, None) if isinstance(operand, Const) else operand]


@rule("DynamicQuantizeLinear")
def _dynamic(call: OperatorCall) -> list[Operand]:
    """The scale and the zero point are measured on each image: constants whose elements nobody knows. A module that
    does not round computes with a scale of 1.
    """

    def unknown(name: str, dtype: str, number: int) -> Const:
        made = Const.computed(name, (), dtype, f"measured {name}".encode(), lambda _: np.array(number, dtype), (), ())
        return replace(made, measured=True)

    names = [*call.outputs, "", ""]
    call.rounds.measured = True
    return [call.tensor(0), unknown(names[1], "float32", 1), unknown(names[2], "uint8", 0)]


def _dequantised(
    call: OperatorCall, x: str, scale: Operand | None, point: Operand | None, axis: int, part: str = ""
) -> str:
    """Returns the real numbers that integers from outside stand for: (x - zero point) * scale."""
    dtype = "float32" if scale is None else scale.dtype if isinstance(scale, Const) else call.value(scale).dtype
    if isinstance(scale, str) or isinstance(point, str):
        op = Elementwise("dequantizelinear", dtype=dtype)
        return call.emit_call(op, "", x, part=part, lost=("x_scale",))
    shape = call.value(x).shape
    y = call.emit(Movement("cast", dtype=dtype), x, part=f"{part}real")
    if point is not None and (point.value is None or point.value.any()):
        offset = lazily(ConstantNode("Cast", [_along(call, point, axis, shape)], ["point"], {"to": 1}, opset=21))
        assert offset is not None
        y = call.emit_call(Elementwise("sub"), "sub", y, offset[0], part=f"{part}offset")
    if scale is None:
        return y
    factor = replace(_along(call, scale, axis, shape), origin=())
    return call.emit_call(Elementwise("dequantizelinear"), "mul", y, factor, part=part)


def _along(call: OperatorCall, constant: Const, axis: int, shape: Shape) -> Const:
    """Returns a scale or zero point in the shape that broadcasts along an axis."""
    if prod(constant.shape) == 1:
        return constant.reshaped(())
    place = call.axis(axis, len(shape))
    if constant.shape != shape[place : place + 1]:
        raise UnreadableError(f"`{call.type}` of integers by blocks")
    return constant.reshaped((*constant.shape, *(1,) * (len(shape) - 1 - place)))


def _type(call: OperatorCall, index: int) -> str:
    stated = call.integer("output_dtype", 0)
    if stated:
        return dtype_of(stated, f"`{call.type}`")
    if not call.has(index):
        return "uint8"
    point = call.operand(index)
    return point.dtype if isinstance(point, Const) else call.value(point).dtype


# -- constants -------------------------------------------------------------------------------------------------------


def weight(constant: Const, scale: Operand | None, point: Operand | None, axis: int = 0) -> Const:
    """Returns the real numbers that a stored constant of integers stands for; the integers if there is no scale."""
    shape = point.shape if isinstance(point, Const) else ()
    scale = Const.known("one", np.ones(shape, np.float32)) if scale is None else scale
    made = None
    if isinstance(scale, Const) and not isinstance(point, str):
        inputs = [constant, *(x if x is None or x.shape != (1,) else x.reshaped(()) for x in (scale, point))]
        made = lazily(ConstantNode("DequantizeLinear", inputs, [constant.name], {"axis": axis}, opset=21))
    return replace(constant, origin=stored_in(constant)) if made is None else made[0]


def _bias(constant: Const, scales: Sequence[Operand | None]) -> Const:
    """Returns the real numbers of a bias, whose scale is that of the input times that of the weight."""
    known = [x for x in scales if isinstance(x, Const)]
    if len(known) < len(scales):
        return replace(constant, origin=stored_in(constant))

    def run(x: Sequence[Array]) -> Array:
        factor = np.prod(np.broadcast_arrays(*(scale.reshape(-1) for scale in x[1:])), 0)
        return np.asarray(x[0] * factor, np.float32)

    return Const.computed(constant.name, constant.shape, "float32", b"bias", run, (constant, *known),
                          stored_in(constant))  # fmt: skip


# -- operators -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Integers:
    """The operator on real numbers that an operator on integers stands for.

    ``operands`` has the places of each operand, its scale and its zero point (None: it has none). ``bias`` is the place
    of the bias and ``result`` that of the zero point of the result. ``axis`` is that of scales that differ.
    """

    real: str
    operands: Sequence[tuple[int, int | None, int | None]]
    bias: int | None = None
    result: int | None = None
    axis: int = 0


_OPERATORS: Mapping[str, Integers] = {
    "QLinearConv": Integers("Conv", [(0, 1, 2), (3, 4, 5)], bias=8, result=7),
    "QLinearMatMul": Integers("MatMul", [(0, 1, 2), (3, 4, 5)], result=7, axis=1),
    "ConvInteger": Integers("Conv", [(0, None, 2), (1, None, 3)]),
    "MatMulInteger": Integers("MatMul", [(0, None, 2), (1, None, 3)], axis=1),
    f"{MICROSOFT}QGemm": Integers("Gemm", [(0, 1, 2), (3, 4, 5)], bias=6, result=8, axis=1),
    f"{MICROSOFT}QLinearAdd": Integers("Add", [(0, 1, 2), (3, 4, 5)], result=7),
    f"{MICROSOFT}QLinearMul": Integers("Mul", [(0, 1, 2), (3, 4, 5)], result=7),
    f"{MICROSOFT}QLinearSigmoid": Integers("Sigmoid", [(0, 1, 2)], result=4),
    f"{MICROSOFT}QLinearLeakyRelu": Integers("LeakyRelu", [(0, 1, 2)], result=4),
    f"{MICROSOFT}QLinearSoftmax": Integers("Softmax", [(0, 1, 2)], result=4),
    f"{MICROSOFT}QLinearAveragePool": Integers("AveragePool", [(0, 1, 2)], result=4),
    f"{MICROSOFT}QLinearGlobalAveragePool": Integers("GlobalAveragePool", [(0, 1, 2)], result=4),
    f"{MICROSOFT}QLinearReduceMean": Integers("ReduceMean", [(0, 1, 2)], result=4),
    f"{MICROSOFT}QLinearWhere": Integers("Where", [(0, None, None), (1, 2, 3), (4, 5, 6)], result=8),
}  # fmt: skip


@rule(*_OPERATORS)
def _real(call: OperatorCall) -> list[Operand]:
    known = _OPERATORS[call.type]
    if call.integer("channels_last", 0):
        raise UnreadableError(f"`{call.type}` with its channels last")
    axis = 0 if known.real == "Gemm" and call.integer("transB", 0) else known.axis
    whole = [_is_from_outside(call, places) for places in known.operands]
    inputs: list[Operand | None] = [_operand(call, places, axis) for places in known.operands]
    if known.bias is not None and call.has(known.bias):
        bias = call.operand(known.bias)
        scales = [call.operand(scale) for _, scale, _ in known.operands if scale is not None]
        inputs.append(_bias(bias, scales) if isinstance(bias, Const) else bias)
    if all(whole) and known.result is None:  # then so is the result
        inner = replace(call, base=f"{call.base}.real")
        (y,) = _lowered(inner, known.real, inputs, None)
        return [call.emit(Movement("cast", dtype="int32"), y)] if isinstance(y, str) else [y]
    return _lowered(call, known.real, inputs, known.result)


@rule(f"{MICROSOFT}QLinearConcat")
def _concat(call: OperatorCall) -> list[Operand]:
    places = [(i, i + 1, i + 2) for i in range(2, len(call.inputs) - 2, 3)]
    return _lowered(call, "Concat", [_operand(call, each, 0) for each in places], 1)


def _operand(call: OperatorCall, places: tuple[int, int | None, int | None], axis: int) -> Operand:
    operand = call.operand(places[0])
    if places[1:] == (None, None):
        return operand
    scale, point = (call.operand(i) if i is not None and call.has(i) else None for i in places[1:])
    if isinstance(operand, str):
        part = f"operand{places[0]}."
        return _dequantised(call, operand, scale, point, 1, part) if _is_from_outside(call, places) else operand
    return weight(operand, scale, point, axis)


def _is_from_outside(call: OperatorCall, places: tuple[int, int | None, int | None]) -> bool:
    """Returns whether an operand has integers that the file did not make of real numbers."""
    operand = call.operand(places[0])
    integers = not isinstance(operand, str) or call.value(operand).dtype in ("int8", "uint8", "int16", "uint16")
    return integers and places[1:] != (None, None) and operand not in call.rounds.types


def _lowered(
    call: OperatorCall, real: str, inputs: Sequence[Operand | None], result: int | None, **attributes: Any
) -> list[Operand]:
    """Returns the result of the operator on real numbers, rounded if it is rounded."""
    attributes = {**call.attributes, **attributes}
    opset = int(attributes.get("opset", 0)) or (13 if call.type.startswith(MICROSOFT) else call.opset)
    inner = replace(call, type=real, inputs=inputs, attributes=attributes, opset=opset, reads=())
    outputs = list(RULES[real](inner))
    if result is not None and isinstance(outputs[0], str):
        call.rounded(outputs[0], _type(call, result))
    return outputs


@rule(f"{MICROSOFT}MatMulIntegerToFloat", f"{MICROSOFT}DynamicQuantizeMatMul")
def _with_bias(call: OperatorCall) -> list[Operand]:
    """A product of matrices and a bias of real numbers."""
    scale, point, bias = (3, 5, 6) if call.type.endswith("ToFloat") else (2, 3, 4)
    b = call.constant(1)
    if b is None or len(b.shape) != 2 or (call.has(bias) and call.constant(bias) is None):
        raise UnreadableError(f"`{call.type}` of two values")
    matrix = _operand(call, (1, scale, point), 1)
    assert isinstance(matrix, Const)
    return [_linear(call, matrix.permuted((1, 0)), call.constant(bias))]


@rule(f"{MICROSOFT}MatMulNBits")
def _packed(call: OperatorCall) -> list[Operand]:
    """The matrix (N, K) is stored in blocks of K, several elements a byte, the lowest bits first."""
    n, k, bits, block = (call.integer(name) for name in ("N", "K", "bits", "block_size"))
    packed, scales, points = (call.constant(i) for i in (1, 2, 3))
    if packed is None or scales is None or bits not in (2, 4, 8) or packed.dtype != "uint8" or min(n, k, block) < 1:
        raise UnreadableError("`MatMulNBits` of this kind")
    blocks = -(-k // block)

    def unpacked(x: Array, count: int) -> Array:
        parts = x.reshape(n, -1)[..., None] >> np.arange(0, 8, bits, dtype=np.uint8) & (2**bits - 1)
        return np.asarray(parts.reshape(n, -1)[:, :count], np.float32)

    def run(x: Sequence[Array]) -> Array:
        zero = np.full((n, blocks), 2.0 ** (bits - 1), np.float32)
        if len(x) > 2:
            zero = unpacked(x[2], blocks) if x[2].dtype == np.uint8 else x[2].reshape(n, blocks)
        whole = unpacked(x[0], blocks * block).reshape(n, blocks, block)
        scaled = (whole - zero[..., None]) * x[1].reshape(n, blocks, 1)
        return np.asarray(scaled.reshape(n, -1)[:, :k], np.float32)

    origin = (Stored(packed.name, n * k, f"uint{bits}"),)
    inputs = [x for x in (packed, scales, points) if x is not None]
    matrix = Const.computed(packed.name, (n, k), "float32", f"{bits} bits of {block}".encode(), run, inputs, origin)
    return [_linear(call, matrix, call.constant(5))]


def _linear(call: OperatorCall, matrix: Const, bias: Const | None) -> str:
    if call.shape(0)[-1:] != matrix.shape[1:]:
        raise invalid(f"`{call.type}` of {list(call.shape(0))} and {list(matrix.shape[::-1])} does not fit")
    op = Linear(matrix.shape[0], bias=bias is not None)
    return call.emit(op, call.tensor(0), params={"weight": matrix, "bias": bias})


@rule(f"{MICROSOFT}DynamicQuantizeLSTM")
def _lstm(call: OperatorCall) -> list[Operand]:
    """Its matrices are stored as (directions, in, 4 hidden), the transpose of what `LSTM` has."""
    matrices = []
    for places in ((1, 8, 9), (2, 10, 11)):
        matrix = _operand(call, places, 2)
        if not isinstance(matrix, Const) or len(matrix.shape) != 3:
            raise UnreadableError("`DynamicQuantizeLSTM` with computed weights")
        matrices.append(matrix.permuted((0, 2, 1)))
    return _lowered(call, "LSTM", [call.inputs[0], *matrices, *call.inputs[3:8]], None)
