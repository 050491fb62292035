"""What a module does to its input, as far as rules of attribution care."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import fx, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from cnnscope.attribution.engine.canonicalize import Clone
from cnnscope.nn import functional, layers, traced
from cnnscope.nn.layers import Call

Role = Literal["conv", "scale", "average", "move", "add", "product", "bilinear", "activation", "max", "other"]
"""``conv``: linear with weights, ``scale``: linear within each channel, ``average``: linear without weights of its own,
``move``: values copied, moved or dropped, ``product``: of elements, ``bilinear``: of matrices, ``activation``: one
number to one number, ``max``: the largest of a window, ``other``: anything else."""

CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
SCALE = (layers.LayerScale,)
AVERAGE = (
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    layers.PaddedAvgPool, layers.BlurPool, nn.Upsample,
)  # fmt: skip
MOVE = (
    Clone, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, layers.StochasticDepth,
    nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.ZeroPad2d, nn.ReflectionPad2d,
    nn.ReplicationPad2d, nn.ConstantPad2d, layers.ClassToken, layers.Position,
)  # fmt: skip
ACTIVATION = (
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Sigmoid, nn.LogSigmoid, nn.Tanh,
    nn.Softplus, nn.Softsign, nn.Threshold,
)  # fmt: skip
MAX = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    layers.PaddedMaxPool,
)  # fmt: skip
GATE = (nn.Sigmoid, nn.Hardsigmoid, nn.Softmax)
"""What makes the factor of a product that only says how much of the other factor passes."""

CALLS: dict[Callable[..., Any], Role] = {
    functional.add: "add", torch.add: "add", functional.mul: "product", torch.mul: "product", torch.matmul: "bilinear",
    torch.abs: "activation", torch.mean: "average", torch.sum: "average", torch.amax: "max",
    **dict.fromkeys((functional.concat, functional.reshape, functional.take, functional.crop, functional.shuffle,
                     functional.pixel_shuffle, functional.pixel_unshuffle, functional.to_tokens, torch.permute,
                     torch.roll, torch.flip, torch.select, traced.chain, F.pad), "move"),
}  # fmt: skip
_TABLE: tuple[tuple[tuple[type[nn.Module], ...], Role], ...] = (
    (CONV, "conv"), (SCALE, "scale"), (AVERAGE, "average"), (MOVE, "move"), (ACTIVATION, "activation"), (MAX, "max"),
)  # fmt: skip

MOVES = frozenset({
    torch.flatten, torch.cat, torch.concat, torch.stack, torch.permute, torch.transpose, torch.reshape, torch.chunk,
    torch.split, torch.squeeze, torch.unsqueeze, torch.roll, torch.flip, torch.select, torch.narrow, operator.getitem,
    operator.floordiv, getattr, F.pad, F.dropout, F.pixel_shuffle,
    "view", "reshape", "flatten", "permute", "transpose", "contiguous", "size", "chunk", "split", "squeeze",
    "unsqueeze", "clone", "to", "float", "type_as", "unflatten", "dim", "roll",
})  # fmt: skip
"""Functions and methods that move values, or work out sizes."""
LINEAR = MOVES | {torch.sum, torch.sub, operator.sub, operator.neg, F.interpolate, F.conv2d, F.linear, "sum", "expand",
                  "expand_as", "repeat", "sub"}  # fmt: skip
MIXED_FUNCTIONS = frozenset({
    operator.add, operator.mul, operator.truediv, torch.add, torch.mul, torch.div, "add", "mul", "div",
})  # fmt: skip
"""Linear where only one of the factors depends on the image."""


def role(module: nn.Module) -> Role:
    """The role of a module of a canonical network, in eval mode."""
    if isinstance(module, Call):
        return CALLS.get(module.function, "other")
    if isinstance(module, _BatchNorm):
        return "scale" if _fixed(module) else "other"
    return next((found for classes, found in _TABLE if isinstance(module, classes)), "other")


def kind_name(module: nn.Module) -> str:
    """What a module is called in messages: its class, or the function it calls."""
    function = getattr(module, "function", None)
    return type(module).__name__ if function is None else str(getattr(function, "__name__", function))


def _fixed(norm: _NormBase) -> bool:
    """Whether a norm's statistics are stored, not taken from the batch at hand."""
    return not norm.training and norm.running_mean is not None


def is_move(node: fx.Node) -> bool:
    """Whether a call of a function or method hands values on as they are."""
    return node.target in MOVES or getattr(node.target, "__name__", "") == "stochastic_depth"  # torchvision's, in eval


def is_linear(node: fx.Node) -> bool:
    """Whether a call of a function or method is linear in the image, a constant apart."""
    return is_move(node) or node.target in LINEAR or (node.target in MIXED_FUNCTIONS and _one_factor(node))


def function_calls(network: fx.GraphModule) -> list[fx.Node]:
    """The calls that are of no module."""
    return [node for node in network.graph.nodes if node.op in ("call_function", "call_method")]


def _one_factor(node: fx.Node) -> bool:
    return sum(argument.op != "get_attr" for argument in node.all_input_nodes) <= 1


def varying(network: fx.GraphModule) -> set[fx.Node]:
    """The values that depend on the image; the others are weights, and what is made of weights alone."""
    found: set[fx.Node] = set()
    for node in network.graph.nodes:
        if node.op == "placeholder" or any(value in found for value in node.all_input_nodes):
            found.add(node)
    return found
