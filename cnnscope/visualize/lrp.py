"""Layer-wise relevance propagation (Bach et al. 2015) with a composite of rules (Montavon et al. 2019; Kohlbrenner et al.
2020, "epsilon plus"), for networks with normalisation and residual connections.

Relevance starts as the score of one class. Every module hands what its outputs have to its inputs in proportion to
their contributions c_ij, an input's part in an output:

- convolutions, sums of branches, averages: z+, R_i = sum over j of c_ij+ / (sum over i of c_ij+) * R_j, where c+ is
  max(0, c) (Bach et al. 2015, eq. 60 with alpha 1). Biases get nothing, so relevance is conserved; and a residual sum cannot
  blow up where its branches cancel, as it does under the epsilon rule.
- linear layers: epsilon, R_i = sum over j of c_ij / (z_j + EPSILON * sign(z_j)) * R_j (eq. 58); biases keep their part.
- batch norm after a convolution counts as part of it: a negative factor turns the signs of contributions. Otherwise,
  and for activations, relevance passes as it is (one input, one output).
- max pooling: to the largest. Concatenation and moving: each its own.
- gates (squeeze-excite): all to the signal, none to the gate (Arras et al. 2017, section 3.1).

Other modules are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from cnnscope.errors import CnnscopeError
from cnnscope.visualize.canonicalize import layer_of
from cnnscope.visualize.roles import GATE, function_calls, is_move, role
from cnnscope.visualize.rules import Rule, Tensors, gradient, score_gradient, with_rules

EPSILON = 1e-6
"""Of the root mean square of the layer's outputs."""


def relevance(network: fx.GraphModule, x: Tensor, target: int) -> Tensor:
    """(N, C, H, W) relevance for images ``x`` of a canonical network's class ``target``; E480 for modules without a rule."""
    for node in function_calls(network):
        if not is_move(node):
            raise _refused(getattr(node.target, "__name__", str(node.target)), layer_of(node))
    ruled = with_rules(network, lambda node, module: _rule_for(network, node, module))
    with torch.no_grad():
        score = network(x).flatten(1)[:, target]
    return score_gradient(ruled, x, target) * score.view(-1, 1, 1, 1)


def _rule_for(network: fx.GraphModule, node: fx.Node, module: nn.Module) -> Rule | None:
    kind = role(module)
    if isinstance(module, nn.Linear):
        return epsilon
    if kind == "conv":
        return positive(_norm_sign(network, node))
    if kind == "move":
        return None
    if kind == "product":
        return _gated(network, node)
    if kind in RULES:
        return RULES[kind]
    last = node.next.op == "output"
    if isinstance(module, nn.LocalResponseNorm) or (last and isinstance(module, (nn.Softmax, nn.LogSoftmax))):
        return passed  # what it divides by counts as a constant
    raise _refused(type(module).__name__, layer_of(node))


def passed(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """One input, one output: all of it."""
    return (incoming,)


def epsilon(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    (x,) = inputs
    z = module(x)
    stabiliser = EPSILON * z.square().mean().sqrt() + torch.finfo(z.dtype).tiny
    (found,) = gradient(module, [x], incoming / (z + torch.where(z < 0, -stabiliser, stabiliser)))
    return (x * found,)


def positive(sign: Tensor | None) -> Rule:
    """z+ for a convolution; ``sign`` (K,) turns the contributions to each output channel."""

    def rule(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
        (x,) = inputs
        weight: Tensor = module.weight if sign is None else _turned(module, sign)  # type: ignore[assignment]  # a conv's
        parts = [(x.clamp(min=0), _weighted(module, weight.clamp(min=0))),
                 (x.clamp(max=0), _weighted(module, weight.clamp(max=0)))]  # fmt: skip
        share = _quotient(incoming, sum(conv(part) for part, conv in parts))  # type: ignore[arg-type]  # two tensors
        return (sum(part * gradient(conv, [part], share)[0] for part, conv in parts),)  # type: ignore[return-value]

    return rule


def positive_sum(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """z+ for sums and averages, whose weights are not negative."""
    parts = [x.clamp(min=0) for x in inputs]
    found = gradient(module, parts, _quotient(incoming, module(*parts)))
    return [part * share for part, share in zip(parts, found, strict=True)]


RULES: dict[str, Rule] = {
    "scale": passed, "activation": passed, "average": positive_sum, "add": positive_sum,
    "max": lambda module, inputs, incoming: gradient(module, inputs, incoming),
}  # fmt: skip


def _quotient(above: Tensor, below: Tensor) -> Tensor:
    """0 where nothing contributed."""
    return torch.where(below > 0, above / torch.where(below > 0, below, 1), 0)


def _weighted(conv: nn.Module, weight: Tensor) -> nn.Module:
    """The convolution with another weight and no bias."""
    other = copy.copy(conv)
    other._parameters = {"weight": nn.Parameter(weight.detach(), requires_grad=False), "bias": None}
    return other


def _norm_sign(network: fx.GraphModule, node: fx.Node) -> Tensor | None:
    """The signs of the factors of a batch norm that alone reads this convolution."""
    (user, *others) = node.users
    if others or user.op != "call_module":
        return None
    norm = network.get_submodule(str(user.target))
    if role(norm) != "scale" or getattr(norm, "weight", None) is None:
        return None
    return torch.where(norm.weight.detach() < 0, -1.0, 1.0)  # type: ignore[operator]  # a batch norm's


def _turned(conv: nn.Module, sign: Tensor) -> Tensor:
    weight: Tensor = conv.weight  # type: ignore[assignment]  # a convolution's
    if getattr(conv, "transposed", False):
        grouped = weight.unflatten(0, (conv.groups, -1))  # type: ignore[arg-type]  # (groups, in, out, ...)
        factor = sign.to(weight).view(grouped.shape[0], 1, grouped.shape[2], *(1,) * (grouped.ndim - 3))
        return (grouped * factor).flatten(0, 1)
    return weight * sign.to(weight).view(-1, *(1,) * (weight.ndim - 1))


def _gated(network: fx.GraphModule, node: fx.Node) -> Rule:
    """All relevance of a product to the factor that is no gate."""
    gates = [_is_gate(network, factor) for factor in node.all_input_nodes]
    if sum(gates) != len(gates) - 1:
        raise _refused("product", layer_of(node), "both factors are signals")

    def rule(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
        return [torch.zeros_like(x) if gate else incoming for x, gate in zip(inputs, gates, strict=True)]

    return rule


def _is_gate(network: fx.GraphModule, node: fx.Node) -> bool:
    while node.op == "call_module":
        module = network.get_submodule(str(node.target))
        if isinstance(module, GATE):
            return True
        if role(module) != "move":
            return False
        node = node.all_input_nodes[0]
    return False


def _refused(what: str, where: str, why: str = "it has no rule that conserves relevance") -> CnnscopeError:
    return CnnscopeError.of("E480", f"`lrp` cannot take the {what} at `{where}`: {why}",
                            hint="`deeplift` and `integrated-gradients` can")  # fmt: skip
