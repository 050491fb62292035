"""captum's methods of attribution against cnnscope's: are they equal, and what do they cost?

    python benchmarks/captum_methods.py [--methods NAME,...] [SOURCE ...]

A line for each network and method: the CPU time of captum divided by that of the peer (median of alternating pairs, one
thread), and the largest difference of the two maps, relative to the largest value, in float64. Where cnnscope uses
captum, the peer is the method written out in plain torch; elsewhere the peer is cnnscope's own engine. Exit code 1
where cnnscope uses captum, and captum costs more than `LIMIT` times the peer on the whole or differs by more than
rounding.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial

import torch
from captum import attr
from torch import Tensor

import cnnscope
from cnnscope.attribution.contract import Question
from cnnscope.attribution.methods import METHODS, perturbations
from cnnscope.attribution.methods.activation_maps import Watched, forward_shapes, grad_cam, last_map

LIMIT = 1.2
ROUNDING = 1e-12
RUNS = 9
LEAST = 0.3
"""Seconds of CPU time that the pairs of a line take at least, in up to `RUNS` pairs."""
NETWORKS = (
    "lenet5-digits", "torchvision:resnet18", "torchvision:alexnet", "torchvision:squeezenet1_1", "torchvision:vgg11_bn",
    "torchvision:googlenet", "torchvision:densenet121", "torchvision:mobilenet_v2", "torchvision:mobilenet_v3_small",
    "torchvision:efficientnet_b0", "timm:convnext_atto",
)  # fmt: skip

Pair = tuple[Callable[[], Tensor], Callable[[], Tensor]]
"""captum and its peer; both return (C, H, W), (1, H, W) or (H, W)."""


def pairs(asked: Question) -> dict[str, Pair]:
    """For each method captum and its peer."""
    x, target, zero, network = asked.x, asked.target, asked.baseline, asked.canonical
    side = perturbations.default_side(x)
    stride = max(side // 2, 1)
    window, strides = (x.shape[1], side, side), (x.shape[1], stride, stride)
    node = last_map(network, forward_shapes(network, x))

    def scores(images: Tensor) -> Tensor:
        return asked.module(images).flatten(1)

    def own(method: str) -> Tensor:
        return METHODS.find(method).run(asked).raw

    def gradient() -> Tensor:
        pixels = x.clone().requires_grad_()
        return torch.autograd.grad(scores(pixels)[0, target], pixels)[0][0]

    def plain_grad_cam() -> Tensor:
        maps, found = Watched(network, node).gradient(x, target)
        return (found.mean((1, 2), keepdim=True) * maps).sum(0).clamp(min=0)

    def noisy(kind: str) -> Tensor:
        torch.manual_seed(0)
        extent = float(x.max() - x.min())
        if kind == "smoothgrad":
            tunnel = attr.NoiseTunnel(attr.Saliency(scores))
            return tunnel.attribute(x, nt_samples=50, nt_samples_batch_size=16, stdevs=0.15 * extent, target=target,
                                    abs=False)[0]  # fmt: skip
        baselines = zero + 0.1 * extent * torch.randn(200, *x.shape[1:], dtype=x.dtype)
        return attr.GradientShap(scores).attribute(x, baselines, n_samples=200, target=target)[0].detach()

    return {
        "saliency": (partial(own, "saliency"), gradient),
        "input-x-gradient": (partial(own, "input-x-gradient"), lambda: x[0] * gradient()),
        "grad-cam": (lambda: grad_cam(Watched(network, node), x, target), plain_grad_cam),
        "smoothgrad": (partial(noisy, "smoothgrad"), partial(own, "smoothgrad")),
        "gradient-shap": (partial(noisy, "gradient-shap"), partial(own, "gradient-shap")),
        "guided-backprop": (lambda: attr.GuidedBackprop(network).attribute(x, target)[0].detach(),
                            partial(own, "guided-backprop")),
        "deconvolution": (lambda: attr.Deconvolution(network).attribute(x, target)[0].detach(),
                          partial(own, "deconvolution")),
        "deeplift": (lambda: attr.DeepLift(network).attribute(x, zero, target)[0].detach(), partial(own, "deeplift")),
        "occlusion": (lambda: attr.Occlusion(scores).attribute(x, window, strides, zero, target,
                                                               perturbations_per_eval=16)[0, :1].detach(),
                      partial(own, "occlusion")),
    }  # fmt: skip


CAPTUM = ("saliency", "input-x-gradient", "grad-cam")
"""What cnnscope uses captum for, beside integrated gradients and feature ablation, for which it never had a loop."""


def seconds(run: Callable[[], Tensor]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def compared(theirs: Callable[[], Tensor], ours: Callable[[], Tensor]) -> tuple[float, float]:
    """The ratio of CPU times, and the largest difference relative to the largest value."""
    a, b = theirs(), ours()
    ratios: list[float] = []
    spent = 0.0
    while len(ratios) < 3 or (spent < LEAST and len(ratios) < 20 * RUNS) or (spent < 10 * LEAST and len(ratios) < RUNS):
        first, second = (theirs, ours) if len(ratios) % 2 else (ours, theirs)
        one, other = seconds(first), seconds(second)
        ratios.append(one / other if first is theirs else other / one)
        spent += one + other
    return statistics.median(ratios), float((a - b).abs().max() / b.abs().max())


def question(source: str) -> Question:
    """An image of noise for a network with random weights at 64 x 64 pixels, or as it comes with cnnscope."""
    bundled = source == "lenet5-digits"
    network = cnnscope.load(source, input=None if bundled else (3, 64, 64)).trained(dtype="float64")
    x = torch.randn(1, *network.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    module = network.module.requires_grad_(False)
    return Question(module, x, int(module(x).flatten(1).argmax()), torch.zeros_like(x))


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # captum warns of the hooks and gradients that it sets
    chosen = arguments[1].split(",") if arguments[:1] == ["--methods"] else None
    sources = arguments[2:] if chosen else arguments
    ratios: dict[str, list[float]] = {}
    differ = False
    for source in sources or NETWORKS:
        for method, (theirs, ours) in pairs(question(source)).items():
            if chosen and method not in chosen:
                continue
            try:
                ratio, difference = compared(theirs, ours)
            except RuntimeError as error:
                print(f"{source:31} {method:17} captum fails: {str(error)[:60]}", flush=True)
                continue
            ratios.setdefault(method, []).append(ratio)
            differ |= method in CAPTUM and difference > ROUNDING
            print(f"{source:31} {method:17} ratio {ratio:.2f}, difference {difference:.1e}", flush=True)
    means = {method: statistics.geometric_mean(found) for method, found in ratios.items()}
    for method, mean in means.items():
        low, high = min(ratios[method]), max(ratios[method])
        print(f"{method:17} captum / peer {mean:.2f} ({low:.2f} to {high:.2f}){' used' if method in CAPTUM else ''}")
    return int(differ or any(means[method] > LIMIT for method in CAPTUM if method in means))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
