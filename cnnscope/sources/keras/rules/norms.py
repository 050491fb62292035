"""Keras normalisation layers, layers that only training sees, and preprocessing inside the model."""

from __future__ import annotations

from cnnscope.errors import CnnscopeError
from cnnscope.ops.generic import Elementwise, Scan
from cnnscope.ops.movement import Identity
from cnnscope.ops.norm import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from cnnscope.ops.regularization import AlphaDropout, Dropout, SpatialDropout
from cnnscope.ops.tokens import LayerScale
from cnnscope.sources.keras.row import Row, Tensor
from cnnscope.sources.keras.table import Settings, layer

TORCH_COUNTER = "num_batches_tracked"
"""A buffer of batch normalisation that Keras does not have."""


def _channels_first(row: Row, x: Tensor, axis: int) -> Tensor:
    """``x`` with the author's ``axis`` where a map has its channels."""
    wanted = x.axes[x.axis(axis)]
    if wanted == 0:
        raise CnnscopeError.of("E443", "`axis` 0 is the batch")
    rest = tuple(a for a in x.axes[1:] if a != wanted)
    return row.store(x, (0, wanted, *sorted(rest)), "flat" if x.rank == 2 else "map")


def _absent(s: Settings) -> list[str]:
    """Roles a normalisation goes without: ``scale=False`` has no weight, ``center=False`` no bias."""
    return [role for key, role in (("scale", "weight"), ("center", "bias")) if not s.flag(key, True)]


@layer("BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization")
def _batchnorm(row: Row, s: Settings, x: Tensor) -> Tensor:
    (axis,) = s.integers("axis", -1)[:1] or [-1]
    op = BatchNorm.read({"eps": s.get("epsilon", 1e-3), "momentum": round(1 - s.number("momentum", 0.99), 9)})
    return row.add(op, _channels_first(row, x, axis), without=[TORCH_COUNTER, *_absent(s)])


@layer("LayerNormalization")
def _layernorm(row: Row, s: Settings, x: Tensor) -> Tensor:
    axes = sorted({x.axes[x.axis(axis)] for axis in s.integers("axis", -1)})
    eps, without = s.get("epsilon", 1e-3), [*_absent(s), *(["bias"] if s.flag("rms_scaling", False) else [])]
    if x.value.kind == "map" and axes == [x.axes[1]]:
        return row.add(LayerNorm.read({"eps": eps}), x, without=without)
    rest = tuple(a for a in range(x.rank) if a not in axes)  # the op looks at the last axes
    x = row.store(x, (*rest, *axes), "flat" if x.rank == 2 else "tokens" if x.rank == 3 else "tensor")
    return row.add(LayerNorm.read({"eps": eps, "axes": len(axes)}), x, without=without)


@layer("GroupNormalization")
def _groupnorm(row: Row, s: Settings, x: Tensor) -> Tensor:
    x = _channels_first(row, x, s.integer("axis", -1))
    groups = s.integer("groups", 32, minimum=-1)
    op = GroupNorm.read({"groups": x.value.shape[1] if groups == -1 else groups, "eps": s.get("epsilon", 1e-3)})
    return row.add(op, x, without=_absent(s))


@layer("RMSNormalization")
def _rmsnorm(row: Row, s: Settings, x: Tensor) -> Tensor:
    op = RMSNorm.read({"eps": s.get("epsilon", 1e-6)})
    if [x.axes[x.axis(axis)] for axis in s.integers("axis", -1)] != [x.rank - 1]:
        raise CnnscopeError.of("E445", "`RMSNormalization` over another axis than the last is not read yet")
    return row.add(op, x if x.value.kind == "map" and x.axes[1] == x.rank - 1 else row.authored(x))


@layer("UnitNormalization")
def _unitnorm(row: Row, s: Settings, x: Tensor) -> Tensor:
    return row.add(Scan("unit norm", tuple(x.axis(axis) for axis in s.integers("axis", -1))), x)


@layer("Normalization")
def _normalization(row: Row, s: Settings, x: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance); both are buffers, with a counter, unless the config has their values."""
    if s.get("mean") is not None:
        return row.add(Elementwise("divide"), row.add(Elementwise("subtract"), x, part="centre"), part="scale")
    axes = [] if s.layer.config.get("axis", -1) is None else s.integers("axis", -1)
    if len(axes) != 1:
        raise CnnscopeError.of("E445", "`Normalization` over several axes or none is not read yet")
    x = _channels_first(row, x, axes[0])
    return row.add(BatchNorm(affine=False), x)


@layer("LayerScale")
def _layerscale(row: Row, s: Settings, x: Tensor) -> Tensor:
    """ConvNeXt's, a class of `keras.applications`: one factor a channel."""
    if s.integer("projection_dim") != x.shape[-1]:
        raise CnnscopeError.of("E443", f"`projection_dim` is not the last axis of {list(x.shape[1:])}")
    on_map = x.value.kind == "map" and x.axes[1] == x.rank - 1
    return row.add(LayerScale.read({"init": s.get("init_values", 1e-6)}), x if on_map else row.authored(x))


# -- identities at inference -----------------------------------------------------------------------------------------


@layer("Dropout")
def _dropout(row: Row, s: Settings, x: Tensor) -> Tensor:
    return row.add(Dropout.read({"p": s.get("rate", 0.5)}), x)


@layer("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
def _spatial_dropout(row: Row, s: Settings, x: Tensor) -> Tensor:
    return row.add((SpatialDropout if x.value.kind == "map" else Dropout).read({"p": s.get("rate", 0.5)}), x)


@layer("AlphaDropout")
def _alpha_dropout(row: Row, s: Settings, x: Tensor) -> Tensor:
    return row.add(AlphaDropout.read({"p": s.get("rate", 0.5)}), x)


@layer(
    "Identity", "Masking", "ActivityRegularization", "GaussianDropout", "GaussianNoise", "StochasticDepth",
    "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomElasticTransform",
    "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHeight", "RandomHue",
    "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation",
    "RandomSharpness", "RandomShear", "RandomTranslation", "RandomWidth", "RandomZoom", "RandAugment", "AugMix",
    "MixUp", "CutMix",
)  # fmt: skip
def _identity(row: Row, s: Settings, x: Tensor) -> Tensor:
    """Nothing happens at inference."""
    return row.add(Identity(), x)


@layer("Rescaling")
def _rescaling(row: Row, s: Settings, x: Tensor) -> Tensor:
    """scale * x + offset; the constants are no parameters."""
    x = row.add(Elementwise("multiply"), x, part="scale")
    offset = s.get("offset", 0)
    return x if offset in (0, 0.0) else row.add(Elementwise("add"), x, part="offset")
