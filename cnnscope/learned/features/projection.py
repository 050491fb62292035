"""What in an image a unit answers to: its activation sent back to the pixels, gradients passing activations in part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from cnnscope.attribution.engine.canonicalize import canonicalize, up_to
from cnnscope.attribution.engine.rules import Rule, deconvolved, guided, with_rules
from cnnscope.errors import CnnscopeError
from cnnscope.nn.ops import role_of

RULES: dict[str, Rule] = {"deconvolution": deconvolved, "guided backpropagation": guided}
"""Zeiler & Fergus 2014, section 2.1; Springenberg et al. 2015, section 3.4."""


def activations(network: fx.GraphModule) -> tuple[str, ...]:
    """The kinds of activations in a canonical network, which the rules act on."""
    modules = (network.get_submodule(str(node.target)) for node in network.graph.nodes if node.op == "call_module")
    return tuple(sorted({type(module).__name__ for module in modules if role_of(module) == "activation"}))


def project(
    network: fx.GraphModule,
    order: Sequence[int] | None,
    x: Tensor,
    channel: int,
    places: Sequence[tuple[int, int]],
    rule: Rule,
) -> Tensor:
    """(N, C, H, W) one unit's activation an image, sent back to the pixels with ``rule`` at every activation.

    All other activations of the layer count as 0, and so does one that is not above 0.

    ``network`` is canonical and ends with the layer (`up_to`); ``order`` brings its output to (N, channels, height,
    width), None where it is (N, channels). The unit of image n is ``channel`` at ``places[n]``, row and column. Max
    pools send everything to where the maximum was: the switches of Zeiler & Fergus.
    """
    ruled = with_rules(network, lambda node, module: rule if role_of(module) == "activation" else None)
    rows, columns = (torch.tensor(side, device=x.device) for side in zip(*places, strict=True))
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        output = ruled(x)
        maps = output[:, :, None, None] if order is None else output.permute(*order)
        units = maps[torch.arange(len(x), device=x.device), channel, rows, columns]
        (found,) = torch.autograd.grad(
            (units * units.detach().clamp(min=0)).sum(), x, allow_unused=True, materialize_grads=True
        )
    return found.detach()


def canonical_up_to(module: Any, layer: str) -> fx.GraphModule | str:
    """The network up to a layer in the form that rules need, or why there is none."""
    try:
        return up_to(canonicalize(module), layer)
    except CnnscopeError as error:
        return error.diagnostics[0].message
