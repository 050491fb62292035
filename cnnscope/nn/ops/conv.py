"""Convolutions in torch, and one that torch lacks, with uneven padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.nn.code import Expr
from cnnscope.nn.ops import base
from cnnscope.nn.ops.base import Inputs, Module, TorchOp, X
from cnnscope.ops import conv


class _Padded(nn.Module):
    """Pads unevenly before the convolution it is mixed into."""

    def __init__(self, *args: Any, pads: Sequence[int], pad_mode: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pads, self.pad_mode = list(pads), pad_mode

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


_PADDED = (PaddedConv1d, PaddedConv2d, PaddedConv3d)


def _conv(op: conv.Conv, x: X) -> Module:
    """torch's convolution, or for uneven padding one that pads first, which source writes as two steps."""
    even, mode = base.even_pads(op.pad), base.PAD_MODES[op.pad_mode]
    args = {
        "in_channels": x[0].shape[1], "out_channels": op.out, "kernel_size": op.kernel, "stride": op.stride,
        "dilation": op.dilation, "groups": op.groups, "bias": op.bias,
    }  # fmt: skip
    if even is not None:
        return Module(base.of_rank("Conv", x), {**args, "padding": even, "padding_mode": op.pad_mode})
    pads, code = base.torch_pads(op.pad), Module(base.of_rank("Conv", x), args).written
    assert code is not None

    def call(module: Expr, inputs: Inputs) -> Expr:
        return base.apply(module, [base.write_pad(inputs[0], pads, mode)])

    own = {**args, "pads": pads, "pad_mode": mode}
    return Module(_PADDED[len(op.kernel) - 1], own, code=replace(code, call=call, plain=False))


def _upconv(op: conv.TransposedConv, x: X) -> Module:
    return Module(base.of_rank("ConvTranspose", x), {
        "in_channels": x[0].shape[1], "out_channels": op.out, "kernel_size": op.kernel, "stride": op.stride,
        "padding": op.pad, "output_padding": op.out_pad, "groups": op.groups, "bias": op.bias,
        "dilation": op.dilation,
    })  # fmt: skip


TORCH_OPS = (
    TorchOp(
        op=conv.Conv, make=_conv, roles=base.of_role("conv", *base.ranks("Conv")),
        aten=("conv1d", "conv2d", "conv3d"), onnx=("Conv",),
    ),
    TorchOp(
        op=conv.TransposedConv, make=_upconv, roles=base.of_role("conv", *base.ranks("ConvTranspose")),
        aten=("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), onnx=("ConvTranspose",),
    ),
)  # fmt: skip
