"""ONNX operators on single elements, and reductions: activations, arithmetic, softmax, means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isclose, prod

import numpy as np

from cnnscope.ir import Shape
from cnnscope.ir.steps import Reshape, Taps
from cnnscope.ops import activation as act
from cnnscope.ops import merge, pool
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Elementwise, Movement, Reduce, Scan, Select, View
from cnnscope.ops.regularization import Dropout
from cnnscope.ops.traced import broadcast
from cnnscope.sources.onnx.calls import INTEGERS
from cnnscope.sources.onnx.rules import OperatorCall, rule
from cnnscope.sources.onnx.values import Const, Operand, dtype_of, invalid

# -- activations -----------------------------------------------------------------------------------------------------

_PLAIN: Mapping[str, Op] = {
    "Relu": act.ReLU(), "Sigmoid": act.Sigmoid(), "Tanh": act.Tanh(), "Softplus": act.Softplus(),
    "Softsign": act.Softsign(), "Mish": act.Mish(), "Abs": act.Abs(), "HardSwish": act.Hardswish(),
}  # fmt: skip


@rule(*_PLAIN)
def _plain(call: OperatorCall) -> list[Operand]:
    return [call.emit(_PLAIN[call.type], call.tensor(0))]


_SELU = (1.6732632423543772, 1.0507009873554805)


@rule("LeakyRelu", "Elu", "Selu", "Gelu", "HardSigmoid", "Celu", "ThresholdedRelu", "Shrink")
def _with_numbers(call: OperatorCall) -> list[Operand]:
    x = call.tensor(0)
    match call.type:
        case "LeakyRelu":
            return [call.emit(act.LeakyReLU(call.number("alpha", 0.01)), x)]
        case "Elu":
            return [call.emit(act.ELU(call.number("alpha", 1.0)), x)]
        case "Gelu":
            return [call.emit(act.GELU(tanh=call.text("approximate", "none") == "tanh"), x)]
        case "Selu":
            alpha, gamma = call.number("alpha", _SELU[0]), call.number("gamma", _SELU[1])
            if isclose(alpha, _SELU[0], rel_tol=1e-6) and isclose(gamma, _SELU[1], rel_tol=1e-6):
                return [call.emit(act.SELU(), x)]
            return [call.emit_call(Elementwise("selu"), "elu", x, alpha, gamma, 1.0)]
        case "Celu":
            return [call.emit_call(Elementwise("celu"), "celu", x, call.number("alpha", 1.0))]
        case "ThresholdedRelu":
            return [call.emit_call(Elementwise("thresholdedrelu"), "threshold", x, call.number("alpha", 1.0), 0.0)]
        case "Shrink":
            bound, bias = call.number("lambd", 0.5), call.number("bias", 0.0)
            function = {0.0: "hardshrink", bound: "softshrink"}.get(bias, "")
            return [call.emit_call(Elementwise("shrink"), function, x, bound, lost=() if function else ("bias",))]
    slope, offset = call.number("alpha", 0.2), call.number("beta", 0.5)
    if isclose(slope, 1 / 6, rel_tol=1e-5) and offset == 0.5:
        return [call.emit(act.Hardsigmoid(), x)]
    y = call.emit_call(Elementwise("mul"), "mul", x, slope, part="slope")
    y = call.emit_call(Elementwise("add"), "add", y, offset, part="offset")
    return [call.emit(act.Hardtanh(0.0, 1.0), y)]


@rule("Swish")
def _swish(call: OperatorCall) -> list[Operand]:
    """Computes x * sigmoid(alpha x)."""
    x, alpha = call.tensor(0), call.number("alpha", 1.0)
    if alpha == 1:
        return [call.emit(act.SiLU(), x)]
    gate = call.emit(act.Sigmoid(), call.emit_call(Elementwise("mul"), "mul", x, alpha, part="slope"), part="gate")
    return [call.emit(merge.Mul(), x, gate)]


@rule("Clip")
def _clip(call: OperatorCall) -> list[Operand]:
    """Bounds are attributes up to opset 10 and inputs later."""
    low, high = (_bound(call, i, name, bound) for i, name, bound in ((1, "min", -inf), (2, "max", inf)))
    x = call.tensor(0)
    real = call.value(x).dtype.startswith(("float", "bfloat"))
    if low is None or high is None:
        bounds = [call.inputs[i] if call.has(i) else None for i in (1, 2)]
        return [call.emit_call(Elementwise("clip"), "clamp", x, *bounds)]
    if real and (low, high) == (0, inf):
        return [call.emit(act.ReLU(), x)]
    if real and (low, high) == (0, 6):
        return [call.emit(act.ReLU6(), x)]
    if real and -inf < low < high < inf:
        return [call.emit(act.Hardtanh(low, high), x)]
    given = [n if abs(n) < inf else None for n in (low, high)]
    if given == [None, None]:
        return [x]
    whole = [n if n is None or real else int(n) for n in given]
    return [call.emit_call(Elementwise("clip"), "clamp", x, *whole)]


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
    """Works along one axis since opset 13, before that over all axes from ``axis`` on, which are joined for it."""
    x, shape = call.tensor(0), call.shape(0)
    axis = call.axis(call.integer("axis", -1 if call.opset >= 13 else 1), len(shape))
    if call.opset >= 13 or axis == len(shape) - 1:
        return [_along(call, x, axis)]
    joined = Reshape((prod(shape[:axis]), prod(shape[axis:])))
    flat = call.emit(View("flatten", (joined,)), x, part="flat")
    y = _along(call, flat, 1, part="rows")
    return [call.emit(View("reshape", (Reshape(shape),)), y)]


def _along(call: OperatorCall, x: str, axis: int, part: str = "") -> str:
    value, name = call.value(x), call.type.lower()
    if call.type == "Hardmax":
        return _hardmax(call, x, axis, part)
    if axis == value.batch_axis:  # a layer does not allow it
        function = "softmax" if name == "softmax" else "log_softmax"
        return call.emit_call(Scan(name, (axis,), 5), function, x, axis, part=part)
    op = act.Softmax(axis) if call.type == "Softmax" else act.LogSoftmax(axis)
    return call.emit(op, x, part=part)


def _hardmax(call: OperatorCall, x: str, axis: int, part: str) -> str:
    """Is 1 at the first largest element and 0 elsewhere."""
    value = call.value(x)
    places = np.arange(value.shape[axis], dtype=np.int64).reshape([-1] + [1] * (len(value.shape) - 1 - axis))
    first = call.emit_call(Reduce("argmax", (axis,), True, "int64"), "argmax", x, axis, True, part="place")
    op = Elementwise.of("equal", value.shape, [call.value(first).shape], [places.shape], "bool")
    same = call.emit_call(op, "eq", first, Const.known("places", places), part="equal")
    return call.emit(Movement("cast", dtype=value.dtype), same, part=part)


@rule("Dropout")
def _dropout(call: OperatorCall) -> list[Operand]:
    """The ratio is an attribute up to opset 11 and an input later. Nothing is dropped, so a mask that is read is true
    everywhere.
    """
    ratio = call.constant(1)
    given = ratio.value if ratio is not None else None
    p = float(given.reshape(-1)[0]) if given is not None and given.size else call.number("ratio", 0.5)
    training = call.constant(2)
    on = call.has(2) and (training is None or training.value is None or bool(training.value.any())) and p != 0
    y = call.emit(Dropout.read({"p": p}), call.tensor(0), lost=("training_mode",) if on else ())
    if len(call.outputs) < 2 or not call.outputs[1]:
        return [y]
    value = call.value(y)
    shape, dtype = value.shape, "bool" if call.opset >= 10 else value.dtype
    if on:
        return [y, call.emit(Select(shape, dtype, value.batch_axis), y, part="mask", apart=True)]
    label = f"ones {shape} {dtype}".encode()
    return [y, Const.computed(call.outputs[1], shape, dtype, label, lambda _: np.ones(shape, dtype), (), ())]


# -- arithmetic ------------------------------------------------------------------------------------------------------

_JOINS: Mapping[str, Op] = {"Add": merge.Add(), "Sub": merge.Sub(), "Mul": merge.Mul(), "Sum": merge.Add()}
_COMPARISONS = {
    "Equal": "eq", "Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt", "LessOrEqual": "le", "And": "logical_and",
    "Or": "logical_or", "Xor": "logical_xor",
}  # fmt: skip
_FUNCTIONS = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Sum": "add", "Mean": "add", "Div": "div", "Pow": "pow",
    "Mod": "remainder", "Max": "maximum", "Min": "minimum", "BitShift": "bitwise_left_shift",
    "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor", "Where": "where", **_COMPARISONS,
}  # fmt: skip
_SEVERAL = frozenset({"Max", "Min", "Sum", "Mean"})
"""Operators of any number of operands, which are computed two at a time."""


@rule(*_FUNCTIONS)
def _arithmetic(call: OperatorCall) -> list[Operand]:
    """Operands are broadcast. Constants are part of the function, and parameters if they are stored weights."""
    operands = [operand for operand in call.inputs if operand is not None]
    if call.type in _SEVERAL:
        return [_of_several(call, operands)]
    return [_of_two(call, operands)]


def _of_several(call: OperatorCall, operands: list[Operand]) -> Operand:
    operands = sorted(operands, key=lambda x: isinstance(x, Const))
    count, mean = len(operands), call.type == "Mean"
    if not count:
        raise invalid(f"`{call.type}` of nothing")
    y = operands[0] if isinstance(operands[0], str) else call.tensor(0)
    for index, operand in enumerate(operands[1:], start=2):
        y = _of_two(call, [y, operand], part="" if index == count and not mean else f"of{index}")
    return call.emit_call(Elementwise("mul"), "mul", y, 1 / count) if mean else y


def _of_two(call: OperatorCall, operands: list[Operand], part: str = "") -> str:
    if not any(isinstance(x, str) for x in operands):
        operands = [call.tensor(0), *operands[1:]]
    inputs = [x for x in operands if isinstance(x, str)]
    constants = [x for x in operands if isinstance(x, Const)]
    values = [call.value(x) for x in inputs]
    alike = {(value.kind, len(value.shape) if call.type == "Mul" else value.shape) for value in values}
    given = [constant.shape for constant in constants]
    shapes = [value.shape for value in values]
    whole = _broadcast(call, [*shapes, *given])
    kinds = {value.dtype for value in values}
    if call.type in _JOINS and len(inputs) > 1 and len(alike) == 1 and not constants and kinds.isdisjoint(INTEGERS):
        return call.emit(_JOINS[call.type], *inputs, part=part)
    dtype = "bool" if call.type in _COMPARISONS else None
    if call.type == "Where" and isinstance(operands[0], str):
        dtype = values[1].dtype if len(values) > 1 else constants[0].dtype
    op = Elementwise.of(call.type.lower(), whole, shapes, given, dtype)
    function, named = _function(call, operands, kinds | {constant.dtype for constant in constants})
    return call.emit_call(op, function, *operands, named=named, part=part, lost=() if function else ("dtype",))


def _function(call: OperatorCall, operands: Sequence[Operand], kinds: set[str]) -> tuple[str, Mapping[str, str]]:
    """Returns ATen's function for operands of these types, and its named arguments; no function where torch has
    none.
    """
    whole = any(kind.startswith(("int", "uint")) for kind in kinds)
    function = _FUNCTIONS[call.type]
    if not kinds.isdisjoint(INTEGERS):
        return "", {}
    match call.type:
        case "Div" if whole:
            return function, {"rounding_mode": "trunc"}
        case "Mod" if call.integer("fmod", 0):
            return "fmod", {}
        case "Pow" if whole and len(kinds) > 1 and not _is_real(call, operands[0]):
            return "", {}  # torch would return real numbers
        case "BitShift" if call.text("direction", "LEFT") == "RIGHT":
            return "bitwise_right_shift", {}
    return function, {}


def _is_real(call: OperatorCall, x: Operand) -> bool:
    dtype = x.dtype if isinstance(x, Const) else call.value(x).dtype
    return dtype.startswith(("float", "bfloat"))


def _broadcast(call: OperatorCall, shapes: list[Shape]) -> Shape:
    whole = broadcast(shapes)
    if any(n not in (1, m) for shape in shapes for n, m in zip(shape[::-1], whole[::-1], strict=False)):
        texts = " and ".join(str(list(shape)) for shape in shapes)
        raise invalid(f"`{call.type}` of {texts}: the shapes do not fit")
    return whole


_UNARY = {
    **{name: name.lower() for name in (
        "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sign", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh",
        "Cosh", "Asinh", "Acosh", "Atanh", "Floor", "Ceil", "Round", "IsNaN")},
    "BitwiseNot": "bitwise_not", "Not": "logical_not", "IsInf": "isinf", "Bernoulli": "",
}  # fmt: skip
_ANSWERS = frozenset({"Not", "IsNaN", "IsInf"})


@rule(*_UNARY)
def _unary(call: OperatorCall) -> list[Operand]:
    x, stated = call.tensor(0), call.integer("dtype", 0)
    dtype = "bool" if call.type in _ANSWERS else dtype_of(stated, f"`{call.type}`") if stated else None
    function = "" if call.value(x).dtype in INTEGERS else _UNARY[call.type]
    if call.type == "IsInf":
        sides = bool(call.integer("detect_positive", 1)), bool(call.integer("detect_negative", 1))
        function = {(True, True): function, (True, False): "isposinf", (False, True): "isneginf"}.get(sides, "")
    return [call.emit_call(Elementwise(call.type.lower(), dtype=dtype), function, x)]


@rule("Cast", "CastLike")
def _cast(call: OperatorCall) -> list[Operand]:
    x = call.tensor(0)
    dtype = dtype_of(call.integer("to", 0), "`Cast`") if call.type == "Cast" else call.value(call.tensor(1)).dtype
    small = any(kind.endswith(("int4", "int2")) for kind in (dtype, call.value(x).dtype))
    lost = ("to",) if small or dtype.startswith("float8") else ()  # torch has neither 4 bits nor saturation
    return [x] if dtype == call.value(x).dtype else [call.emit(Movement("cast", dtype=dtype), x, lost=lost)]


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
        return [_reduced(call, x, (), keep)]
    axes = axes or list(range(rank))
    along = tuple(sorted({call.axis(axis, rank) for axis in axes}))
    pools: dict[str, Op] = {"ReduceMean": pool.GlobalAvgPool(), "ReduceMax": pool.GlobalMaxPool()}
    real = value.dtype.startswith(("float", "bfloat"))
    if keep and value.kind == "map" and along == tuple(range(2, rank)) and call.type in pools and real:
        return [call.emit(pools[call.type], x)]
    return [_reduced(call, x, along, keep)]


def _reduced(call: OperatorCall, x: str, axes: tuple[int, ...], keep: bool) -> str:
    """Emits the reduction with what is done to the elements before and to the result after it."""
    fn, real = _REDUCTIONS[call.type], call.value(x).dtype.startswith(("float", "bfloat"))
    if fn == "sumsquare":
        x = call.emit(merge.Mul(), x, x, part="square" if axes else "")
    if fn in ("sumsquare", "sum", "logsum", "mean", "amax", "amin", "prod") and not axes:
        return call.emit_call(Elementwise("log"), "log", x) if fn == "logsum" else x
    if fn == "logsum":
        y = call.emit(Reduce("sum", axes, keep), x, part="sum")
        return call.emit_call(Elementwise("log"), "log", y)
    if fn == "mean" and not real:
        y = call.emit(Reduce("sum", axes, keep), x, part="sum")
        count = prod(call.value(x).shape[axis] for axis in axes)
        return call.emit_call(Elementwise("div"), "div", y, count, named={"rounding_mode": "trunc"})
    if fn == "prod":
        for place, axis in enumerate(reversed(axes), start=1):
            part = "" if place == len(axes) else f"along{axis}"
            x = call.emit_call(Reduce("prod", (axis,), keep), "prod", x, axis, keep, part=part)
        return x
    if fn == "norm":
        order = 1 if call.type == "ReduceL1" else 2
        function = "linalg_vector_norm" if real else ""
        return call.emit_call(Reduce(fn, axes, keep), function, x, order, axes, keep)
    if fn == "logsumexp":
        return call.emit_call(Reduce(fn, axes, keep), fn if real else "", x, axes, keep)
    nothing = fn in ("amax", "amin") and not all(call.value(x).shape)  # torch knows no maximum of nothing
    op = Reduce("sum" if fn == "sumsquare" else fn, axes, keep)
    return call.emit(op, x, lost=("data",) if nothing else ())


@rule("LpNormalization")
def _unit(call: OperatorCall) -> list[Operand]:
    """Divides by the norm along an axis; where that is 0, so is the result."""
    x, value, order = call.tensor(0), call.value(call.tensor(0)), call.integer("p", 2)
    axis = call.axis(call.integer("axis", -1), len(value.shape))
    length = call.emit_call(Reduce("norm", (axis,), True), "linalg_vector_norm", x, order, (axis,), True, part="norm")
    least = 2.0**-24 if value.dtype == "float16" else 2.0**-126
    length = call.emit_call(Elementwise("clip"), "clamp", length, least, part="least")
    op = Elementwise.of("div", value.shape, [value.shape, call.value(length).shape], [])
    return [call.emit_call(op, "div", x, length)]


@rule("MeanVarianceNormalization")
def _standardised(call: OperatorCall) -> list[Operand]:
    """Computes (x - mean) / (sqrt(mean(x^2) - mean^2) + 1e-9) over some axes. Source: the body of the operator."""
    x, value = call.tensor(0), call.value(call.tensor(0))
    rank = len(value.shape)
    axes = tuple(sorted({call.axis(axis, rank) for axis in call.integers("axes", [0, 2, 3]) or []}))

    def joined(fn: str, a: str, b: str, part: str) -> str:
        shapes = [call.value(a).shape, call.value(b).shape]
        return call.emit_call(Elementwise.of(fn, broadcast(shapes), shapes, []), fn, a, b, part=part)

    mean = call.emit(Reduce("mean", axes, True), x, part="mean")
    squares = call.emit(Reduce("mean", axes, True), call.emit(merge.Mul(), x, x, part="square"), part="squares")
    variance = joined("sub", squares, joined("mul", mean, mean, "mean.square"), "variance")
    deviation = call.emit_call(Elementwise("sqrt"), "sqrt", variance, part="deviation")
    deviation = call.emit_call(Elementwise("add"), "add", deviation, 1e-9, part="positive")
    return [joined("div", joined("sub", x, mean, "centred"), deviation, "")]


@rule("ArgMax", "ArgMin")
def _argmax(call: OperatorCall) -> list[Operand]:
    """With ``select_last_index`` the axis is searched from its end."""
    x, shape, name = call.tensor(0), call.shape(0), call.type.lower()
    axis, keep = call.axis(call.integer("axis", 0), len(shape)), bool(call.integer("keepdims", 1))
    op = Reduce(name, (axis,), keep, "int64")
    if not call.integer("select_last_index", 0):
        return [call.emit_call(op, name, x, axis, keep)]
    flipped = call.emit(Movement("flip", (Taps.picked(axis, range(shape[axis] - 1, -1, -1)),)), x, part="flipped")
    place = call.emit_call(op, name, flipped, axis, keep, part="place")
    return [call.emit_call(Elementwise("rsub"), "rsub", place, shape[axis] - 1)]


@rule("CumSum", "CumProd")
def _cumulative(call: OperatorCall) -> list[Operand]:
    """With ``reverse`` the axis is run from its end. With ``exclusive`` an element does not have itself."""
    axes, shape = call.given_integers(1, "axis") or [], call.shape(0)
    if len(axes) != 1:
        raise invalid(f"`{call.type}` along axes {axes} of {list(shape)}")
    axis, n = call.axis(axes[0], len(shape)), 0
    n, x = shape[axis], call.tensor(0)
    turned, before = bool(call.integer("reverse", 0)), bool(call.integer("exclusive", 0))
    lost = ("exclusive",) if before and call.type == "CumProd" else ()
    flip = (Taps.picked(axis, range(n - 1, -1, -1)),)
    if turned:
        x = call.emit(Movement("flip", flip), x, part="flipped")
    part = "sums" if turned or (before and not lost) else ""
    fn, named = call.type.lower(), {"dtype": f"torch.{call.value(x).dtype}"}
    y = call.emit_call(Scan(fn, (axis,)), fn, x, axis, named=named, part=part, lost=lost)
    if before and not lost:
        y = call.emit(Movement("shift", (Taps(axis, n, 1, ((-1,),)),)), y, part="shifted" if turned else "")
    return [call.emit(Movement("flip", flip), y) if turned else y]
