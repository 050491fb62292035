"""DeepLift: how a score differs from the one at a baseline, split over the pixels (Shrikumar et al. 2017).

The batch is the images and then their baselines. What flows back through the images' half are multipliers m with

    sum over a module's inputs of m_in * (x - x0) = sum over its outputs of m_out * (y - y0)

so that attributions m * (x - x0) add up to the difference of the scores. That holds for each rule here by itself:

- activations: m_in = m_out * (y - y0) / (x - x0), the Rescale rule (section 3.5.1); the slope between them where the
  inputs agree.
- max pooling: the part of a difference that the image's maximum makes goes to it, the rest to the baseline's maximum.
  Windows that overlap add up.
- anything else that is not linear (products, normalisation over a layer, softmax): the gradient averaged along the
  straight line between the two inputs of that module (Aumann and Shapley 1974, as integrated gradients have it for the
  whole network). For a product of two it is m_a = m * (b + b0) / 2.
- linear modules: the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, fx, nn

from cnnscope.attribution.engine.roles import kind_name, varying
from cnnscope.attribution.engine.rules import Rule, Tensors, gradient, with_rules
from cnnscope.nn.ops import role_of

POINTS, MOST_POINTS = 24, 384
"""Places on the line between two inputs, as Gauss and Legendre have them: n are exact up to degree 2n - 1. They are
doubled while what they give does not add up to the difference of the outputs: a norm of a flat map bends sharply."""


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
    """The rule of a module; None where the gradient is right. ``varies``: which of its inputs depend on the image."""
    kind = role_of(module)
    if not any(varies) or (kind in ("product", "bilinear") and sum(varies) == 1):
        return None
    if kind in ("product", "bilinear", "other"):
        return partial(along_line, varies=varies)
    return {"activation": rescale, "max": largest}.get(kind)


def on_a_line(network: fx.GraphModule) -> list[str]:
    """What `along_line` is for, products apart, for which it is exact."""
    image = varying(network)
    calls = (node for node in network.graph.nodes if node.op == "call_module" and node in image)
    modules = (network.get_submodule(str(node.target)) for node in calls)
    return sorted({kind_name(module) for module in modules if role_of(module) == "other"})


def rescale(module: nn.Module, inputs: Tensors, incoming: Tensor) -> Sequence[Tensor]:
    """The slope of the secant, and where it has none the tangent half-way."""
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
    """The gradient averaged over the line from the baselines' inputs to the images'; weights stay where they are."""
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
    """With y and y0 the two maxima: max(y, y0) - y0 goes to the image's maximum, y - max(y, y0) to the baseline's.

    The first is more than 0 only where y > y0, and then the image's value there is above the baseline's at the same
    place, by at least that much; likewise the other. So neither quotient divides by 0.
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
    """The images' half of a batch, the baselines' half being 0."""
    return torch.cat([multiplier, torch.zeros_like(multiplier)])
