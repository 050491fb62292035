"""Layer-wise relevance propagation (Bach et al. 2015) with a composite of rules, for networks with normalisation and
residual connections (Montavon et al. 2019; "epsilon plus" of Kohlbrenner et al. 2020).

Relevance starts as the score of one class. Every module hands what its outputs have to its inputs in proportion to
their contributions c_ij, an input's part in an output:

- convolutions, sums of branches, averages: the contributions that have the sign of the output share it,
  R_i = sum over j of c_ij / (sum over i of c_ij) * R_j with the others left out. Where outputs are positive, as with
  ReLU, that is the z+ rule (Bach et al. 2015, eq. 60 with alpha 1); in general it is the gamma rule for signed outputs
  with infinite gamma (Andeol et al. 2021). Biases get nothing, so relevance is conserved; and a residual sum cannot
  blow up where its branches cancel, as it does under the epsilon rule.
- linear layers: epsilon, R_i = sum over j of c_ij / (z_j + EPSILON * sign(z_j)) * R_j (eq. 58); biases keep their part.
- batch norm after a convolution counts as part of it: contributions have the sign of its output. Otherwise, and for
  activations, relevance passes as it is (one input, one output).
- max pooling: to the largest. Concatenation and moving: each its own.
- gates (squeeze-excite): all to the signal, none to the gate (Arras et al. 2017, section 3.1).

Other modules are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from cnnscope.attribution.engine.canonicalize import layer_of
from cnnscope.attribution.engine.roles import function_calls, is_move, kind_name, varying
from cnnscope.attribution.engine.rules import Rule, Tensors, gradient, score_gradient, with_rules
from cnnscope.errors import CnnscopeError
from cnnscope.nn.ops import is_gate, role_of

EPSILON = 1e-6
"""Of the root mean square of the layer's outputs."""


def relevance(network: fx.GraphModule, x: Tensor, target: int) -> Tensor:
    """(N, C, H, W) relevance of images ``x`` for class ``target`` of a canonical network; E480 without a rule."""
    for node in function_calls(network):
        if not is_move(node):
            raise _refused(getattr(node.target, "__name__", str(node.target)), layer_of(node))
    image = varying(network)
    ruled = with_rules(network, lambda node, module: _rule_for(network, node, module, image))
    with torch.no_grad():
        score = network(x).flatten(1)[:, target]
        result: Tensor = score_gradient(ruled, x, target) * score.view(-1, 1, 1, 1)
    return result


def _rule_for(network: fx.GraphModule, node: fx.Node, module: nn.Module, image: set[fx.Node]) -> Rule | None:
    kind = role_of(module)
    varies = [value in image for value in node.all_input_nodes]
    if not any(varies):
        return None
    if kind in ("product", "add") and sum(varies) == 1:
        return only_to(varies)
    if isinstance(module, nn.Linear):
        return epsilon
    if kind == "conv":
        return like_signed(_norm_after(network, node))
    if kind == "move":
        return None
    if kind == "product":
        return _gated(network, node)
    if kind in RULES:
        return RULES[kind]
    last = node.next.op == "output"
    if isinstance(module, nn.LocalResponseNorm) or (last and isinstance(module, (nn.Softmax, nn.LogSoftmax))):
        return passed  # what it divides by counts as a constant
    raise _refused(kind_name(module), layer_of(node))


def passed(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """One input, one output: all of it."""
    return (incoming,)


def only_to(takes: Sequence[bool]) -> Rule:
    """All of it to the one input that ``takes`` it: a signal, not its gate; what the image makes, not a weight."""

    def rule(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
        return [incoming if one else torch.zeros_like(x) for x, one in zip(inputs, takes, strict=True)]

    return rule


def epsilon(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    (x,) = inputs
    z = module(x)
    stabiliser = EPSILON * z.square().mean().sqrt() + torch.finfo(z.dtype).tiny
    (found,) = gradient(module, [x], incoming / (z + torch.where(z < 0, -stabiliser, stabiliser)))
    return (x * found,)


def like_signed(norm: nn.Module | None) -> Rule:
    """The contributions of the output's sign, for a convolution and the batch ``norm`` that follows."""

    def rule(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
        (x,) = inputs
        positive = module(x) >= 0
        if norm is not None:
            factor = norm(torch.ones_like(incoming)) - norm(torch.zeros_like(incoming))
            positive = (norm(module(x)) >= 0) == (factor >= 0)
        weight: Tensor = module.weight  # type: ignore[assignment]  # a convolution's
        up, down = _weighted(module, weight.clamp(min=0)), _weighted(module, weight.clamp(max=0))
        high, low = x.clamp(min=0), x.clamp(max=0)
        for_positive = _quotient(incoming * positive, up(high) + down(low))
        for_negative = _quotient(incoming * ~positive, down(high) + up(low))
        to_high = _back(up, high, for_positive) + _back(down, high, for_negative)
        to_low = _back(down, low, for_positive) + _back(up, low, for_negative)
        return (high * to_high + low * to_low,)

    return rule


def like_signed_sum(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """The same for sums and averages, whose weights are not negative."""
    positive = module(*inputs) >= 0
    result = [torch.zeros_like(x) for x in inputs]
    for chosen, limit in ((positive, {"min": 0}), (~positive, {"max": 0})):
        parts = [x.clamp(**limit) for x in inputs]
        found = gradient(module, parts, _quotient(incoming * chosen, module(*parts)))
        result = [sum_ + part * share for sum_, part, share in zip(result, parts, found, strict=True)]
    return result


RULES: dict[str, Rule] = {
    "scale": passed, "activation": passed, "average": like_signed_sum, "add": like_signed_sum,
    "max": lambda module, inputs, incoming: gradient(module, inputs, incoming),
}  # fmt: skip


def _quotient(above: Tensor, below: Tensor) -> Tensor:
    """0 where nothing contributed."""
    return torch.where(below == 0, 0, above / torch.where(below == 0, 1, below))


def _back(conv: nn.Module, x: Tensor, share: Tensor) -> Tensor:
    return gradient(conv, [x], share)[0]


def _weighted(conv: nn.Module, weight: Tensor) -> nn.Module:
    """The convolution with another weight and no bias."""
    other = copy.copy(conv)
    other._parameters = {"weight": nn.Parameter(weight.detach(), requires_grad=False), "bias": None}
    return other


def _norm_after(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The batch norm that alone reads this convolution."""
    (user, *others) = node.users
    if others or user.op != "call_module":
        return None
    norm = network.get_submodule(str(user.target))
    return norm if isinstance(norm, nn.modules.batchnorm._BatchNorm) and role_of(norm) == "scale" else None


def _gated(network: fx.GraphModule, node: fx.Node) -> Rule:
    """All relevance of a product to the factor that is no gate."""
    gates = [_is_gate(network, factor) for factor in node.all_input_nodes]
    if sum(gates) != len(gates) - 1:
        raise _refused("product", layer_of(node), "both factors are signals")

    return only_to([not gate for gate in gates])


def _is_gate(network: fx.GraphModule, node: fx.Node) -> bool:
    while node.op == "call_module":
        module = network.get_submodule(str(node.target))
        if is_gate(module):
            return True
        if role_of(module) != "move":
            return False
        node = node.all_input_nodes[0]
    return False


def _refused(what: str, where: str, why: str = "it has no rule that conserves relevance") -> CnnscopeError:
    return CnnscopeError.of("E480", f"`lrp` cannot take the {what} at `{where}`: {why}",
                            hint="`deeplift` and `integrated-gradients` can")  # fmt: skip
