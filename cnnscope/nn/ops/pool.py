"""Pooling in torch, and what torch lacks: windows with uneven padding, and blur pooling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import comb, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.nn.code import Call, Expr, Lit
from cnnscope.nn.ops import base
from cnnscope.nn.ops.base import Function, Inputs, Lacks, Module, TorchOp, X
from cnnscope.ops import pool
from cnnscope.ops.base import Op
from cnnscope.ops.window import extent, span


def covered(op: pool.MaxPool | pool.AvgPool, size: Sequence[int]) -> list[int]:
    """Torch's pads that make an input of ``size`` exactly the pixels that windows cover.

    This allows uneven pads and sizes that are rounded up. A high side is negative if no window reads the last pixels.
    """
    assert not isinstance(op.pad, str)
    pads = []
    for n, k, s, pair, d in zip(size, op.kernel, op.step, op.pad, op.gaps, strict=True):
        windows = extent(n, k, s, pair, d, ceil=op.ceil)
        pads.append((pair[0], (windows - 1) * s + span(k, d) - n - pair[0]))
    return base.torch_pads(pads)


def max_pool(x: Tensor, op: pool.MaxPool) -> Tensor:
    """Max pooling with uneven padding, which never wins."""
    padded = F.pad(x, covered(op, x.shape[2:]), value=-torch.inf)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(op.kernel) - 1]
    pooled: Tensor = pool(padded, op.kernel, op.step, 0, op.gaps)
    return pooled


def avg_pool(x: Tensor, op: pool.AvgPool) -> Tensor:
    """Average pooling with uneven padding, counted in the divisor or not, or with a divisor of its own."""
    return (padded_avg_pool if op.divisor is None else divided_pool)(x, *_uneven(op, x.shape[2:]))


def _uneven(op: pool.AvgPool, size: Sequence[int]) -> tuple[Any, ...]:
    """The arguments of `padded_avg_pool`, or of `divided_pool`, for an input of ``size``."""
    pads = tuple(covered(op, size))
    if op.divisor is not None:
        return op.kernel, op.step, pads, op.divisor
    return op.kernel, op.step, pads, tuple(base.torch_pads(op.pad)) if op.count_pad else (0,) * len(pads)


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


def divided_pool(
    x: Tensor,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Sequence[int],
    divisor: int,
) -> Tensor:
    """The sum over each window, divided by a number."""
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel_size) - 1]
    return pool(F.pad(x, list(padding)), kernel_size, stride) * (prod(kernel_size) / divisor)


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


def _windows(op: pool.MaxPool | pool.AvgPool, family: str, x: X, **own: Any) -> Module | None:
    """torch's own class of a pool; None if the padding is uneven."""
    even = base.even_pads(op.pad)
    args = {"kernel_size": op.kernel, "stride": op.step, "padding": even, "ceil_mode": op.ceil, **own}
    name = f"F.{'max' if family == 'MaxPool' else 'avg'}_pool{len(op.kernel)}d"
    return None if even is None else Module(base.of_rank(family, x), args, name)


def _maxpool(op: pool.MaxPool, x: X) -> Module | Function:
    def write(inputs: Inputs) -> Expr:
        padded = base.write_pad(inputs[0], covered(op, x[0].spatial), "constant", -torch.inf)
        kernel, step, gaps = map(base.plain, (op.kernel, op.step, op.gaps))
        named = (("stride", Lit(step, "stride")), ("dilation", Lit(gaps, "dilation", 1)))
        return Call(f"F.max_pool{len(op.kernel)}d", (padded, Lit(kernel, "kernel_size")), named)

    even = _windows(op, "MaxPool", x, dilation=op.dilation)
    return even or Function(max_pool, (op,), write=write)


def _avgpool(op: pool.AvgPool, x: X) -> Module | Function:
    def write(inputs: Inputs) -> Expr:
        return Call(pooled.__name__, (*inputs, *map(Lit, _uneven(op, x[0].spatial))))

    # only AvgPool3d refuses an input that is smaller than the kernel before padding; only AvgPool1d has no divisor
    refused = len(op.kernel) == 3 and any(n < k for n, k in zip(x[0].spatial, op.kernel, strict=True))
    refused = refused or (len(op.kernel) == 1 and op.divisor is not None)
    own = {} if op.divisor is None else {"divisor_override": op.divisor}
    even = None if refused else _windows(op, "AvgPool", x, count_include_pad=op.count_pad, **own)
    pooled = padded_avg_pool if op.divisor is None else divided_pool
    return even or Function(avg_pool, (op,), write=write, defines=(pooled,))


def _lppool(op: pool.LpPool, x: X) -> Module:
    alone = len(op.kernel) == 1  # only LPPool1d needs numbers instead of tuples
    kernel, stride = (op.kernel[0], op.step[0]) if alone else (op.kernel, op.step)
    args = {"norm_type": op.p, "kernel_size": kernel, "stride": stride, "ceil_mode": op.ceil}
    return Module(base.of_rank("LPPool", x), args)


def _blurpool(op: pool.BlurPool, x: X) -> Module:
    pads, mode = tuple(base.torch_pads(op.pad)), base.PAD_MODES[op.pad_mode]
    args = {"kernel_size": op.kernel, "stride": op.step, "padding": pads, "padding_mode": mode}
    return Module(BlurPool, args, defines=(BlurPool,))


def _adaptive(op: type[Op], family: str, aten: tuple[str, ...] | Lacks, onnx: tuple[str, ...] | Lacks) -> TorchOp:
    """A pool to ``op.out`` cells along each axis, one if the op has no such argument."""
    average = "Avg" in family

    def make(op: Op, x: X) -> Module:
        function = f"F.adaptive_{'avg' if average else 'max'}_pool{len(x[0].spatial)}d"
        return Module(base.of_rank(family, x), {"output_size": getattr(op, "out", 1)}, function)

    roles = base.of_role("average" if average else "max", *base.ranks(family))
    return TorchOp(op=op, make=make, roles=roles, aten=aten, onnx=onnx)


def _aten(name: str) -> tuple[str, ...]:
    return tuple(f"{name}{axes}d" for axes in (1, 2, 3))


_TO_ONE = Lacks("ATen has the adaptive pool to one cell")
_NONE = Lacks("ONNX has windows and whole maps only")
TORCH_OPS = (
    TorchOp(
        op=pool.MaxPool, make=_maxpool, roles=base.of_role("max", *base.ranks("MaxPool"), max_pool),
        aten=_aten("max_pool"), onnx=("MaxPool",),
    ),
    TorchOp(
        op=pool.AvgPool, make=_avgpool, roles=base.of_role("average", *base.ranks("AvgPool"), avg_pool),
        aten=_aten("avg_pool"), onnx=("AveragePool",),
    ),
    TorchOp(
        op=pool.LpPool, make=_lppool, roles=base.of_role("other", *base.ranks("LPPool")),
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
