"""Rules for functions of single elements: activations, arithmetic, comparisons, dropout; and for writing values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cnnscope.ops import activation as act
from cnnscope.ops import merge, regularization
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Constant, Elementwise, Movement, Scan
from cnnscope.sources.torch.calls import literal
from cnnscope.sources.torch.recording import dtype_name
from cnnscope.sources.torch.rules import Tracer, instead, records, tensors

# -- activations -------------------------------------------------------------------------------------------------------

_PLAIN: dict[str, Op] = {
    "relu": act.ReLU(), "relu6": act.ReLU6(), "selu": act.SELU(), "silu": act.SiLU(), "mish": act.Mish(),
    "hardswish": act.Hardswish(), "hardsigmoid": act.Hardsigmoid(), "sigmoid": act.Sigmoid(), "tanh": act.Tanh(),
    "log_sigmoid": act.LogSigmoid(), "abs": act.Abs(),
}  # fmt: skip


def _activation(op: Op) -> Any:
    def rule(trace: Tracer, out: Tensor, x: Tensor, *arguments: Any, **kwargs: Any) -> None:
        trace.emit(op, [x], out)

    return rule


for _name, _op in _PLAIN.items():
    records(_name)(_activation(_op))


@records("leaky_relu")
def leaky_relu(trace: Tracer, out: Tensor, x: Tensor, slope: float = 0.01) -> None:
    trace.emit(act.LeakyReLU(slope), [x], out)


@records("elu")
def elu(
    trace: Tracer, out: Tensor, x: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0
) -> None:
    lost = tuple(name for name, n in (("scale", scale), ("input_scale", input_scale)) if n != 1)
    trace.emit(Elementwise("elu") if lost else act.ELU(alpha), [x], out, lost=lost)


@records("softplus")
def softplus(trace: Tracer, out: Tensor, x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> None:
    trace.emit(act.Softplus(beta, threshold) if beta else Elementwise("softplus"), [x], out, fn="softplus")


@records("rrelu")
def rrelu(
    trace: Tracer, out: Tensor, x: Tensor, lower: float = 0.125, upper: float = 1 / 3, training: bool = False,
    generator: Any = None,
) -> None:  # fmt: skip
    """Is random in training only; its slope is the middle of the two bounds otherwise."""
    if training:
        trace.emit(Elementwise("rrelu"), [x], out, fn="rrelu")
    else:
        trace.emit(act.LeakyReLU((lower + upper) / 2), [x], out, fn="rrelu")


@records("gelu")
def gelu(trace: Tracer, out: Tensor, x: Tensor, *, approximate: str = "none") -> None:
    trace.emit(act.GELU(tanh=approximate == "tanh"), [x], out)


@records("hardtanh")
def hardtanh(trace: Tracer, out: Tensor, x: Tensor, low: float = -1.0, high: float = 1.0) -> None:
    if low == high:  # torch allows it, the layer does not
        trace.emit(Elementwise("hardtanh"), [x], out, lost=("min_val", "max_val"))
        return
    trace.emit(act.ReLU6() if (low, high) == (0, 6) else act.Hardtanh(low, high), [x], out)


@records("prelu")
def prelu(trace: Tracer, out: Tensor, x: Tensor, weight: Tensor) -> None:
    if trace.key(weight):
        trace.emit(act.PReLU(shared=weight.numel() == 1), [x], out, {"weight": weight})
    else:
        elementwise(trace, out, "prelu", [x, weight])


@records("softmax", "_softmax")
def softmax(trace: Tracer, out: Tensor, x: Tensor, axis: int, dtype: Any = None) -> None:
    op = act.Softmax(axis % x.dim()) if x.dim() else Elementwise("softmax")
    x = _cast(trace, out, x)
    trace.emit(_softmax(trace, op, x), [x], out, fn="softmax")


@records("log_softmax", "_log_softmax")
def log_softmax(trace: Tracer, out: Tensor, x: Tensor, axis: int, dtype: Any = None) -> None:
    op = act.LogSoftmax(axis % x.dim()) if x.dim() else Elementwise("log_softmax")
    x = _cast(trace, out, x)
    trace.emit(_softmax(trace, op, x), [x], out, fn="logsoftmax")


def _softmax(trace: Tracer, op: Op, x: Tensor) -> Op:
    """Returns the layer, or the plain function over the images of a batch, which a layer does not allow."""
    axis = op.axis if isinstance(op, (act.Softmax, act.LogSoftmax)) else None
    return op if axis is None or axis != trace.value(x).batch_axis else Scan(op.tag, (axis,), 5)


def _cast(trace: Tracer, out: Tensor, x: Tensor) -> Tensor:
    """Returns the input in the dtype of the output, to which torch casts it first."""
    if out.dtype == x.dtype:
        return x
    cast = torch.empty_like(x, dtype=out.dtype, device="meta")
    trace.emit(Movement("to", (), dtype_name(out)), [x], cast, fn="to")
    return cast


@records("glu")
def glu(trace: Tracer, out: Tensor, x: Tensor, axis: int = -1) -> None:
    trace.emit(act.GLU(axis % x.dim()), [x], out)


# -- dropout -----------------------------------------------------------------------------------------------------------


def _dropout(kind: type[Op]) -> Any:
    def rule(trace: Tracer, func: Any, x: Tensor, p: float, train: bool) -> Tensor:
        if train and p:  # it is on, and the layer would be off
            noisy: Tensor = trace.run(func, (x, p, train), {})
            trace.emit(Elementwise(name := func._schema.name.removeprefix("aten::")), [x], noisy, fn=name)
            return noisy
        out = x.view_as(x)  # in eval mode torch returns x itself, which would be no row of its own
        trace.emit(kind(p=p), [x], out)  # type: ignore[call-arg]  # an op's fields
        return out

    return rule


instead("dropout")(_dropout(regularization.Dropout))
instead("feature_dropout")(_dropout(regularization.SpatialDropout))
instead("alpha_dropout", "feature_alpha_dropout")(_dropout(regularization.AlphaDropout))


# -- arithmetic --------------------------------------------------------------------------------------------------------

_ELEMENTWISE = (
    "add", "sub", "rsub", "mul", "div", "true_divide", "floor_divide", "remainder", "fmod", "pow", "float_power",
    "square", "sqrt", "rsqrt", "reciprocal", "neg", "negative", "positive", "exp", "exp2", "expm1", "log", "log2",
    "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh",
    "atanh", "erf", "erfc", "erfinv", "sign", "sgn", "floor", "ceil", "round", "trunc", "frac", "clamp",
    "clamp_min", "clamp_max", "clip", "celu", "hardshrink", "softshrink", "threshold", "rrelu_with_noise",
    "lerp", "addcmul", "addcdiv", "maximum", "minimum", "fmax", "fmin", "where", "masked_fill", "eq", "ne", "lt",
    "le", "gt", "ge", "isnan", "isinf", "isfinite", "isclose", "logical_and", "logical_or", "logical_xor",
    "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "__and__", "__or__", "__xor__",
    "nan_to_num", "xlogy", "logaddexp", "logit", "sinc", "hypot", "heaviside", "copysign", "special_expit", "angle",
    "deg2rad", "rad2deg", "absolute", "__lshift__", "__rshift__", "bitwise_left_shift", "bitwise_right_shift",
    "lgamma", "digamma", "i0", "nextafter", "gcd", "lcm", "tril", "triu",
)  # fmt: skip


def elementwise(trace: Tracer, out: Tensor, fn: str, operands: Sequence[Any]) -> None:
    """Records a function of single elements. Constants among its operands are part of the function, not inputs."""
    inputs = [t for t in operands if isinstance(t, Tensor) and trace.tracked(t)]
    constants = [t for t in operands if isinstance(t, Tensor) and not trace.tracked(t)]
    keys = [key for t in constants for key in trace.constant_keys(t)]
    dtype = dtype_name(out) if out.dtype != inputs[0].dtype else None
    shapes, given = ([tuple(t.shape) for t in some] for some in (inputs, constants))
    op = Elementwise.of(fn, tuple(out.shape), shapes, given, dtype)
    trace.emit(op, inputs, out, fn=fn, keys={f"constant{i}": key for i, key in enumerate(keys)})


def _arithmetic(fn: str) -> Any:
    def rule(trace: Tracer, out: Tensor, *operands: Any, **kwargs: Any) -> None:
        elementwise(trace, out, fn, [*operands, *kwargs.values()])

    return rule


_JOINS: dict[str, Op] = {"add": merge.Add(), "sub": merge.Sub(), "mul": merge.Mul()}


def _join(fn: str) -> Any:
    def rule(trace: Tracer, out: Tensor, *operands: Any, **kwargs: Any) -> None:
        x, y = operands = operands[:2]
        plain = kwargs.get("alpha", 1) == 1
        if plain and all(isinstance(t, Tensor) and trace.tracked(t) for t in operands):
            kinds = {trace.value(t).kind for t in operands}
            if len(kinds) == 1 and (x.shape == y.shape or (fn == "mul" and x.dim() == y.dim())):
                trace.emit(_JOINS[fn], operands, out)
                return
        elementwise(trace, out, fn, operands)

    return rule


for _name in _ELEMENTWISE:
    records(_name)(_join(_name) if _name in _JOINS else _arithmetic(_name.strip("_")))


@records("pointwise")
def pointwise(fn: str, trace: Tracer, out: Any, *operands: Any, **kwargs: Any) -> None:
    """The rule of every function ``fn`` without a rule of its own that torch tags as one of single elements."""
    for result in tensors((out,), {}):
        elementwise(trace, result, fn, tensors(operands, kwargs))


@records("copy", carries=("self", "src"))
def copy(trace: Tracer, out: Tensor, target: Tensor, source: Tensor, *rest: Any) -> None:
    if trace.tracked(source):
        elementwise(trace, out, "copy", [source, torch.empty(target.shape, device="meta")])
    else:
        known = literal(source) if source.shape == target.shape and not trace.is_drawn(source) else None
        op = Constant(tuple(out.shape), dtype_name(out), literal=known if source.dtype == out.dtype else None)
        trace.emit(op, [], out, fn="fill", lost=() if op.literal else ("src",))


@records("fill_diagonal", "normal", "uniform", "bernoulli", "random", "exponential")
def fill(trace: Tracer, out: Tensor, x: Tensor, *rest: Any, **kwargs: Any) -> None:
    trace.emit(Constant(tuple(out.shape), dtype_name(out)), [], out, fn="fill")


@records("fill", carries=("self", "value"))
def fill_with(trace: Tracer, out: Tensor, x: Tensor, value: Any) -> None:
    """Records a constant of one number, which is known if it is a number of the call."""
    known = None if isinstance(value, Tensor) else literal(torch.full((), value, dtype=out.dtype))
    shape = tuple(out.shape)
    op = Constant(shape, dtype_name(out), literal=known and replace(known, shape=shape))
    trace.emit(op, [], out, fn="fill", lost=() if known else ("value",))


@records("zero", carries=("self",))
def zero(trace: Tracer, out: Tensor, x: Tensor) -> None:
    fill_with(trace, out, x, 0)


@instead(
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like", "new_zeros",
    "new_ones", "new_full", "new_empty", "new_empty_strided",
)  # fmt: skip
def constant_like(trace: Tracer, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return trace.constant(func, (x, *args), kwargs)


def _cumulative(fn: str) -> Any:
    def rule(trace: Tracer, out: Any, x: Tensor, *rest: Any, **kwargs: Any) -> None:
        axis = kwargs.get("dim", next((a for a in rest if isinstance(a, int) and not isinstance(a, bool)), -1))
        for result in tensors((out,), {}):
            dtype = dtype_name(result) if result.dtype != x.dtype else None
            trace.emit(Scan(fn, (axis % max(x.dim(), 1),), dtype=dtype), [x], result, fn=fn)

    return rule


for _name in ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "sort", "argsort"):
    records(_name)(_cumulative(_name))
