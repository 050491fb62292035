"""The engine of every method that changes what flows back through a network.

A *rule* computes for one module what its inputs receive: ``rule(module, inputs, incoming)`` returns a tensor for each
input. The forward pass does not change. Gradients, DeepLift's multipliers and LRP's relevance all flow back in this
way, so a method chooses a rule for each module (`with_rules`); modules without a rule pass gradients on as torch does.
Unlike hooks, rules do not depend on the order in which torch calls them, and nothing remains on the network.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.attribution.engine.canonicalize import tensor_at

Tensors = tuple[Tensor, ...]
Rule = Callable[[nn.Module, Tensors, Tensor], Sequence[Tensor]]


class _Ruled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, module: nn.Module, rule: Rule, *x: Tensor) -> Tensor:
        ctx.module, ctx.rule = module, rule
        ctx.save_for_backward(*x)
        result: Tensor = module(*x)
        return result

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> Any:
        return (None, None, *ctx.rule(ctx.module, ctx.saved_tensors, incoming[0]))


class Ruled(nn.Module):
    """A module with its own forward pass and a rule for the backward pass."""

    def __init__(self, module: nn.Module, rule: Rule) -> None:
        super().__init__()
        self.module, self.rule = module, rule

    def forward(self, *x: Tensor) -> Tensor:
        result: Tensor = _Ruled.apply(self.module, self.rule, *x)  # type: ignore[no-untyped-call]  # torch's own
        return result


def with_rules(network: fx.GraphModule, choose: Callable[[fx.Node, nn.Module], Rule | None]) -> fx.GraphModule:
    """A copy of a canonical network with a rule wherever ``choose`` returns one. The weights are shared."""
    modules: dict[str, Any] = {}
    for node in network.graph.nodes:
        if node.op == "call_module":
            module = network.get_submodule(node.target)
            rule = choose(node, module)
            modules[node.target] = module if rule is None else Ruled(module, rule)
        elif node.op == "get_attr":
            modules[node.target] = tensor_at(network, node.target)
    return fx.GraphModule(modules, network.graph).eval()


def gradient(module: nn.Module, inputs: Sequence[Tensor], incoming: Tensor) -> Tensors:
    """The gradient at each input of ``module`` for the gradient ``incoming`` at its output."""
    with torch.enable_grad():
        x = [value.detach().requires_grad_() for value in inputs]
        grads = torch.autograd.grad(module(*x), x, incoming, allow_unused=True)
    return tuple(torch.zeros_like(v) if g is None else g for v, g in zip(x, grads, strict=True))


def score_gradient(network: nn.Module, x: Tensor, target: int) -> Tensor:
    """The gradient of class ``target``'s score at each image of ``x`` (N, C, H, W), computed by captum.

    For a network with rules it is whatever the rules let through.
    """
    from captum.attr import Saliency

    found: Tensor = Saliency(lambda images: network(images).flatten(1)).attribute(
        x.detach().requires_grad_(), target=target, abs=False
    )
    return found.detach()


def guided(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """max(0, f'(x) * max(0, g)): for ReLU, g where g > 0 and x > 0 (Springenberg et al. 2015, figure 1c).

    Defined for ReLU; on other activations the derivative f' takes the place of ReLU's step.
    """
    (found,) = gradient(module, inputs, incoming.clamp(min=0))
    return (found.clamp(min=0),)


def deconvolved(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """max(0, g), whatever the input of the activation was (Zeiler and Fergus 2014, section 2.1)."""
    return (incoming.clamp(min=0),)


# -- calls of functions, which have no rules ---------------------------------------------------------------------------

MOVES = frozenset({
    torch.flatten, torch.cat, torch.concat, torch.stack, torch.permute, torch.transpose, torch.reshape, torch.chunk,
    torch.split, torch.squeeze, torch.unsqueeze, torch.roll, torch.flip, torch.select, torch.narrow, operator.getitem,
    operator.floordiv, getattr, F.pad, F.dropout, F.pixel_shuffle,
    "view", "reshape", "flatten", "permute", "transpose", "contiguous", "size", "chunk", "split", "squeeze",
    "unsqueeze", "clone", "to", "float", "type_as", "unflatten", "dim", "roll",
})  # fmt: skip
"""Functions and methods that move values or compute sizes."""
LINEAR = MOVES | {torch.sum, torch.sub, operator.sub, operator.neg, F.interpolate, F.conv2d, F.linear, "sum", "expand",
                  "expand_as", "repeat", "sub"}  # fmt: skip
MIXED_FUNCTIONS = frozenset({
    operator.add, operator.mul, operator.truediv, torch.add, torch.mul, torch.div, "add", "mul", "div",
})  # fmt: skip
"""Linear where only one of the operands is no weight."""


def kind_name(module: nn.Module) -> str:
    """A module's name in messages: its class, or the function it calls."""
    function = getattr(module, "function", None)
    return type(module).__name__ if function is None else str(getattr(function, "__name__", function))


def is_move(node: fx.Node) -> bool:
    """Whether a call of a function or method passes values on unchanged."""
    return node.target in MOVES or getattr(node.target, "__name__", "") == "stochastic_depth"  # torchvision's, in eval


def is_linear(node: fx.Node) -> bool:
    """Whether a call of a function or method is linear in the image, except for a constant."""
    return is_move(node) or node.target in LINEAR or (node.target in MIXED_FUNCTIONS and _one_factor(node))


def function_calls(network: fx.GraphModule) -> list[fx.Node]:
    """The calls of functions and methods."""
    return [node for node in network.graph.nodes if node.op in ("call_function", "call_method")]


def _one_factor(node: fx.Node) -> bool:
    return sum(argument.op != "get_attr" for argument in node.all_input_nodes) <= 1


def varying(network: fx.GraphModule) -> set[fx.Node]:
    """The values that depend on the image; the others are computed from weights alone."""
    found: set[fx.Node] = set()
    for node in network.graph.nodes:
        if node.op == "placeholder" or any(value in found for value in node.all_input_nodes):
            found.add(node)
    return found
