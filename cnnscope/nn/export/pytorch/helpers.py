"""Code that exported files carry along where torch has no such module or function. It refers to torch alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import comb

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by


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


def center_crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """The window of ``size`` at the centre of a map."""
    for axis, (n, m) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        x = x.narrow(axis, (n - m) // 2, m)
    return x
