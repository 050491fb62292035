"""Calls of functions in a network, as rules of attribution see them. `cnnscope.nn.ops.role_of` is for modules."""

from __future__ import annotations

import operator

import torch
from torch import fx, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

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


def kind_name(module: nn.Module) -> str:
    """What a module is called in messages: its class, or the function it calls."""
    function = getattr(module, "function", None)
    return type(module).__name__ if function is None else str(getattr(function, "__name__", function))


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
