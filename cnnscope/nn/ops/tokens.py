"""Tokens in torch, and the modules torch lacks: class token, positions, layer scale, self-attention of one input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnscope.nn.code import Call, Index, Lit
from cnnscope.nn.ops.base import Function, Lacks, Module, TorchOp, X
from cnnscope.nn.ops.movement import method
from cnnscope.ops import tokens
from cnnscope.ops.base import channel_axis


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


class SelfAttention(nn.MultiheadAttention):
    """torch.nn.MultiheadAttention with one input as query, key and value."""

    def __init__(self, channels: int, heads: int, *, bias: bool) -> None:
        super().__init__(channels, heads, bias=bias, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # one input is the point of this class
        attended: Tensor = super().forward(x, x, x, need_weights=False)[0]
        return attended


def to_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _class_token(op: tokens.ClassToken, x: X) -> Module:
    return Module(ClassToken, {"channels": x[0].shape[2]}, defines=(ClassToken,))


def _position(op: tokens.Position, x: X) -> Module:
    return Module(Position, {"tokens": x[0].shape[1], "channels": x[0].shape[2]}, defines=(Position,))


def _layerscale(op: tokens.LayerScale, x: X) -> Module:
    axis = channel_axis(x[0])
    return Module(LayerScale, {"channels": x[0].shape[axis], "init": op.init, "axis": axis}, defines=(LayerScale,))


def _attention(op: tokens.Attention, x: X) -> Module:
    args = {"channels": x[0].shape[2], "heads": op.heads, "bias": op.bias}
    return Module(SelfAttention, args, defines=(SelfAttention,))


_TOKENS = Function(
    to_tokens, write=lambda x: Call("transpose", (Lit(1), Lit(2)), target=Call("flatten", (Lit(2),), target=x[0]))
)


def _token(op: tokens.Token, x: X) -> Function:
    return Function(torch.select, (1, op.index), write=lambda x: Index(x[0], f":, {op.index}"))


_PARTS = Lacks("a traced network has the parts it consists of")
TORCH_OPS = (
    TorchOp(op=tokens.Tokens, make=lambda op, x: _TOKENS, roles={to_tokens: "move"}, aten=_PARTS, onnx=_PARTS),
    TorchOp(op=tokens.ClassToken, make=_class_token, roles={ClassToken: "move"}, aten=_PARTS, onnx=_PARTS),
    TorchOp(op=tokens.Position, make=_position, roles={Position: "move"}, aten=_PARTS, onnx=_PARTS),
    TorchOp(op=tokens.Token, make=_token, roles={torch.select: "move"}, aten=_PARTS, onnx=_PARTS),
    TorchOp(op=tokens.TokenMean, make=lambda op, x: Function(torch.mean, named={"dim": 1}, write=method("mean", 1)),
            roles={torch.mean: "average"}, aten=_PARTS, onnx=_PARTS),
    TorchOp(op=tokens.LayerScale, make=_layerscale, roles={LayerScale: "scale"}, aten=_PARTS, onnx=_PARTS),
    TorchOp(op=tokens.Attention, make=_attention, roles={SelfAttention: "other"}, aten=_PARTS, onnx=_PARTS),
)  # fmt: skip
