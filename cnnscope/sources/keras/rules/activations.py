"""Keras activations, as ``activation=`` arguments and as layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ops import activation as act
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Elementwise, Parameter, Scan
from cnnscope.sources.keras.config import Layer
from cnnscope.sources.keras.row import Row, Tensor
from cnnscope.sources.keras.table import LAYERS, Arguments, Settings, layer

POINTWISE: Mapping[str, Op] = {
    "relu": act.ReLU(), "relu6": act.ReLU6(), "sigmoid": act.Sigmoid(), "tanh": act.Tanh(), "elu": act.ELU(),
    "selu": act.SELU(), "softplus": act.Softplus(), "softsign": act.Softsign(), "silu": act.SiLU(),
    "swish": act.SiLU(), "gelu": act.GELU(), "mish": act.Mish(), "leaky_relu": act.LeakyReLU(0.2),
    "hard_sigmoid": act.Hardsigmoid(), "hard_silu": act.Hardswish(), "hard_swish": act.Hardswish(),
    "hard_tanh": act.Hardtanh(), "log_sigmoid": act.LogSigmoid(),
}  # fmt: skip
"""By Keras' name. `hard_sigmoid` is Keras 3's; Keras 2's had the slope 1/5, and cost the same."""

OTHER_POINTWISE = frozenset({
    "exponential", "squareplus", "sparse_plus", "sparse_sigmoid", "soft_shrink", "hard_shrink", "tanh_shrink",
    "threshold", "celu",
})  # fmt: skip
ALONG_CHANNELS: Mapping[str, Callable[[int], Op]] = {
    "softmax": act.Softmax,
    "log_softmax": act.LogSoftmax,
    "glu": act.GLU,
    "sparsemax": lambda axis: Scan("sparsemax", (axis,)),
}
"""Those that look along an axis, the author's last."""


def activate(row: Row, x: Tensor, spec: object) -> Tensor:
    """``x`` behind an ``activation=`` argument: a name, a function or layer by its class, or nothing."""
    kind = str(spec.get("class_name")) if isinstance(spec, dict) else ""
    if isinstance(spec, dict) and isinstance(config := spec.get("config"), dict) and kind in LAYERS:
        inner = Layer(row.name, kind, config, ())
        (result,) = LAYERS[inner.kind](row, Settings(inner), Arguments([x], {}))
        return result
    if isinstance(spec, dict):
        spec = spec["config"] if isinstance(spec.get("config"), str) else spec.get("class_name")
    if spec in (None, "linear"):
        return x
    return named(row, x, str(spec))


def named(row: Row, x: Tensor, name: str, axis: int = -1) -> Tensor:
    """``x`` behind the activation of that name; E445 if Keras has none."""
    if name in ALONG_CHANNELS:
        return row.add(ALONG_CHANNELS[name](x.axis(axis)), x, part="act")
    if name in POINTWISE or name in OTHER_POINTWISE:
        return row.add(POINTWISE.get(name, Elementwise(name)), x, part="act")
    hint = did_you_mean(name, [*POINTWISE, *OTHER_POINTWISE, *ALONG_CHANNELS])
    raise CnnscopeError.of(
        "E445", f"the activation `{name}` is not one of Keras'",
        hint=hint or "a function of your own: use one of Keras', or export the model to ONNX",
    )  # fmt: skip


@layer("Activation")
def _activation(row: Row, s: Settings, x: Tensor) -> Tensor:
    return activate(row, x, s.get("activation"))


@layer("ReLU")
def _relu(row: Row, s: Settings, x: Tensor) -> Tensor:
    slope, threshold = s.number("negative_slope", 0.0), s.number("threshold", 0.0)
    top = None if s.get("max_value") is None else s.number("max_value", 0.0)
    op: Op = Elementwise("relu")
    if not threshold and (top is None or not slope):
        op = act.LeakyReLU(slope) if slope else act.ReLU() if top is None else act.Hardtanh(0.0, top)
    return row.add(act.ReLU6() if op == act.Hardtanh(0.0, 6.0) else op, x)


@layer("LeakyReLU")
def _leaky(row: Row, s: Settings, x: Tensor) -> Tensor:
    return row.add(act.LeakyReLU(s.number("negative_slope", s.number("alpha", 0.3))), x)


@layer("ELU")
def _elu(row: Row, s: Settings, x: Tensor) -> Tensor:
    return row.add(act.ELU(s.number("alpha", 1.0)), x)


@layer("ThresholdedReLU")
def _thresholded(row: Row, s: Settings, x: Tensor) -> Tensor:
    return row.add(Elementwise("thresholded relu"), x)


@layer("PReLU")
def _prelu(row: Row, s: Settings, x: Tensor) -> Tensor:
    """A weight for every element, except along the shared axes."""
    shared = {x.axis(axis) for axis in s.integers("shared_axes", [])}
    shape = tuple(1 if axis in shared else n for axis, n in enumerate(x.value.shape) if axis > 0)
    if x.value.kind in ("map", "flat") and shape == (x.value.shape[1], *(1,) * (x.rank - 2)):
        return row.add(act.PReLU(), x)
    alpha = row.add(Parameter(shape), part="alpha")
    return row.add(Elementwise("prelu"), x, alpha)


@layer("Softmax")
def _softmax(row: Row, s: Settings, x: Tensor) -> Tensor:
    axes = tuple(x.axis(axis) for axis in s.integers("axis", -1))
    return row.add(act.Softmax(axes[0]) if len(axes) == 1 else Scan("softmax", axes), x)
