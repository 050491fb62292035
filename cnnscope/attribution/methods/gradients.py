"""Methods that send the class score back to the pixels once: gradients, and gradients that activations change.

captum computes the gradients. Guided backpropagation and deconvolution use rules of our own
(`cnnscope.attribution.engine.rules`), because captum's versions act on `torch.nn.ReLU` alone: on networks with ReLU6,
SiLU or GELU they return the plain gradient without saying so.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.attribution.contract import Found, Method, Question, fitting
from cnnscope.attribution.engine.rules import Rule, deconvolved, guided, score_gradient, with_rules
from cnnscope.nn.ops import role_of

NOISE = 0.15
"""Standard deviation of SmoothGrad's noise as a share of the image's range; Smilkov et al. use 10 to 20 %."""
SAMPLES = 50


def saliency(question: Question) -> Found:
    """|d score / d x| (Simonyan et al. 2014, section 3)."""
    return Found(score_gradient(question.module, question.x, question.target)[0])


def input_x_gradient(question: Question) -> Found:
    """x * d score / d x, the score's first-order share of each pixel (Shrikumar et al. 2016)."""
    return Found((question.x * score_gradient(question.module, question.x, question.target))[0])


def smoothgrad(question: Question) -> Found:
    """The mean gradient over noisy copies of the image (Smilkov et al. 2017, section 3).

    The noise is relative to the image's range: with an absolute deviation, as captum's NoiseTunnel takes it, the same
    setting hides the image for one network and does nothing for another.
    """
    samples = question.steps or SAMPLES
    deviation = NOISE * float(question.x.max() - question.x.min())
    raw = fitting(question.batch, lambda batch: _mean_of_noisy(question, samples, deviation, batch))
    notes = f"noise of {NOISE:.0%} of the input's range", f"its deviation is {deviation:.3g}; {samples} samples"
    return Found(raw, notes=notes)


def _mean_of_noisy(question: Question, samples: int, deviation: float, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(question.seed)
    total = torch.zeros_like(question.x[0])
    for start in range(0, samples, batch):
        n = min(batch, samples - start)
        noisy = question.x + deviation * noise(n, question.x, generator)
        total += score_gradient(question.module, noisy, question.target).sum(0)
        question.tick((start + n) / samples)
    return total / samples


def noise(n: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """(n, C, H, W) normal noise for an image (1, C, H, W).

    It is drawn image by image on the CPU, so that it depends neither on the batch size nor on the device.
    """
    return torch.stack([torch.randn(like.shape[1:], generator=generator) for _ in range(n)]).to(like)


def guided_backprop(question: Question) -> Found:
    """Activations pass positive gradients only (Springenberg et al. 2015, section 3.4)."""
    return rectified(question, guided)


def deconvolution(question: Question) -> Found:
    """Activations pass positive gradients whatever their input was (Zeiler and Fergus 2014, section 2.1)."""
    return rectified(question, deconvolved)


def rectified(question: Question, rule: Rule) -> Found:
    """The gradient with ``rule`` at every activation.

    The result is compared with the plain gradient; where the two are equal, a note says so.
    """
    network = question.canonical
    ruled = with_rules(network, lambda node, module: rule if role_of(module) == "activation" else None)
    raw = score_gradient(ruled, question.x, question.target)
    plain = score_gradient(question.module, question.x, question.target)
    modules = (network.get_submodule(str(node.target)) for node in network.graph.nodes if node.op == "call_module")
    kinds = sorted({type(module).__name__ for module in modules if role_of(module) == "activation"})
    notes = []
    if not kinds:
        notes.append("this is the plain gradient: the network has no activations that the rule could act on")
    elif torch.allclose(raw, plain, rtol=1e-4, atol=1e-6 * float(plain.abs().max())):
        notes.append(f"this equals the plain gradient: the rule at {', '.join(kinds)} made no difference")
    others = [kind for kind in kinds if kind != "ReLU"]
    if others:
        notes.append(f"the rule for ReLU, applied to {', '.join(others)}")
    return Found(raw[0], notes=tuple(notes))


SALIENCY = Method(
    title="Saliency", family="gradient", signed=False, run=saliency, source="Simonyan et al. 2014", channels="largest"
)
INPUT_X_GRADIENT = Method("Input × gradient", "share", True, input_x_gradient, "Shrikumar et al. 2016")
SMOOTHGRAD = Method(
    title="SmoothGrad", family="gradient", signed=False, run=smoothgrad, source="Smilkov et al. 2017",
    channels="largest", takes=("steps", "seed"),
)  # fmt: skip
GUIDED_BACKPROP = Method("Guided backprop", "guided gradient", True, guided_backprop, "Springenberg et al. 2015")
DECONVOLUTION = Method("Deconvolution", "deconvolution", True, deconvolution, "Zeiler and Fergus 2014")
