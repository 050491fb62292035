"""Layer-wise relevance propagation (Bach et al. 2015) with a composite of rules, for networks with normalisation and
residual connections (Montavon et al. 2019; "epsilon plus" of Kohlbrenner et al. 2020).

captum's LRP stops at flattening, ReLU6 and residual sums, for which it has no rules. So the rules here are our own.

Relevance starts as the score of one class. Every module passes the relevance of its outputs to its inputs in proportion
to the contributions c_ij of input i to output j:

- convolutions, sums of branches, averages: only the contributions with the sign of the output count,
  R_i = sum over j of c_ij / (sum over i of c_ij) * R_j. Where outputs are positive, as with ReLU, this is the z+ rule
  (Bach et al. 2015, eq. 60 with alpha 1); in general it is the gamma rule for signed outputs with infinite gamma
  (Andeol et al. 2021). Biases receive nothing, so relevance is conserved. Under the epsilon rule a residual sum would
  grow without bound where its branches cancel.
- linear layers: the epsilon rule, R_i = sum over j of c_ij / (z_j + EPSILON * sign(z_j)) * R_j (eq. 58); biases keep
  their share.
- batch norm after a convolution counts as part of the convolution: the contributions with the sign of the norm's output
  count. Elsewhere norms and activations pass relevance on unchanged (one input, one output).
- max pooling passes relevance to the largest value, concatenation and moves pass each value its own.
- gates (squeeze-excite): the signal receives everything, the gate nothing (Arras et al. 2017, section 3.1).

Networks with other modules are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.canonicalize import layer_of
from cnnscope.attribution.engine.rules import (
    Rule,
    Tensors,
    function_calls,
    gradient,
    is_move,
    kind_name,
    score_gradient,
    varying,
    with_rules,
)
from cnnscope.errors import CnnscopeError
from cnnscope.nn.ops import is_gate, role_of

EPSILON = 1e-6
"""The epsilon rule's stabiliser, as a share of the root mean square of the layer's outputs."""


def lrp(question: Question) -> Found:
    """Relevance of the pixels; conservation is measured: the values should add up to the score."""
    score = float(question.scores(question.x))
    raw = relevance(question.canonical, question.x, question.target)[0]
    return Found(raw, score, ("z+ rule in convolutions, sums and averages, epsilon rule in linear layers",))


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
        return passed  # the divisor counts as a constant
    raise _refused(kind_name(module), layer_of(node))


def passed(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """Passes all relevance from the one output to the one input."""
    return (incoming,)


def only_to(takes: Sequence[bool]) -> Rule:
    """Passes all relevance to the one input that ``takes`` marks: to the signal, not to its gate or to a weight."""

    def rule(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
        return [incoming if one else torch.zeros_like(x) for x, one in zip(inputs, takes, strict=True)]

    return rule


def epsilon(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """The epsilon rule for linear layers."""
    (x,) = inputs
    z = module(x)
    stabiliser = EPSILON * z.square().mean().sqrt() + torch.finfo(z.dtype).tiny
    (found,) = gradient(module, [x], incoming / (z + torch.where(z < 0, -stabiliser, stabiliser)))
    return (x * found,)


def like_signed(norm: nn.Module | None) -> Rule:
    """Shares relevance among contributions of the output's sign, for a convolution and the batch ``norm`` after it."""

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
    """As `like_signed`, for sums and averages, which have no negative weights."""
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
    """above / below, 0 where nothing contributed."""
    return torch.where(below == 0, 0, above / torch.where(below == 0, 1, below))


def _back(conv: nn.Module, x: Tensor, share: Tensor) -> Tensor:
    return gradient(conv, [x], share)[0]


def _weighted(conv: nn.Module, weight: Tensor) -> nn.Module:
    """A copy of the convolution with another weight and no bias."""
    other = copy.copy(conv)
    other._parameters = {"weight": nn.Parameter(weight.detach(), requires_grad=False), "bias": None}
    return other


def _norm_after(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The batch norm that reads this convolution, if nothing else reads it."""
    (user, *others) = node.users
    if others or user.op != "call_module":
        return None
    norm = network.get_submodule(str(user.target))
    return norm if isinstance(norm, nn.modules.batchnorm._BatchNorm) and role_of(norm) == "scale" else None


def _gated(network: fx.GraphModule, node: fx.Node) -> Rule:
    """Passes all relevance of a product to the factor that is no gate; E480 where two factors are no gates."""
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


LRP = Method("LRP", "relevance", True, lrp, "Bach et al. 2015")
