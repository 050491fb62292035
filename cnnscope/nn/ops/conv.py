"""Convolutions in torch, and what torch lacks: uneven padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.nn.code import Call, Expr, Lit
from cnnscope.nn.ops import base
from cnnscope.nn.ops.base import Inputs, Module, TorchOp, X
from cnnscope.nn.ops.movement import window
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


class _Cut(nn.Module):
    """Cuts the output of the transposed convolution it is mixed into unevenly."""

    def __init__(self, *args: Any, kept: Sequence[slice], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept = list(kept)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = super().forward(x)
        return result[(slice(None), slice(None), *self.kept)]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, kept={self.kept}"


class CutConvTranspose1d(_Cut, nn.ConvTranspose1d):  # type: ignore[misc]  # its size is never asked for
    pass


class CutConvTranspose2d(_Cut, nn.ConvTranspose2d):  # type: ignore[misc]  # its size is never asked for
    pass


class CutConvTranspose3d(_Cut, nn.ConvTranspose3d):  # type: ignore[misc]  # its size is never asked for
    pass


_CUT = (CutConvTranspose1d, CutConvTranspose2d, CutConvTranspose3d)


def _conv(op: conv.Conv, x: X) -> Module:
    """torch's convolution, or for uneven padding one that pads first, which source writes as two steps."""
    even, mode = base.even_pads(op.pad), base.PAD_MODES[op.pad_mode]
    args = {
        "in_channels": x[0].shape[1], "out_channels": op.out, "kernel_size": op.kernel, "stride": op.stride,
        "dilation": op.dilation, "groups": op.groups, "bias": op.bias,
    }  # fmt: skip
    if even is not None:

        def applied(x: Expr, own: Mapping[str, Expr]) -> Expr:
            given = base.write_pad(x, base.torch_pads(op.pad), mode) if op.pad_mode != "zeros" else x
            pads = (0,) * len(even) if op.pad_mode != "zeros" else even
            plain = {"stride": op.stride, "padding": pads, "dilation": op.dilation, "groups": op.groups}
            named = tuple((name, Lit(base.plain(n), name, int(name != "padding"))) for name, n in plain.items())
            return Call(f"F.conv{len(op.kernel)}d", (given, *own.values()), named)

        given = {**args, "padding": even, "padding_mode": op.pad_mode}
        return Module(base.of_rank("Conv", x), given, applied=applied)
    pads, code = base.torch_pads(op.pad), Module(base.of_rank("Conv", x), args).written
    assert code is not None

    def call(module: Expr, inputs: Inputs) -> Expr:
        return base.apply(module, [base.write_pad(inputs[0], pads, mode)])

    own = {**args, "pads": pads, "pad_mode": mode}
    return Module(_PADDED[len(op.kernel) - 1], own, code=replace(code, call=call, plain=False))


def _upconv(op: conv.TransposedConv, x: X) -> Module:
    """torch's transposed convolution, or for uneven padding one whose output is cut, in source two steps."""
    assert not isinstance(op.pad, str)
    common = [min(sides) for sides in op.pad]
    args = {
        "in_channels": x[0].shape[1], "out_channels": op.out, "kernel_size": op.kernel, "stride": op.stride,
        "padding": tuple(common), "output_padding": op.out_pad, "groups": op.groups, "bias": op.bias,
        "dilation": op.dilation,
    }  # fmt: skip
    kept = [slice(low - n, (n - high) or None) for (low, high), n in zip(op.pad, common, strict=True)]
    if base.even_pads(op.pad) is not None:
        return Module(base.of_rank("ConvTranspose", x), args)
    code = Module(base.of_rank("ConvTranspose", x), args).written
    assert code is not None

    def call(module: Expr, inputs: Inputs) -> Expr:
        return window(base.apply(module, inputs), [slice(None), slice(None), *kept])

    return Module(_CUT[len(op.kernel) - 1], {**args, "kept": kept}, code=replace(code, call=call, plain=False))


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
