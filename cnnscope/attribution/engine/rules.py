"""The engine of every method that changes what flows back through a network.

A *rule* says for one module what reaches its inputs: ``rule(module, inputs, incoming) -> one tensor an input``. The
forward pass stays what it is. Gradients, DeepLift's multipliers and LRP's relevance all travel this way, so a method is
a choice of a rule for each module (`with_rules`); modules without one pass gradients on as torch does. Unlike hooks,
rules do not depend on the order in which torch calls them, and leave nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

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
    """A module with its own forward pass and a rule for the way back."""

    def __init__(self, module: nn.Module, rule: Rule) -> None:
        super().__init__()
        self.module, self.rule = module, rule

    def forward(self, *x: Tensor) -> Tensor:
        result: Tensor = _Ruled.apply(self.module, self.rule, *x)  # type: ignore[no-untyped-call]  # torch's own
        return result


def with_rules(network: fx.GraphModule, choose: Callable[[fx.Node, nn.Module], Rule | None]) -> fx.GraphModule:
    """A canonical network with a rule wherever ``choose`` gives one. Weights are shared; ``network`` stays as it is."""
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
    """What torch's gradient gives each input of ``module`` for ``incoming`` at its output."""
    with torch.enable_grad():
        x = [value.detach().requires_grad_() for value in inputs]
        grads = torch.autograd.grad(module(*x), x, incoming, allow_unused=True)
    return tuple(torch.zeros_like(v) if g is None else g for v, g in zip(x, grads, strict=True))


def score_gradient(network: nn.Module, x: Tensor, target: int) -> Tensor:
    """The gradient of class ``target``'s score at each of ``x`` (N, C, H, W), or what the rules make of it."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        scores = network(x).flatten(1)[:, target]
        (found,) = torch.autograd.grad(scores.sum(), x, allow_unused=True, materialize_grads=True)
    return found.detach()
