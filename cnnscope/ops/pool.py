"""Pooling of windows (max, average, Lp, blur), to a grid of a fixed size (adaptive), and of whole maps (global)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, gcd, prod
from typing import Annotated

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Shape, Step, Taps, Whole
from cnnscope.ops.arguments import Bool, Choice, Integer, Maybe, MaybeSize, Number, Pads, Pair, Size
from cnnscope.ops.base import Case, Op
from cnnscope.ops.saved import FLOAT, INDEX, INPUT, NOTHING, SAVES_INPUT, Kept, TrainStep
from cnnscope.ops.window import BORDERS, check_border, extents, resolve_pad, size_text, window_taps

_TORCH_NAMES = {
    "kernel_size": "kernel", "pool_size": "kernel", "size": "kernel", "strides": "stride", "padding": "pad",
    "ceil_mode": "ceil", "count_include_pad": "count_pad", "norm_type": "p", "output_size": "out",
    "divisor_override": "divisor",
}  # fmt: skip


class _Window(Op):
    """Base of pools with windows. By default the stride is the kernel; with a smaller one windows overlap (Krizhevsky
    et al. 2012, section 3.4). FLOPs: prod(kernel) an output element."""

    kernel: Size
    stride: MaybeSize = None
    pad: Pads = ((0, 0),)
    ceil: Bool = False
    accepts = ("map",)
    short = "kernel"
    symmetric = True
    aliases = _TORCH_NAMES

    @property
    def gaps(self) -> Shape:
        """The dilation of each axis, which only max pooling can change."""
        return (1,) * len(self.kernel)

    @property
    def step(self) -> Shape:
        return self.kernel if self.stride is None else self.stride

    def bind(self, x: Sequence[Value]) -> Op:
        pad = resolve_pad(self.pad, x[0].spatial, self.kernel, self.step, self.gaps)
        return replace(self, stride=self.step, pad=pad)

    def output(self, x: Sequence[Value]) -> Value:
        return replace(x[0], shape=(*x[0].shape[:2], *self._spatial(x[0].shape[2:])))

    def _spatial(self, size: Shape) -> Shape:
        assert not isinstance(self.pad, str)
        self._check_pad(size, self.pad)
        return extents(size, self.kernel, self.step, self.pad, self.gaps, ceil=self.ceil)

    def _check_pad(self, size: Shape, pad: tuple[Pair, ...]) -> None:
        for sides, kernel in zip(pad, self.kernel, strict=True):
            if 2 * max(sides) > kernel:
                raise ShapeError(f"pad {max(sides)} is more than half the kernel {kernel}: some windows would be empty")

    def elementwise(self, x: Sequence[Value]) -> int:
        return self.output(x).numel * prod(self.kernel)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        assert not isinstance(self.pad, str)
        out = self._spatial(x[0].shape[2:])
        return (window_taps(out, self.kernel, self.step, self.pad, self.gaps),)

    def label(self) -> str:
        return f"{size_text(self.kernel)} /{size_text(sorted(set(self.step)))}"


class MaxPool(_Window, tag="maxpool", category="pool"):
    """Maximum over a window. FLOPs: prod(kernel) an output element. Source: Dumoulin & Visin 2016, section 3."""

    dilation: Size = (1,)

    foreign = ("maxpooling",)

    @property
    def gaps(self) -> Shape:
        return self.dilation

    def saved(self, step: TrainStep) -> Kept:
        return Kept((0,), image_bytes=INDEX * prod(step.y.features))

    cases = (
        Case(x=(96, 55, 55), args={"kernel": 3, "stride": 2}, shape=(96, 27, 27)),
        Case(x=(64, 112, 112), args={"kernel": 3, "stride": 2, "ceil": True}, shape=(64, 56, 56)),
        Case(x=(2, 5, 5), args={"kernel": 2, "ceil": True, "pad": 1}, shape=(2, 3, 3)),
        Case(x=(2, 9, 9), args={"kernel": 3, "stride": 1, "dilation": 2, "pad": 1}, shape=(2, 7, 7)),
        Case(x=(2, 7), args={"kernel": 4}, shape=(2, 1)),
        Case(x=(2, 4, 6, 6), args={"kernel": [1, 2, 2]}, shape=(2, 4, 3, 3)),
    )


def _smaller(op: AvgPool | LpPool, x: Sequence[Value]) -> str | None:
    """torch's average and Lp pools in 3-D refuse what those in 1-D and 2-D pad or round up to the kernel's size."""
    size = x[0].shape[2:]
    if len(size) < 3 or all(n >= k for n, k in zip(size, op.kernel, strict=True)):
        return None
    sizes = f"{size_text(size)} for {size_text(op.kernel)}"
    return f"torch refuses `{op.tag}` in 3-D where the input is smaller than the kernel: {sizes}"


class AvgPool(_Window, tag="avgpool", category="pool"):
    """Mean over a window; ``count_pad: false`` divides by the pixels inside the image only (torch's default is true).

    With a ``divisor`` the sum over a window is divided by that number, whatever the window.
    FLOPs: prod(kernel) an output element. Source: LeCun et al. 1998, section II.B (there with learned scale and bias).
    """

    count_pad: Bool = True
    divisor: Annotated[int | None, Maybe(Integer(1))] = None

    foreign = ("averagepool", "averagepooling")
    keeps = INPUT

    def refused(self, x: Sequence[Value]) -> str | None:
        return _smaller(self, x)

    cases = (
        Case(x=(6, 28, 28), args={"kernel": 2}, shape=(6, 14, 14)),
        Case(x=(2, 8, 8), args={"kernel": 3, "stride": 1, "pad": "half", "count_pad": False}, shape=(2, 8, 8)),
        Case(x=(2, 7, 7), args={"kernel": 3, "stride": 2, "ceil": True, "pad": 1}, shape=(2, 4, 4)),
        Case(x=(3, 9), args={"kernel": 3, "stride": 2}, shape=(3, 4)),
        Case(x=(2, 4, 4, 4), args={"kernel": 2}, shape=(2, 2, 2, 2)),
        Case(x=(2, 8, 8), args={"kernel": 2, "divisor": 1}, shape=(2, 4, 4)),
        Case(x=(3, 9), args={"kernel": 3, "stride": 2, "divisor": 2}, shape=(3, 4)),
    )


class LpPool(_Window, tag="lppool", category="pool"):
    """Root of the sum of p-th powers over a window: (sum x^p)^(1/p). FLOPs: prod(kernel) an output element.

    As in torch it takes no padding, and an odd p is for inputs >= 0. Source: Sermanet et al. 2012, section 2.2.
    """

    p: Annotated[float, Number(1.0)] = 2.0

    def output(self, x: Sequence[Value]) -> Value:
        assert not isinstance(self.pad, str)
        if any(map(any, self.pad)):
            raise ShapeError("`lppool` takes no padding", hint="put `- pad: 1` before it")
        return super().output(x)

    def refused(self, x: Sequence[Value]) -> str | None:
        return _smaller(self, x)

    def saved(self, step: TrainStep) -> Kept:
        """The input, its powers, and four tensors of the output's size to compute the root."""
        return Kept((0,), image_bytes=FLOAT * (step.x[0].numel + 4 * step.y.numel))

    cases = (
        Case(x=(3, 8, 8), args={"kernel": 2}, shape=(3, 4, 4)),
        Case(x=(3, 8, 8), args={"kernel": 3, "stride": 2, "p": 3}, shape=(3, 3, 3)),
    )


class BlurPool(_Window, tag="blurpool", category="pool"):
    """Fixed binomial low-pass filter, then subsampling: what keeps strided layers (nearly) shift-equivariant.

    Kernel k is the k-th binomial row's outer product ([1 2 1] for 3), stride 2 and reflect padding by default.
    No parameters; the filter is a constant. MACs: none are counted (no weights); FLOPs: 2 * prod(kernel) an output.
    Source: Zhang 2019, section 3.2.
    """

    kernel: Size = (3,)
    stride: MaybeSize = (2,)
    pad: Pads = "half"
    pad_mode: Annotated[str, Choice(tuple(BORDERS))] = "reflect"
    aliases = _TORCH_NAMES | {"filt_size": "kernel"}

    def output(self, x: Sequence[Value]) -> Value:
        if self.ceil:
            raise ShapeError("`blurpool` cannot round its size up", hint="put `- pad` before it")
        return super().output(x)

    def _check_pad(self, size: Shape, pad: tuple[Pair, ...]) -> None:
        check_border(self.pad_mode, size, pad)

    def elementwise(self, x: Sequence[Value]) -> int:
        return 2 * self.output(x).numel * prod(self.kernel)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        assert not isinstance(self.pad, str)
        out = self._spatial(x[0].shape[2:])
        return (window_taps(out, self.kernel, self.step, self.pad, self.gaps, BORDERS[self.pad_mode]),)

    def saved(self, step: TrainStep) -> Kept:
        """The padded input."""
        assert not isinstance(self.pad, str)
        x = step.x[0]
        padded = x.shape[1] * prod(n + sum(pair) for n, pair in zip(x.spatial, self.pad, strict=True))
        return Kept((0,) if self.pad_mode in SAVES_INPUT else (), image_bytes=FLOAT * padded)

    cases = (
        Case(x=(4, 8, 8), args={}, shape=(4, 4, 4)),
        Case(x=(4, 9, 9), args={"kernel": 5, "pad_mode": "zeros"}, shape=(4, 5, 5)),
    )


class _Adaptive(Op):
    """Pooling to a given output size: output o covers floor(o n / m) .. ceil((o + 1) n / m) - 1.

    FLOPs: every window's elements. A size of 1 is a global pool and reads the whole map.
    """

    out: Size
    accepts = ("map",)
    short = "out"
    symmetric = True
    aliases = _TORCH_NAMES

    def output(self, x: Sequence[Value]) -> Value:
        return replace(x[0], shape=(*x[0].shape[:2], *self.out))

    def elementwise(self, x: Sequence[Value]) -> int:
        windows = prod(
            sum(len(w) for w in adaptive_windows(n, m)) for n, m in zip(x[0].shape[2:], self.out, strict=True)
        )
        return prod(x[0].shape[:2]) * windows

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        steps: list[Step] = []
        for axis, (n, m) in enumerate(zip(x[0].shape[2:], self.out, strict=True), start=2):
            if m == 1:
                steps.append(Whole((axis,), "global-pool"))
            else:
                period = gcd(n, m)
                windows = adaptive_windows(n // period, m // period)
                steps.append(Taps(axis, m, n // period, tuple(map(tuple, windows))))
        return (tuple(steps),)

    def label(self) -> str:
        return f"to {size_text(self.out)}"


def adaptive_windows(n: int, m: int) -> list[range]:
    """For each of ``m`` outputs the positions that it covers of ``n`` inputs."""
    return [range(o * n // m, ceil((o + 1) * n / m)) for o in range(m)]


class AdaptiveAvgPool(_Adaptive, tag="adaptiveavgpool", category="pool"):
    """Mean over an even grid of windows, as in torch. Source: He et al. 2014 (spatial pyramid pooling)."""

    def saved(self, step: TrainStep) -> Kept:
        """Nothing for one cell, because the gradient of a mean needs only sizes; else the input."""
        return NOTHING if all(n == 1 for n in step.y.spatial) else INPUT

    cases = (
        Case(x=(256, 6, 6), args={"out": 6}, shape=(256, 6, 6)),
        Case(x=(8, 10, 7), args={"out": [3, 2]}, shape=(8, 3, 2)),
        Case(x=(8, 10), args={"out": 1}, shape=(8, 1)),
    )


class AdaptiveMaxPool(_Adaptive, tag="adaptivemaxpool", category="pool"):
    """Maximum over an even grid of windows, as torch's AdaptiveMaxPool. Source: He et al. 2014."""

    def saved(self, step: TrainStep) -> Kept:
        return Kept((0,), image_bytes=INDEX * prod(step.y.features))

    cases = (
        Case(x=(8, 10, 7), args={"out": [3, 2]}, shape=(8, 3, 2)),
        Case(x=(8, 4, 4, 4), args={"out": 2}, shape=(8, 2, 2, 2)),
    )


class _Global(Op):
    """Pooling over the whole map: C x n... -> C x 1.... FLOPs: 1 an input element."""

    accepts = ("map",)
    remedies = {"tokens": "use `token: 0` to pick a token, or `tokenmean` to average them"}

    def output(self, x: Sequence[Value]) -> Value:
        return replace(x[0], shape=(*x[0].shape[:2], *(1,) * len(x[0].shape[2:])))

    def elementwise(self, x: Sequence[Value]) -> int:
        return x[0].numel

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Whole(tuple(range(2, len(x[0].shape))), "global-pool"),),)


class GlobalAvgPool(_Global, tag="globalavgpool", category="pool"):
    """Mean of each feature map. Source: Lin et al. 2014 (Network in Network), section 3.2."""

    foreign = ("gap", "globalaveragepool", "globalaveragepooling")
    keeps = NOTHING
    cases = (Case(x=(512, 7, 7), args={}, shape=(512, 1, 1)), Case(x=(64, 3), args={}, shape=(64, 1)))


class GlobalMaxPool(_Global, tag="globalmaxpool", category="pool"):
    """Maximum of each feature map. Source: Oquab et al. 2015, section 3."""

    def saved(self, step: TrainStep) -> Kept:
        return Kept((0,), image_bytes=INDEX * prod(step.y.features))

    cases = (Case(x=(512, 7, 7), args={}, shape=(512, 1, 1)), Case(x=(8, 2, 3, 4), args={}, shape=(8, 1, 1, 1)))
