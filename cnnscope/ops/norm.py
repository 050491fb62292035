"""Normalisation: batch, layer, group, instance, root mean square, and local response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Reshape, Shape, Spread, Step, Taps
from cnnscope.ops.arguments import Bool, Choice, NonNegativeReal, Pos, Probability, Real
from cnnscope.ops.base import Case, Op, channel_axis, shape_text
from cnnscope.ops.saved import FLOAT, Kept, TrainStep

_TORCH_NAMES = {
    "epsilon": "eps", "num_groups": "groups", "elementwise_affine": "affine", "normalized_shape": "over",
    "track_running_stats": "track",
}  # fmt: skip


def _statistics(*axes: int) -> tuple[Step, ...]:
    return (Spread(axes, "norm-statistics"),) if axes else ()


def _spatial_axes(value: Value) -> range:
    return range(2, len(value.shape))


class _Affine:
    """What norms share that have a weight and a bias for each channel if ``affine``."""

    affine: bool

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return _scale_and_shift((x[0].shape[1],)) if self.affine else {}

    def elementwise(self, x: Sequence[Value]) -> int:
        return _cost(x[0], self.affine)


class BatchNorm(_Affine, Op, tag="batchnorm", category="norm"):
    """y = (x - mean) / sqrt(var + eps) * weight + bias with running statistics of each channel, as at inference.

    (N, C, ...) -> the same. Parameters: 2 C; buffers: mean and variance, 2 C, and a counter.
    FLOPs: 2 an element (one scale, one shift). ``track: false`` keeps no statistics and takes the image's own.
    ``momentum`` matters to training only. Source: Ioffe & Szegedy 2015, section 3.1 (algorithm 2 for inference).
    """

    eps: NonNegativeReal = 1e-5
    momentum: Probability = 0.1
    affine: Bool = True
    track: Bool = True
    foreign = ("batchnormalization", "syncbatchnorm", "lazybatchnorm", "bn")
    accepts = ("map", "flat")
    remedies = {"tokens": "use `layernorm`"}
    aliases = _TORCH_NAMES

    def buffers(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        channels = (x[0].shape[1],)
        return {"running_mean": channels, "running_var": channels, "num_batches_tracked": ()} if self.track else {}

    def elementwise(self, x: Sequence[Value]) -> int:
        return 2 * x[0].numel if self.track else _cost(x[0], self.affine)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return (() if self.track else _statistics(*_spatial_axes(x[0])),)

    def saved(self, step: TrainStep) -> Kept:
        """The input, and mean and deviation of each channel if they are those of the batch."""
        own = step.training or not self.track
        return Kept((0,), fixed_bytes=2 * FLOAT * step.x[0].shape[1] if own else 0)

    cases = (
        Case(x=(64, 56, 56), args={}, shape=(64, 56, 56), params=128),
        Case(x=(3, 8, 8), args={"affine": False}, shape=(3, 8, 8)),
        Case(x=(3, 8, 8), args={"track": False, "eps": 1e-3}, shape=(3, 8, 8), params=6),
        Case(x=(16, 9), args={}, shape=(16, 9), params=32),
        Case(x=(4, 2, 3, 3), args={}, shape=(4, 2, 3, 3), params=8),
        Case(x=(10,), args={}, shape=(10,), params=20, kind="flat"),
    )


class LayerNorm(Op, tag="layernorm", category="norm"):
    """(x - mean) / sqrt(var + eps) * weight + bias with the statistics of each position's channels.

    On a map ``over: channels`` normalises the channels of each pixel (ConvNeXt), ``over: all`` the whole image; on
    tokens and flat vectors the last ``axes`` axes (1 unless said otherwise), or all of them.
    Parameters: one weight, and one bias, for each normalised index. FLOPs: 4 an element, 5 with weights
    (fvcore's rule). Source: Ba et al. 2016, section 3; over the channels of maps: Liu et al. 2022, section 2.6.
    """

    eps: NonNegativeReal = 1e-5
    over: Annotated[str, Choice(("channels", "all"))] = "channels"
    affine: Bool = True
    bias: Bool = True
    axes: Pos = 1
    foreign = ("layernormalization",)
    aliases = _TORCH_NAMES

    def normalised(self, x: Value) -> tuple[int, ...]:
        """The axes over which the statistics are computed."""
        rank = len(x.shape)
        if self.over == "all":
            return tuple(range(1, rank))
        return (1,) if x.kind == "map" else tuple(range(rank - self.axes, rank))

    def output(self, x: Sequence[Value]) -> Value:
        if x[0].kind == "map" and self.axes > 1:
            raise ShapeError("`axes` is for tokens and flat inputs", hint="use `over: all` to normalise a whole map")
        if self.axes >= len(x[0].shape):
            raise ShapeError(f"`axes: {self.axes}` is more than {shape_text(x[0].features)} has")
        return x[0]

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        if not self.affine:
            return {}
        both = _scale_and_shift(tuple(x[0].shape[axis] for axis in self.normalised(x[0])))
        return both if self.bias else {"weight": both["weight"]}

    def elementwise(self, x: Sequence[Value]) -> int:
        return _cost(x[0], self.affine)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return (_statistics(*self.normalised(x[0])),)

    def anchored(self, x: Sequence[Value]) -> tuple[int, ...]:
        return self.normalised(x[0]) if self.affine else ()

    def saved(self, step: TrainStep) -> Kept:
        """The input, and mean and deviation of each position."""
        x = step.x[0]
        return Kept((0,), image_bytes=2 * FLOAT * x.numel // prod(x.shape[axis] for axis in self.normalised(x)))

    cases = (
        Case(x=(96, 56, 56), args={"eps": 1e-6}, shape=(96, 56, 56), params=192),
        Case(x=(4, 5, 5), args={"over": "all"}, shape=(4, 5, 5), params=200),
        Case(x=(4, 6), args={"bias": False}, shape=(4, 6), params=4),
        Case(x=(4, 6), args={"affine": False}, shape=(4, 6)),
        Case(x=(197, 192), args={}, shape=(197, 192), params=384, kind="tokens"),
        Case(x=(7, 12), args={"axes": 2}, shape=(7, 12), params=168, kind="tokens"),
        Case(x=(120,), args={}, shape=(120,), params=240, kind="flat"),
    )


class GroupNorm(_Affine, Op, tag="groupnorm", category="norm"):
    """Normalises groups of C / groups channels over all positions, then weight and bias per channel.

    (N, C, ...) -> the same. Parameters: 2 C. FLOPs: 4 an element, 5 with weights (fvcore's rule).
    Source: Wu & He 2018, section 3.
    """

    groups: Pos
    eps: NonNegativeReal = 1e-5
    affine: Bool = True
    foreign = ("groupnormalization",)
    accepts = ("map", "flat")
    remedies = {"tokens": "use `layernorm`"}
    short = "groups"
    aliases = _TORCH_NAMES

    def output(self, x: Sequence[Value]) -> Value:
        if x[0].shape[1] % self.groups:
            raise ShapeError(f"groups {self.groups} must divide the {x[0].shape[1]} channels")
        return x[0]

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        n, channels, *size = x[0].shape
        grouped = (n, self.groups, channels // self.groups, *size)
        return ((Reshape(grouped), *_statistics(*range(2, len(grouped))), Reshape(x[0].shape)),)

    def label(self) -> str:
        return f"groupnorm {self.groups}"

    def saved(self, step: TrainStep) -> Kept:
        """The input, and mean and deviation of each group."""
        return Kept((0,), image_bytes=2 * FLOAT * self.groups)

    cases = (
        Case(x=(64, 56, 56), args={"groups": 32}, shape=(64, 56, 56), params=128),
        Case(x=(6, 4), args={"groups": 3, "affine": False}, shape=(6, 4)),
        Case(x=(4, 2, 3, 3), args={"groups": 1}, shape=(4, 2, 3, 3), params=8),
        Case(x=(8,), args={"groups": 2}, shape=(8,), params=16, kind="flat"),
    )


class InstanceNorm(_Affine, Op, tag="instancenorm", category="norm"):
    """Normalises every channel of every image over its own positions.

    (N, C, n...) -> the same. Parameters: none, 2 C with ``affine``. FLOPs: 4 an element, 5 with weights
    (fvcore's rule). Source: Ulyanov et al. 2016, section 2.
    """

    eps: NonNegativeReal = 1e-5
    affine: Bool = False
    foreign = ("instancenormalization", "lazyinstancenorm")
    accepts = ("map",)
    aliases = _TORCH_NAMES

    def output(self, x: Sequence[Value]) -> Value:
        if all(n == 1 for n in x[0].shape[2:]):
            raise ShapeError(f"`instancenorm` needs more than one position, not {shape_text(x[0].features)}")
        return x[0]

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return (_statistics(*_spatial_axes(x[0])),)

    def saved(self, step: TrainStep) -> Kept:
        """The input, mean and deviation of each channel, and the weights, which torch repeats for each image."""
        return Kept((0,), image_bytes=(3 if self.affine else 2) * FLOAT * step.x[0].shape[1])

    cases = (
        Case(x=(3, 8, 8), args={}, shape=(3, 8, 8)),
        Case(x=(3, 8), args={"affine": True, "eps": 1e-3}, shape=(3, 8), params=6),
        Case(x=(2, 2, 3, 3), args={}, shape=(2, 2, 3, 3)),
    )


class RMSNorm(Op, tag="rmsnorm", category="norm"):
    """x / sqrt(mean(x^2) + eps) * weight over the channels of each position: layer norm without centring.

    Parameters: C. FLOPs: 4 an element (square, sum, scale, weight). Source: Zhang & Sennrich 2019, section 3.
    """

    eps: NonNegativeReal = 1e-6
    foreign = ("rmsnormalization",)
    aliases = _TORCH_NAMES
    flops = 4

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {"weight": (x[0].shape[channel_axis(x[0])],)}

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return (_statistics(channel_axis(x[0])),)

    def saved(self, step: TrainStep) -> Kept:
        """The input and one factor for each position; for the gradient of the weights also what they multiply."""
        x, (reads,) = step.x[0], step.reads
        factors = x.numel // x.shape[channel_axis(x)] if reads else 0
        return Kept((0,) if reads else (), image_bytes=FLOAT * (factors + (x.numel if step.trains else 0)))

    cases = (
        Case(x=(8, 5, 5), args={}, shape=(8, 5, 5), params=8),
        Case(x=(10, 16), args={"eps": 1e-5}, shape=(10, 16), params=16, kind="tokens"),
        Case(x=(12,), args={}, shape=(12,), params=12, kind="flat"),
    )


class LRN(Op, tag="lrn", category="norm"):
    """Local response normalisation: x / (k + alpha / size * sum of squares over ``size`` neighbouring channels)^beta.

    (N, C, n...) -> the same. No parameters. FLOPs: size + 5 an element (square, sum, scale, add, power, divide).
    Source: Krizhevsky et al. 2012, section 3.3, whose alpha is not divided by ``size`` (there 1e-4, k 2, size 5); this
    follows torch's LocalResponseNorm.
    """

    size: Pos
    alpha: Real = 1e-4
    beta: Real = 0.75
    k: Real = 1.0
    foreign = ("localresponsenorm", "localresponsenormalization", "crossmaplrn")
    accepts = ("map",)
    short = "size"
    aliases = {"local_size": "size", "depth_radius": "size", "n": "size", "bias": "k"}

    def elementwise(self, x: Sequence[Value]) -> int:
        return (self.size + 5) * x[0].numel

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        first = -(self.size // 2)
        return ((Taps(1, x[0].shape[1], 1, (tuple(range(first, first + self.size)),)),),)

    def label(self) -> str:
        return f"lrn {self.size}"

    def saved(self, step: TrainStep) -> Kept:
        """The input, its padded squares, the number that is raised to ``beta``, and the power."""
        x = step.x[0]
        padded = (x.shape[1] + self.size - 1) * prod(x.spatial)
        return Kept((0,), image_bytes=FLOAT * (padded + 2 * x.numel))

    cases = (
        Case(x=(96, 27, 27), args={"size": 5}, shape=(96, 27, 27)),
        Case(x=(7, 4), args={"size": 4, "alpha": 0.5, "beta": 1.0, "k": 2.0}, shape=(7, 4)),
        Case(x=(3, 2, 3, 3), args={"size": 9}, shape=(3, 2, 3, 3)),
    )


def _scale_and_shift(shape: Shape) -> dict[str, Shape]:
    return {"weight": shape, "bias": shape}


def _cost(value: Value, affine: bool) -> int:
    """FLOPs of statistics and scaling: 4 an element, 5 with weights."""
    return (5 if affine else 4) * value.numel
