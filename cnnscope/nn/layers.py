"""The torch modules torch itself does not have. Parameters carry the roles their op names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import comb
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.ir.steps import Shape
from cnnscope.nn.functional import TORCH_PAD_MODES, torch_pads
from cnnscope.ops.arguments import Pair
from cnnscope.ops.window import extent, span


class Call(nn.Module):
    """A function of tensors with its other arguments fixed, as a module that hooks and listings can see."""

    def __init__(self, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.function, self.args, self.kwargs = function, args, kwargs

    def forward(self, *x: Tensor) -> Tensor:
        return self.function(*x, *self.args, **self.kwargs)

    def extra_repr(self) -> str:
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return ", ".join([getattr(self.function, "__name__", "function"), *given])


class _Padded(nn.Module):
    """Pads unevenly, or with other pixels than zeros, before the convolution it is mixed into."""

    def __init__(self, *args: Any, pads: Sequence[Pair], pad_mode: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pads, self.pad_mode = torch_pads(pads), TORCH_PAD_MODES[pad_mode]

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = super().forward(F.pad(x, self.pads, self.pad_mode))
        return result

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, pads={self.pads}, pad_mode={self.pad_mode}"


class PaddedConv1d(_Padded, nn.Conv1d):
    pass


class PaddedConv2d(_Padded, nn.Conv2d):
    pass


class PaddedConv3d(_Padded, nn.Conv3d):
    pass


PADDED_CONV = (PaddedConv1d, PaddedConv2d, PaddedConv3d)


class _Window(nn.Module):
    """Windows over an input padded to exactly the pixels they cover, so that pads may be uneven and sizes round up."""

    def __init__(self, kernel: Shape, stride: Shape, pads: Sequence[Pair], gaps: Shape, *, ceil: bool) -> None:
        super().__init__()
        self.kernel, self.stride, self.pads, self.gaps, self.ceil = kernel, stride, tuple(pads), gaps, ceil

    def covered(self, size: Sequence[int]) -> list[int]:
        """Torch's pads for an input of ``size``; the high side is negative where trailing pixels are never read."""
        pads = []
        for n, k, s, pair, d in zip(size, self.kernel, self.stride, self.pads, self.gaps, strict=True):
            windows = extent(n, k, s, pair, d, ceil=self.ceil)
            pads.append((pair[0], (windows - 1) * s + span(k, d) - n - pair[0]))
        return torch_pads(pads)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, stride={self.stride}, pads={self.pads}"


class PaddedMaxPool(_Window):
    """Max pooling with uneven padding, which never wins."""

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, self.covered(x.shape[2:]), value=-torch.inf)
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(self.kernel) - 1]
        pooled: Tensor = pool(padded, self.kernel, self.stride, 0, self.gaps)
        return pooled


class PaddedAvgPool(_Window):
    """Average pooling with uneven padding, counted in the divisor or not."""

    def __init__(self, *args: Any, count_pad: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.count_pad = count_pad

    def forward(self, x: Tensor) -> Tensor:
        size, covered = x.shape[2:], self.covered(x.shape[2:])
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(self.kernel) - 1]
        pixels = x.new_ones(1, 1, *size)
        if self.count_pad:
            declared = torch_pads(self.pads)
            pixels = F.pad(pixels, declared, value=1.0)
            counted = F.pad(pixels, [c - d for c, d in zip(covered, declared, strict=True)])
        else:
            counted = F.pad(pixels, covered)
        mean: Tensor = pool(F.pad(x, covered), self.kernel, self.stride)
        return mean / pool(counted, self.kernel, self.stride)


class BlurPool(nn.Module):
    """A binomial filter on every channel, then subsampling (Zhang 2019, section 3.2)."""

    binomial: Tensor

    def __init__(self, kernel: Shape, stride: Shape, *, pads: Sequence[Pair], pad_mode: str) -> None:
        super().__init__()
        self.stride, self.pads, self.pad_mode = stride, torch_pads(pads), TORCH_PAD_MODES[pad_mode]
        rows = [torch.tensor([comb(k - 1, i) / 2 ** (k - 1) for i in range(k)]) for k in kernel]
        binomial = reduce(lambda outer, row: outer[..., None] * row, rows)
        self.register_buffer("binomial", binomial, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        conv = (F.conv1d, F.conv2d, F.conv3d)[len(self.stride) - 1]
        weight = self.binomial.to(x).expand(x.shape[1], 1, *self.binomial.shape)
        return conv(F.pad(x, self.pads, self.pad_mode), weight, stride=self.stride, groups=x.shape[1])


class ChannelsLast(nn.Module):
    """Runs the norm it is mixed into over the channels of a map, which torch wants last."""

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = super().forward(x.movedim(1, -1))
        return normalised.movedim(-1, 1)


class ChannelLayerNorm(ChannelsLast, nn.LayerNorm):
    """Layer norm over the channels of each pixel (Liu et al. 2022, section 2.6)."""


class ChannelRMSNorm(ChannelsLast, nn.RMSNorm):
    """Root mean square norm over the channels of each pixel."""


class StochasticDepth(nn.Module):
    """Zeroes whole images of the batch with probability ``p`` in training (Huang et al. 2016, section 3)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        if self.p == 1:
            return torch.zeros_like(x)
        keep = torch.rand(len(x), *(1,) * (x.dim() - 1), device=x.device) >= self.p
        return x * keep / (1 - self.p)


class SelfAttention(nn.MultiheadAttention):
    """torch.nn.MultiheadAttention with one input as query, key and value."""

    def __init__(self, channels: int, heads: int, *, bias: bool) -> None:
        super().__init__(channels, heads, bias=bias, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # one input is the point of this class
        attended: Tensor = super().forward(x, x, x, need_weights=False)[0]
        return attended


class ClassToken(nn.Module):
    """A learned token in front of the others; zero at first, as in torchvision."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.weight.expand(len(x), -1, -1), x], 1)


class Position(nn.Module):
    """A learned vector added to every token; at first normal, deviation 0.02, as in torchvision."""

    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, tokens, channels).normal_(std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class LayerScale(nn.Module):
    """A learned factor for every channel of ``axis``."""

    def __init__(self, channels: int, init: float, axis: int) -> None:
        super().__init__()
        self.init, self.axis = init, axis
        self.weight = nn.Parameter(torch.full((channels,), init))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(-1, *(1,) * (x.dim() - 1 - self.axis))
