"""Pooling in torch, and what torch lacks: windows with uneven padding, and blur pooling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import comb

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.nn.code import Call, Expr, Lit
from cnnscope.nn.ops.base import (
    PAD_MODES,
    Code,
    Inputs,
    Lacks,
    Module,
    TorchOp,
    X,
    apply,
    even_pads,
    of_rank,
    of_role,
    plain,
    ranks,
    torch_pads,
    write_pad,
)
from cnnscope.ops import pool
from cnnscope.ops.base import Op
from cnnscope.ops.window import extent, span


def covered(op: pool.MaxPool | pool.AvgPool, size: Sequence[int]) -> list[int]:
    """Torch's pads for an input of ``size`` that make it just the pixels the windows cover.

    So pads may be uneven and sizes round up; the high side is negative where trailing pixels are never read.
    """
    assert not isinstance(op.pad, str)
    pads = []
    for n, k, s, pair, d in zip(size, op.kernel, op.step, op.pad, op.gaps, strict=True):
        windows = extent(n, k, s, pair, d, ceil=op.ceil)
        pads.append((pair[0], (windows - 1) * s + span(k, d) - n - pair[0]))
    return torch_pads(pads)


class PaddedMaxPool(nn.Module):
    """Max pooling with uneven padding, which never wins."""

    def __init__(self, op: pool.MaxPool) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, covered(self.op, x.shape[2:]), value=-torch.inf)
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(self.op.kernel) - 1]
        pooled: Tensor = pool(padded, self.op.kernel, self.op.step, 0, self.op.gaps)
        return pooled

    def extra_repr(self) -> str:
        return self.op.label()


class PaddedAvgPool(nn.Module):
    """Average pooling with uneven padding, counted in the divisor or not."""

    def __init__(self, op: pool.AvgPool) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        pads = covered(self.op, x.shape[2:])
        return padded_avg_pool(x, self.op.kernel, self.op.step, pads, _counted(self.op, pads))

    def extra_repr(self) -> str:
        return self.op.label()


def padded_avg_pool(
    x: Tensor,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Sequence[int],
    counted: Sequence[int],
) -> Tensor:
    """Average pooling with uneven padding, of which the pixels ``counted`` are in the divisor."""
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel_size) - 1]
    pixels = F.pad(x.new_ones(1, 1, *x.shape[2:]), list(counted), value=1.0)
    pixels = F.pad(pixels, [p - c for p, c in zip(padding, counted, strict=True)])
    return pool(F.pad(x, list(padding)), kernel_size, stride) / pool(pixels, kernel_size, stride)


def _counted(op: pool.AvgPool, pads: Sequence[int]) -> list[int]:
    """The padding that an average counts in its divisor."""
    return torch_pads(op.pad) if op.count_pad else [0] * len(pads)


class BlurPool(nn.Module):
    """A binomial filter on every channel, then subsampling (Zhang 2019, section 3.2)."""

    binomial: Tensor

    def __init__(
        self,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        padding_mode: str,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.padding_mode = tuple(stride), list(padding), padding_mode
        rows = [torch.tensor([comb(k - 1, i) / 2 ** (k - 1) for i in range(k)]) for k in kernel_size]
        binomial = reduce(lambda outer, row: outer[..., None] * row, rows)
        self.register_buffer("binomial", binomial, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        conv = (F.conv1d, F.conv2d, F.conv3d)[len(self.stride) - 1]
        weight = self.binomial.to(x).expand(x.shape[1], 1, *self.binomial.shape)
        padded = F.pad(x, self.padding, self.padding_mode)
        return conv(padded, weight, stride=self.stride, groups=x.shape[1])


def _window_args(op: pool.MaxPool | pool.AvgPool, even: tuple[int, ...]) -> dict[str, object]:
    return {"kernel_size": op.kernel, "stride": op.step, "padding": even, "ceil_mode": op.ceil}


def _maxpool(op: pool.MaxPool, x: X) -> Module:
    even, axes = even_pads(op.pad), len(op.kernel)
    if even is not None:
        args = {**_window_args(op, even), "dilation": op.dilation}
        return Module(of_rank("MaxPool", x), args, f"F.max_pool{axes}d")

    def write(inputs: Inputs) -> Expr:
        padded = write_pad(inputs[0], covered(op, x[0].spatial), "constant", -torch.inf)
        named = (("stride", Lit(plain(op.step), "stride")), ("dilation", Lit(plain(op.gaps), "dilation", 1)))
        return Call(f"F.max_pool{axes}d", (padded, Lit(plain(op.kernel), "kernel_size")), named)

    return Module(PaddedMaxPool, {"op": op}, code=Code(None, apply, write, plain=False))


def _avgpool(op: pool.AvgPool, x: X) -> Module:
    even, axes = even_pads(op.pad), len(op.kernel)
    refused = axes == 3 and any(n < k for n, k in zip(x[0].spatial, op.kernel, strict=True))
    if even is not None and not refused:  # AvgPool3d alone wants an input no smaller than the kernel, padding apart
        args = {**_window_args(op, even), "count_include_pad": op.count_pad}
        return Module(of_rank("AvgPool", x), args, f"F.avg_pool{axes}d")
    pads = covered(op, x[0].spatial)
    given = tuple(map(Lit, (op.kernel, op.step, tuple(pads), tuple(_counted(op, pads)))))

    def write(inputs: Inputs) -> Expr:
        return Call("padded_avg_pool", (*inputs, *given))

    code = Code(None, apply, write, plain=False, defines=(padded_avg_pool,))
    return Module(PaddedAvgPool, {"op": op}, code=code)


def _lppool(op: pool.LpPool, x: X) -> Module:
    alone = len(op.kernel) == 1  # LPPool1d alone wants numbers
    kernel, stride = (op.kernel[0], op.step[0]) if alone else (op.kernel, op.step)
    args = {"norm_type": op.p, "kernel_size": kernel, "stride": stride, "ceil_mode": op.ceil}
    return Module(of_rank("LPPool", x), args)


def _blurpool(op: pool.BlurPool, x: X) -> Module:
    mode = PAD_MODES[op.pad_mode]
    args = {"kernel_size": op.kernel, "stride": op.step, "padding": tuple(torch_pads(op.pad)), "padding_mode": mode}
    return Module(BlurPool, args, defines=(BlurPool,))


def _adaptive(op: type[Op], family: str, aten: tuple[str, ...] | Lacks, onnx: tuple[str, ...] | Lacks) -> TorchOp:
    """A pool to ``op.out`` cells along each axis, one if the op has no such argument."""
    average = "Avg" in family

    def make(op: Op, x: X) -> Module:
        function = f"F.adaptive_{'avg' if average else 'max'}_pool{len(x[0].spatial)}d"
        return Module(of_rank(family, x), {"output_size": getattr(op, "out", 1)}, function)

    roles = of_role("average" if average else "max", *ranks(family))
    return TorchOp(op=op, make=make, roles=roles, aten=aten, onnx=onnx)


def _aten(name: str) -> tuple[str, ...]:
    return tuple(f"{name}{axes}d" for axes in (1, 2, 3))


_TO_ONE = Lacks("ATen has the adaptive pool to one cell")
_NONE = Lacks("ONNX has windows and whole maps only")
TORCH_OPS = (
    TorchOp(
        op=pool.MaxPool, make=_maxpool, roles=of_role("max", *ranks("MaxPool"), PaddedMaxPool),
        aten=_aten("max_pool"), onnx=("MaxPool",),
    ),
    TorchOp(
        op=pool.AvgPool, make=_avgpool, roles=of_role("average", *ranks("AvgPool"), PaddedAvgPool),
        aten=_aten("avg_pool"), onnx=("AveragePool",),
    ),
    TorchOp(
        op=pool.LpPool, make=_lppool, roles=of_role("other", *ranks("LPPool")),
        aten=Lacks("ATen has the average pool of powers, and the root"), onnx=("LpPool",),
    ),
    TorchOp(
        op=pool.BlurPool, make=_blurpool, roles={BlurPool: "average"},
        aten=Lacks("ATen has a padding and a convolution"), onnx=Lacks("ONNX has a padding and a convolution"),
    ),
    _adaptive(pool.AdaptiveAvgPool, "AdaptiveAvgPool", _aten("adaptive_avg_pool"), _NONE),
    _adaptive(pool.AdaptiveMaxPool, "AdaptiveMaxPool", _aten("adaptive_max_pool"), _NONE),
    _adaptive(pool.GlobalAvgPool, "AdaptiveAvgPool", _TO_ONE, ("GlobalAveragePool",)),
    _adaptive(pool.GlobalMaxPool, "AdaptiveMaxPool", _TO_ONE, ("GlobalMaxPool",)),
)  # fmt: skip
