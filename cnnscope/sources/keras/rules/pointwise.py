"""Keras layers that keep a tensor's shape: activations, normalisation, preprocessing, and what only training sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ops import activation as act
from cnnscope.ops.affine import Affine
from cnnscope.ops.base import Op
from cnnscope.ops.call import Call, Input
from cnnscope.ops.generic import Elementwise, Parameter, Scan
from cnnscope.ops.merge import Sub
from cnnscope.ops.movement import Identity
from cnnscope.ops.norm import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from cnnscope.ops.regularization import AlphaDropout, Dropout, SpatialDropout
from cnnscope.ops.tokens import LayerScale
from cnnscope.sources.keras import aten
from cnnscope.sources.keras.config import Layer, malformed
from cnnscope.sources.keras.row import LayerRow, Tensor
from cnnscope.sources.keras.rules import LAYERS, Arguments, Settings, layer
from cnnscope.sources.keras.stored import Stored

POINTWISE: Mapping[str, Op] = {
    "relu": act.ReLU(), "relu6": act.ReLU6(), "sigmoid": act.Sigmoid(), "tanh": act.Tanh(), "elu": act.ELU(),
    "selu": act.SELU(), "softplus": act.Softplus(), "softsign": act.Softsign(), "silu": act.SiLU(),
    "swish": act.SiLU(), "gelu": act.GELU(), "mish": act.Mish(), "leaky_relu": act.LeakyReLU(0.2),
    "hard_sigmoid": act.Hardsigmoid(), "hard_silu": act.Hardswish(), "hard_swish": act.Hardswish(),
    "hard_tanh": act.Hardtanh(), "log_sigmoid": act.LogSigmoid(),
}  # fmt: skip
"""Activations by Keras' name. `hard_sigmoid` is that of Keras 3; the one of Keras 2 had slope 1/5 and the same cost."""

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
"""Activations along an axis, by default the author's last."""


def activate(row: LayerRow, x: Tensor, spec: object) -> Tensor:
    """Adds the activation of an ``activation=`` argument: a name, a function or layer by its class, or nothing."""
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


def named(row: LayerRow, x: Tensor, name: str, axis: int = -1) -> Tensor:
    """Adds the activation of that name; raises E445 if Keras has none."""
    if name in ALONG_CHANNELS:
        return row.add(ALONG_CHANNELS[name](x.axis(axis)), x, part="act")
    if name in POINTWISE or name in OTHER_POINTWISE:
        return row.add(POINTWISE.get(name, Elementwise(name, call=aten.unary(name, {}))), x, part="act")
    hint = did_you_mean(name, [*POINTWISE, *OTHER_POINTWISE, *ALONG_CHANNELS])
    raise CnnscopeError.of(
        "E445", f"the activation `{name}` is not one of Keras'",
        hint=hint or "a function of your own: use one of Keras', or export the model to ONNX",
    )  # fmt: skip


@layer("Activation")
def _activation(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return activate(row, x, s.get("activation"))


@layer("ReLU")
def _relu(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    slope, threshold = s.number("negative_slope", 0.0), s.number("threshold", 0.0)
    top = None if s.get("max_value") is None else s.number("max_value", 0.0)
    if not threshold and (top is None or not slope):
        op: Op = act.LeakyReLU(slope) if slope else act.ReLU() if top is None else act.Hardtanh(0.0, top)
        return row.add(act.ReLU6() if op == act.Hardtanh(0.0, 6.0) else op, x)
    y = row.add(Elementwise("threshold", call=Call("threshold", (Input(0), threshold, 0.0))), x)
    y = y if top is None else row.add(act.Hardtanh(0.0, top), y)
    if not slope:
        return y
    below = row.add(act.ReLU(), row.add(Affine((-1.0,), (threshold,)), x))
    return row.add(Sub(), y, row.add(Affine((slope,)), below))


@layer("LeakyReLU")
def _leaky(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return row.add(act.LeakyReLU(s.number("negative_slope", s.number("alpha", 0.3))), x)


@layer("ELU")
def _elu(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return row.add(act.ELU(s.number("alpha", 1.0)), x)


@layer("ThresholdedReLU")
def _thresholded(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return row.add(Elementwise("thresholded relu"), x)


@layer("PReLU")
def _prelu(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Has a weight for every element, except along the shared axes."""
    shared = {x.axis(axis) for axis in s.integers("shared_axes", [])}
    shape = tuple(1 if axis in shared else n for axis, n in enumerate(x.value.shape) if axis > 0)
    if x.value.kind in ("map", "flat") and shape == (x.value.shape[1], *(1,) * (x.rank - 2)):
        return row.add(act.PReLU(), x)
    order = tuple(axis - 1 for axis in x.axes[1:])
    stored = {"value": Stored("alpha", lambda array: array.transpose(order))}
    alpha = row.add(Parameter(shape), part="alpha", stored=stored)
    op = Elementwise("prelu", call=Call("_prelu_kernel", (Input(0), Input(1))))
    return row.add(op, x, alpha)


@layer("Softmax")
def _softmax(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    axes = tuple(x.axis(axis) for axis in s.integers("axis", -1))
    return row.add(act.Softmax(axes[0]) if len(axes) == 1 else Scan("softmax", axes), x)


def affine(row: LayerRow, x: Tensor, scale: object, shift: object) -> Tensor:
    """Adds scale * x + shift. Each is one number, or one for each index of the author's last axis."""
    factors, terms = numbers(scale, "scale"), numbers(shift, "offset")
    if {len(factors), len(terms)} - {1, x.shape[-1]}:
        raise CnnscopeError.of("E303", f"the constants do not fit the last axis of {list(x.shape[1:])}")
    return row.add(Affine(factors, terms, x.axis(-1)), x)


def numbers(value: object, what: str) -> tuple[float, ...]:
    """Returns one number, or those along the last axis; raises E443 for anything else."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    items: list[Any] = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(n, (int, float)) and isfinite(n) for n in items):
        raise malformed(f"`{what}` is not a number for each channel")
    return tuple(float(n) for n in items)


TORCH_COUNTER = "num_batches_tracked"
"""A buffer of batch normalisation that Keras does not have."""


def channels_first(row: LayerRow, x: Tensor, axis: int) -> Tensor:
    """Returns ``x`` with the author's ``axis`` in the place of the channels of a map."""
    wanted = x.axes[x.axis(axis)]
    if wanted == 0:
        raise CnnscopeError.of("E443", "`axis` 0 is the batch")
    rest = tuple(a for a in x.axes[1:] if a != wanted)
    return row.store(x, (0, wanted, *sorted(rest)), "flat" if x.rank == 2 else "map")


def _absent(s: Settings) -> list[str]:
    """Returns the weights that a normalisation lacks: ``scale=False`` means no weight, ``center=False`` no bias."""
    return [role for key, role in (("scale", "weight"), ("center", "bias")) if not s.flag(key, True)]


@layer("BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization")
def _batchnorm(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    (axis,) = s.integers("axis", -1)[:1] or [-1]
    op = BatchNorm.read({"eps": s.get("epsilon", 1e-3), "momentum": round(1 - s.number("momentum", 0.99), 9)})
    return row.add(op, channels_first(row, x, axis), without=[TORCH_COUNTER, *_absent(s)])


@layer("LayerNormalization")
def _layernorm(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    axes = sorted({x.axes[x.axis(axis)] for axis in s.integers("axis", -1)})
    eps, without = s.get("epsilon", 1e-3), [*_absent(s), *(["bias"] if s.flag("rms_scaling", False) else [])]
    if x.value.kind == "map" and axes == [x.axes[1]]:
        return row.add(LayerNorm.read({"eps": eps}), x, without=without)
    rest = tuple(a for a in range(x.rank) if a not in axes)  # the op works on the last axes
    x = row.store(x, (*rest, *axes), "flat" if x.rank == 2 else "tokens" if x.rank == 3 else "tensor")
    return row.add(LayerNorm.read({"eps": eps, "axes": len(axes)}), x, without=without)


@layer("GroupNormalization")
def _groupnorm(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    x = channels_first(row, x, s.integer("axis", -1))
    groups = s.integer("groups", 32, minimum=-1)
    op = GroupNorm.read({"groups": x.value.shape[1] if groups == -1 else groups, "eps": s.get("epsilon", 1e-3)})
    return row.add(op, x, without=_absent(s))


@layer("RMSNormalization")
def _rmsnorm(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    op = RMSNorm.read({"eps": s.get("epsilon", 1e-6)})
    if [x.axes[x.axis(axis)] for axis in s.integers("axis", -1)] != [x.rank - 1]:
        raise CnnscopeError.of("E445", "`RMSNormalization` over another axis than the last is not read yet")
    return row.add(op, x if x.value.kind == "map" and x.axes[1] == x.rank - 1 else row.authored(x))


@layer("UnitNormalization")
def _unitnorm(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return row.add(Scan("unit norm", tuple(x.axis(axis) for axis in s.integers("axis", -1))), x)


@layer("LayerScale")
def _layerscale(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """ConvNeXt's layer scale, a class of `keras.applications`: one factor per channel."""
    if s.integer("projection_dim") != x.shape[-1]:
        raise CnnscopeError.of("E443", f"`projection_dim` is not the last axis of {list(x.shape[1:])}")
    on_map = x.value.kind == "map" and x.axes[1] == x.rank - 1
    return row.add(LayerScale.read({"init": s.get("init_values", 1e-6)}), x if on_map else row.authored(x))


# -- identities at inference -----------------------------------------------------------------------------------------


@layer("Dropout")
def _dropout(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return row.add(Dropout.read({"p": s.get("rate", 0.5)}), x)


@layer("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
def _spatial_dropout(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return row.add((SpatialDropout if x.value.kind == "map" else Dropout).read({"p": s.get("rate", 0.5)}), x)


@layer("AlphaDropout")
def _alpha_dropout(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return row.add(AlphaDropout.read({"p": s.get("rate", 0.5)}), x)


@layer(
    "Identity", "ActivityRegularization", "GaussianDropout", "GaussianNoise", "StochasticDepth",
    "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomElasticTransform",
    "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHeight", "RandomHue",
    "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation",
    "RandomSharpness", "RandomShear", "RandomTranslation", "RandomWidth", "RandomZoom", "RandAugment", "AugMix",
    "MixUp", "CutMix",
)  # fmt: skip
def _identity(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """These layers do nothing at inference."""
    return row.add(Identity(), x)


@layer("Masking")
def _masking(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Puts zeros in the steps that are full of ``mask_value``. Where that is zero, nothing changes."""
    return row.add(Identity(), x, lost=("mask_value",) if s.number("mask_value", 0.0) else ())


@layer("Rescaling")
def _rescaling(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Computes scale * x + offset. The constants are no parameters."""
    return affine(row, x, s.get("scale", 1.0), s.get("offset", 0.0))
