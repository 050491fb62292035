"""ONNX operators on single elements, and reductions: activations, arithmetic, softmax, means."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isclose

import numpy as np

from cnnscope.ir import Shape
from cnnscope.ops import activation as act
from cnnscope.ops import merge, pool
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Elementwise, Movement, Reduce, Scan, Select
from cnnscope.ops.regularization import Dropout
from cnnscope.ops.traced import broadcast
from cnnscope.sources.onnx.rules import OperatorCall, UnreadableError, rule
from cnnscope.sources.onnx.values import Const, Operand, dtype_of, invalid

# -- activations -----------------------------------------------------------------------------------------------------

_PLAIN: Mapping[str, Op] = {
    "Relu": act.ReLU(), "Sigmoid": act.Sigmoid(), "Tanh": act.Tanh(), "Softplus": act.Softplus(),
    "Softsign": act.Softsign(), "Mish": act.Mish(), "Abs": act.Abs(), "HardSwish": act.Hardswish(),
    "Swish": act.SiLU(),
}  # fmt: skip


@rule(*_PLAIN)
def _plain(call: OperatorCall) -> list[Operand]:
    return [call.emit(_PLAIN[call.type], call.tensor(0))]


@rule("LeakyRelu", "Elu", "Selu", "Gelu", "HardSigmoid")
def _with_numbers(call: OperatorCall) -> list[Operand]:
    match call.type:
        case "LeakyRelu":
            op: Op = act.LeakyReLU(call.number("alpha", 0.01))
        case "Elu":
            op = act.ELU(call.number("alpha", 1.0))
        case "Gelu":
            op = act.GELU(tanh=call.text("approximate", "none") == "tanh")
        case "Selu":
            op = act.SELU()
        case _:
            third = isclose(call.number("alpha", 0.2), 1 / 6, rel_tol=1e-5) and call.number("beta", 0.5) == 0.5
            op = act.Hardsigmoid() if third else Elementwise("hardsigmoid")
    return [call.emit(op, call.tensor(0))]


@rule("Clip")
def _clip(call: OperatorCall) -> list[Operand]:
    """Bounds are attributes up to opset 10 and inputs later."""
    low, high = (_bound(call, i, name, bound) for i, name, bound in ((1, "min", -inf), (2, "max", inf)))
    op: Op = Elementwise("clip")
    if (low, high) == (0, inf):
        op = act.ReLU()
    elif (low, high) == (0, 6):
        op = act.ReLU6()
    elif low is not None and high is not None and -inf < low < high < inf:
        op = act.Hardtanh(low, high)
    return [call.emit(op, call.tensor(0))]


def _bound(call: OperatorCall, index: int, name: str, default: float) -> float | None:
    """Returns a bound of `Clip`; None if it is unknown."""
    if not call.has(index):
        bound = call.number(name, 0.0) if name in call.attributes else default
        return default if abs(bound) > 3e38 else bound  # the default of the attribute is the largest float
    constant = call.constant(index)
    known = constant is not None and constant.value is not None and constant.value.size == 1
    return float(constant.value.reshape(-1)[0]) if known and constant and constant.value is not None else None


@rule("Softmax", "LogSoftmax", "Hardmax")
def _softmax(call: OperatorCall) -> list[Operand]:
    """Works along one axis since opset 13, before that over all axes from ``axis`` on."""
    rank = len(call.shape(0))
    axis = call.axis(call.integer("axis", -1 if call.opset >= 13 else 1), rank)
    axes = tuple(range(axis, axis + 1 if call.opset >= 13 else rank))
    if len(axes) > 1 or call.type == "Hardmax":
        return [call.emit(Scan(call.type.lower(), axes), call.tensor(0))]
    op = act.Softmax(axis) if call.type == "Softmax" else act.LogSoftmax(axis)
    return [call.emit(op, call.tensor(0))]


@rule("Dropout")
def _dropout(call: OperatorCall) -> list[Operand]:
    """The ratio is an attribute up to opset 11 and an input later. Nothing is dropped, so a mask that is read is true
    everywhere.
    """
    ratio = call.constant(1)
    given = ratio.value if ratio is not None else None
    p = float(given.reshape(-1)[0]) if given is not None and given.size else call.number("ratio", 0.5)
    training = call.constant(2)
    y = call.emit(Dropout.read({"p": p}), call.tensor(0))
    if len(call.outputs) < 2 or not call.outputs[1]:
        return [y]
    value = call.value(y)
    shape, dtype = value.shape, "bool" if call.opset >= 10 else value.dtype
    if call.has(2) and (training is None or training.value is None or training.value.any()):
        return [y, call.emit(Select(shape, dtype, value.batch_axis), y, part="mask", apart=True)]
    label = f"ones {shape} {dtype}".encode()
    return [y, Const.computed(call.outputs[1], shape, dtype, label, lambda _: np.ones(shape, dtype), (), ())]


# -- arithmetic ------------------------------------------------------------------------------------------------------

_JOINS: Mapping[str, Op] = {"Add": merge.Add(), "Sub": merge.Sub(), "Mul": merge.Mul(), "Sum": merge.Add()}
_BOOLEAN = frozenset({
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf",
})  # fmt: skip


@rule(
    "Add", "Sub", "Mul", "Sum", "Div", "Pow", "Mod", "Max", "Min", "BitShift", "BitwiseAnd", "BitwiseOr",
    "BitwiseXor", "Where", *_BOOLEAN,
)  # fmt: skip
def _arithmetic(call: OperatorCall) -> list[Operand]:
    """Operands are broadcast. Constants are part of the function, and parameters if they are stored weights."""
    operands = [operand for operand in call.inputs if operand is not None]
    if len(operands) > 2 and call.type in ("Max", "Min"):
        raise UnreadableError(f"`{call.type}` of more than two")
    if not any(isinstance(x, str) for x in operands):
        operands = [call.tensor(0), *operands[1:]]
    inputs = [x for x in operands if isinstance(x, str)]
    constants = [x for x in operands if isinstance(x, Const)]
    values = [call.value(x) for x in inputs]
    alike = {(value.kind, len(value.shape) if call.type == "Mul" else value.shape) for value in values}
    given = [constant.shape for constant in constants]
    shapes = [value.shape for value in values]
    whole = _broadcast(call, [*shapes, *given])
    if call.type in _JOINS and len(inputs) > 1 and len(alike) == 1 and not constants:
        return [call.emit(_JOINS[call.type], *inputs)]
    dtype = "bool" if call.type in _BOOLEAN else None
    if call.type == "Where" and len(values) > 1 and isinstance(operands[0], str):
        dtype = values[1].dtype
    op = Elementwise.of(call.type.lower(), whole, shapes, given, dtype)
    return [call.emit(op, *inputs, constants=constants)]


def _broadcast(call: OperatorCall, shapes: list[Shape]) -> Shape:
    whole = broadcast(shapes)
    if any(n not in (1, m) for shape in shapes for n, m in zip(shape[::-1], whole[::-1], strict=False)):
        texts = " and ".join(str(list(shape)) for shape in shapes)
        raise invalid(f"`{call.type}` of {texts}: the shapes do not fit")
    return whole


@rule(
    "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sign", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh",
    "Cosh", "Asinh", "Acosh", "Atanh", "Floor", "Ceil", "Round", "Celu", "ThresholdedRelu", "Shrink", "BitwiseNot",
    "Bernoulli",
)  # fmt: skip
def _unary(call: OperatorCall) -> list[Operand]:
    stated = call.integer("dtype", 0)
    dtype = dtype_of(stated, f"`{call.type}`") if stated else None
    return [call.emit(Elementwise(call.type.lower(), dtype=dtype), call.tensor(0))]


@rule("Cast", "CastLike")
def _cast(call: OperatorCall) -> list[Operand]:
    x = call.tensor(0)
    dtype = dtype_of(call.integer("to", 0), "`Cast`") if call.type == "Cast" else call.value(call.tensor(1)).dtype
    return [x] if dtype == call.value(x).dtype else [call.emit(Movement("cast", dtype=dtype), x)]


# -- along axes ------------------------------------------------------------------------------------------------------

_REDUCTIONS = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax", "ReduceMin": "amin", "ReduceProd": "prod",
    "ReduceL1": "norm", "ReduceL2": "norm", "ReduceLogSum": "logsum", "ReduceLogSumExp": "logsumexp",
    "ReduceSumSquare": "sumsquare",
}  # fmt: skip


@rule(*_REDUCTIONS)
def _reduce(call: OperatorCall) -> list[Operand]:
    """The axes are an attribute up to opset 12 (sum) or 17 (others), and an input later."""
    x = call.tensor(0)
    value, axes = call.value(x), call.given_integers(1, "axes")
    rank, keep = len(value.shape), bool(call.integer("keepdims", 1))
    if not axes and call.integer("noop_with_empty_axes", 0):
        return [x]
    axes = axes or list(range(rank))
    along = tuple(sorted({call.axis(axis, rank) for axis in axes}))
    pools: dict[str, Op] = {"ReduceMean": pool.GlobalAvgPool(), "ReduceMax": pool.GlobalMaxPool()}
    if keep and value.kind == "map" and along == tuple(range(2, rank)) and call.type in pools:
        return [call.emit(pools[call.type], x)]
    return [call.emit(Reduce(_REDUCTIONS[call.type], along, keep), x)]


@rule("ArgMax", "ArgMin")
def _argmax(call: OperatorCall) -> list[Operand]:
    axis = call.axis(call.integer("axis", 0), len(call.shape(0)))
    return [call.emit(Reduce(call.type.lower(), (axis,), bool(call.integer("keepdims", 1)), "int64"), call.tensor(0))]


@rule("CumSum", "CumProd")
def _cumulative(call: OperatorCall) -> list[Operand]:
    axes = call.given_integers(1, "axis") or []
    if len(axes) != 1:
        raise invalid(f"`{call.type}` along axes {axes} of {list(call.shape(0))}")
    return [call.emit(Scan(call.type.lower(), (call.axis(axes[0], len(call.shape(0))),)), call.tensor(0))]
