"""Methods that average gradients on the way from a baseline to the image: integrated gradients and GradientSHAP."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.attribution.contract import Found, Method, Question, fitting
from cnnscope.attribution.engine.rules import score_gradient
from cnnscope.attribution.methods.gradients import noise

STEPS = 50
MOST_STEPS = 1600
ERROR = 0.01
"""Integrated gradients double their steps until the error of the sum is at most this."""
DIGITS = 1000
"""Units in the last place by which the two scores have to differ; below that, an error of 1 % is rounding."""

NOISE = 0.1
"""Standard deviation of GradientSHAP's noisy baselines, as a share of the image's range."""
SAMPLES = 200


def integrated_gradients(question: Question) -> Found:
    """(x - x0) * the mean of d score / d x from the baseline x0 to x (Sundararajan et al. 2017, eq. 1).

    The values add up to f(x) - f(x0), except for the error of the numerical integral (captum's Gauss-Legendre sum). The
    steps are doubled until that error is below 1 %, unless the two scores are too close for such a comparison.
    """
    first = steps = question.steps or STEPS
    raw, error = _at(question, steps)
    rounding = torch.finfo(question.x.dtype).eps * float(question.scores(question.x).abs())
    apart = abs(question.difference) > DIGITS * rounding
    while error > ERROR and apart and 2 * steps <= MOST_STEPS:
        steps *= 2
        raw, error = _at(question, steps)
    note = f"{steps} steps" + (f", because {first} left an error above {ERROR:.0%}" if steps > first else "")
    close = "the baseline has nearly the same score, so the sum's error is mostly rounding"
    notes = (note,) if apart else (note, close)
    return Found(raw, question.difference, notes)


def _at(question: Question, steps: int) -> tuple[Tensor, float]:
    """The attributions (C, H, W) and the error of their sum, relative to what they should add up to."""
    raw = fitting(question.batch, lambda batch: _integrated(question, steps, batch))[0]
    off = abs(float(raw.sum(dtype=torch.float64)) - question.difference)
    return raw, off / max(abs(question.difference), torch.finfo(torch.float64).tiny)


def _integrated(question: Question, steps: int, batch: int) -> Tensor:
    from captum.attr import IntegratedGradients

    found: Tensor = IntegratedGradients(question.ticking(steps)).attribute(
        question.x, question.baseline, target=question.target, n_steps=steps, internal_batch_size=batch
    )
    return found.detach()


def gradient_shap(question: Question) -> Found:
    """(x - b) * d score / d x, averaged over points between x and noisy baselines b (Lundberg and Lee 2017; in this
    form as expected gradients: Erion et al. 2021, eq. 3).

    In expectation the values add up to f(x) minus the mean of f(b); the reported error is that of the samples drawn.
    The points are spread evenly over the way. captum's GradientShap draws them independently, chooses baselines with
    repetition and runs all samples in one batch.
    """
    samples = question.steps or SAMPLES
    deviation = NOISE * float(question.x.max() - question.x.min())
    raw, expected = fitting(question.batch, lambda batch: _expected(question, samples, deviation, batch))
    notes = f"{samples} samples, baselines with noise of deviation {deviation:.3g}", "complete in expectation only"
    return Found(raw, float(question.scores(question.x)) - expected, notes)


def _expected(question: Question, samples: int, deviation: float, batch: int) -> tuple[Tensor, float]:
    """The attributions (C, H, W), and the baselines' mean score."""
    generator = torch.Generator().manual_seed(question.seed)
    places = (torch.arange(samples) + torch.rand(samples, generator=generator)) / samples
    places = places.to(question.x).view(-1, 1, 1, 1)
    total, score = torch.zeros_like(question.x[0]), 0.0
    for start in range(0, samples, batch):
        n = min(batch, samples - start)
        baselines = question.baseline + deviation * noise(n, question.x, generator)
        points = baselines + places[start : start + n] * (question.x - baselines)
        total += ((question.x - baselines) * score_gradient(question.module, points, question.target)).sum(0)
        score += float(question.scores(baselines).sum())
        question.tick((start + n) / samples)
    return total / samples, score / samples


INTEGRATED_GRADIENTS = Method(
    title="Integrated gradients", family="share", signed=True, run=integrated_gradients,
    source="Sundararajan et al. 2017", takes=("baseline", "steps"),
)  # fmt: skip
GRADIENT_SHAP = Method(
    title="GradientSHAP", family="share", signed=True, run=gradient_shap, source="Lundberg and Lee 2017",
    takes=("baseline", "steps", "seed"),
)  # fmt: skip
