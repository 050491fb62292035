"""Gradients that activations pass only in part: guided backpropagation and deconvolution.

Both are defined for ReLU. Here they act on every activation of the network, ReLU6, SiLU and GELU among them, so that
on a network of those they are not the plain gradient under another name; which they are is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cnnscope.attribution.engine.rules import Rule, Tensors, gradient, score_gradient, with_rules
from cnnscope.nn.ops import role_of

if TYPE_CHECKING:
    from cnnscope.attribution.contract import Question


def guided(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """max(0, f'(x) * max(0, g)): for ReLU g where g > 0 and x > 0 (Springenberg et al. 2015, figure 1c)."""
    (found,) = gradient(module, inputs, incoming.clamp(min=0))
    return (found.clamp(min=0),)


def deconvolved(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """max(0, g): the rectifier of the way back, blind to the way forth (Zeiler and Fergus 2014, section 2.1)."""
    return (incoming.clamp(min=0),)


def rectified(question: Question, rule: Rule) -> tuple[Tensor, tuple[str, ...]]:
    """(C, H, W) what ``rule`` at every activation makes of the gradient, and what to know of it.

    Checked against the plain gradient: where no activation made a difference, a note says so.
    """
    network = question.canonical
    ruled = with_rules(network, lambda node, module: rule if role_of(module) == "activation" else None)
    raw = score_gradient(ruled, question.x, question.target)
    plain = score_gradient(question.module, question.x, question.target)
    modules = (network.get_submodule(node.target) for node in network.graph.nodes if node.op == "call_module")
    kinds = sorted({type(module).__name__ for module in modules if role_of(module) == "activation"})
    notes = []
    if not kinds:
        notes.append("this is the plain gradient: the network has no activations that the rule could act on")
    elif torch.allclose(raw, plain, rtol=1e-4, atol=1e-6 * float(plain.abs().max())):
        notes.append(f"this equals the plain gradient: the rule at {', '.join(kinds)} made no difference")
    others = [kind for kind in kinds if kind != "ReLU"]
    if others:
        notes.append(f"the rule for ReLU, applied to {', '.join(others)}")
    return raw[0], tuple(notes)
