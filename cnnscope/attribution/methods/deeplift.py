"""DeepLift: the difference between a score and the baseline's score, split over the pixels (Shrikumar et al. 2017).

captum's DeepLift has no rule for products, hard sigmoids and hard swishes, and is wrong where pooling windows overlap;
so the rules here are our own. A batch has the images and then their baselines. Multipliers m flow back through the
images' half, with

    sum over a module's inputs of m_in * (x - x0) = sum over its outputs of m_out * (y - y0)

so that attributions m * (x - x0) add up to the difference of the scores. Each rule satisfies this equation by itself:

- activations: m_in = m_out * (y - y0) / (x - x0), the Rescale rule (section 3.5.1); the slope between them where the
  inputs agree.
- max pooling: the part of a difference that comes from the image's maximum is assigned to it, the rest to the
  baseline's maximum. Overlapping windows add up.
- anything else that is not linear (products, normalisation over a layer, softmax): the gradient averaged along the
  straight line between the two inputs of that module (Aumann and Shapley 1974; integrated gradients do the same for the
  whole network). For a product of two it is m_a = m * (b + b0) / 2.
- linear modules: the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, fx, nn

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.canonicalize import layer_of
from cnnscope.attribution.engine.rules import (
    Rule,
    Tensors,
    function_calls,
    gradient,
    is_linear,
    kind_name,
    varying,
    with_rules,
)
from cnnscope.errors import CnnscopeError
from cnnscope.nn.ops import role_of

POINTS, MOST_POINTS = 24, 384
"""Gauss-Legendre points on the line between two inputs: n points are exact up to degree 2n - 1. They are doubled until
the values add up to the difference of the outputs: on nearly constant maps a norm needs many points."""


def deeplift(question: Question) -> Found:
    """Multipliers times the difference from the baseline; E480 where the network has a function without a rule."""
    network = question.canonical
    strange = [node for node in function_calls(network) if not is_linear(node)]
    if strange:
        name = getattr(strange[0].target, "__name__", str(strange[0].target))
        raise CnnscopeError.of(
            "E480", f"`deeplift` has no rule for the function `{name}`, called at `{layer_of(strange[0])}`",
            hint="`integrated-gradients` promises the same sum and needs no rules",
        )  # fmt: skip
    m = multipliers(network, question.x, question.baseline, question.target)
    averaged = on_a_line(network)
    notes = (f"gradients averaged on a line in {', '.join(averaged)}",) if averaged else ()
    return Found((m * (question.x - question.baseline))[0], question.difference, notes)


def multipliers(network: fx.GraphModule, x: Tensor, baseline: Tensor, target: int) -> Tensor:
    """(N, C, H, W) multipliers of a canonical network for images ``x`` against ``baseline``, both (N, C, H, W)."""
    image = varying(network)
    ruled = with_rules(network, lambda node, module: rule_for(module, [arg in image for arg in node.all_input_nodes]))
    pair = torch.cat([x, baseline.expand_as(x)]).detach().requires_grad_()
    with torch.enable_grad():
        scores = ruled(pair).flatten(1)[: len(x), target]
        (found,) = torch.autograd.grad(scores.sum(), pair, allow_unused=True, materialize_grads=True)
    return found[: len(x)].detach()


def rule_for(module: nn.Module, varies: Sequence[bool] = (True,)) -> Rule | None:
    """The rule of a module; None where the gradient is right. ``varies`` marks the inputs that depend on the image."""
    kind = role_of(module)
    if not any(varies) or (kind in ("product", "bilinear") and sum(varies) == 1):
        return None
    if kind in ("product", "bilinear", "other"):
        return partial(along_line, varies=varies)
    return {"activation": rescale, "max": largest}.get(kind)


def on_a_line(network: fx.GraphModule) -> list[str]:
    """The kinds of modules that `along_line` approximates; for products, which are left out, it is exact."""
    image = varying(network)
    calls = (node for node in network.graph.nodes if node.op == "call_module" and node in image)
    modules = (network.get_submodule(str(node.target)) for node in calls)
    return sorted({kind_name(module) for module in modules if role_of(module) == "other"})


def rescale(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """The slope of the secant; where the two inputs agree, of the tangent half-way between them."""
    ((x, x0),) = _pairs(inputs)
    m = incoming[: len(x)]
    dx, dy = x - x0, module(x) - module(x0)
    near = dx.abs() <= torch.finfo(x.dtype).eps ** 0.75 * torch.maximum(x.abs(), x0.abs()).clamp(min=1)
    (tangent,) = gradient(module, [(x + x0) / 2], torch.ones_like(dy))
    slope = torch.where(near, tangent, dy / torch.where(near, 1, dx))
    return (_for_images(m * slope),)


def along_line(
    module: nn.Module, inputs: Tensors, incoming: Tensor, varies: Sequence[bool] = (True,)
) -> Sequence[Tensor]:
    """The gradient averaged on the line from the baselines' inputs to the images'; other inputs stay fixed."""
    halves = iter(_pairs([x for x, one in zip(inputs, varies, strict=True) if one]))
    pairs = [next(halves) if one else (x, x) for x, one in zip(inputs, varies, strict=True)]
    m = incoming[: len(incoming) // 2]
    images, baselines = zip(*pairs, strict=True)
    promised = float((m * (module(*images) - module(*baselines))).sum())
    points = POINTS
    while True:
        found = _mean_gradient(module, pairs, m, points)
        parts = [part * (x - x0) for part, (x, x0) in zip(found, pairs, strict=True)]
        scale = sum(float(part.abs().sum()) for part in parts)
        off = abs(sum(float(part.sum()) for part in parts) - promised)
        if off <= torch.finfo(m.dtype).eps ** 0.75 * scale or 2 * points > MOST_POINTS:
            return [_for_images(part) if one else part for part, one in zip(found, varies, strict=True)]
        points *= 2


def _mean_gradient(module: nn.Module, pairs: Sequence[tuple[Tensor, Tensor]], m: Tensor, points: int) -> list[Tensor]:
    places, weights = np.polynomial.legendre.leggauss(points)
    total = [torch.zeros_like(x) for x, _ in pairs]
    for t, weight in zip((places + 1) / 2, weights / 2, strict=True):
        found = gradient(module, [x0 + float(t) * (x - x0) for x, x0 in pairs], m)
        total = [sum_ + float(weight) * part for sum_, part in zip(total, found, strict=True)]
    return total


def largest(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """Assigns max(y, y0) - y0 to the image's maximum and y - max(y, y0) to the baseline's; y and y0 are the maxima.

    The first is positive only where y > y0, and there the image exceeds the baseline at the same place by at least that
    much; likewise for the second. So neither quotient divides by 0.
    """
    ((x, x0),) = _pairs(inputs)
    m = incoming[: len(x)]
    y, y0 = module(x), module(x0)
    top = torch.maximum(y, y0)
    (to_image,) = gradient(module, [x], m * (top - y0))
    (to_baseline,) = gradient(module, [x0], m * (y - top))
    dx = x - x0
    return (_for_images((to_image + to_baseline) / torch.where(dx == 0, 1, dx)),)


def _pairs(inputs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(x[: len(x) // 2], x[len(x) // 2 :]) for x in inputs]


def _for_images(multiplier: Tensor) -> Tensor:
    """A batch with these multipliers in the images' half and 0 in the baselines'."""
    return torch.cat([multiplier, torch.zeros_like(multiplier)])


DEEPLIFT = Method(
    title="DeepLift", family="share", signed=True, run=deeplift, source="Shrikumar et al. 2017", takes=("baseline",)
)
