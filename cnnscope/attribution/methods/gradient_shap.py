"""GradientSHAP: (x - b) * d score / d x, averaged over points between x and baselines b (Lundberg and Lee 2017;
as expected gradients: Erion et al. 2021, eq. 3).

The baselines are the one asked for with normal noise, ``NOISE`` of the image's range. In expectation the values add
up to f(x) less the mean of f(b); the error that is reported is that of the samples drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.attribution.batching import fitting, noise
from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.rules import score_gradient

NOISE = 0.1
SAMPLES = 200


def run(question: Question) -> Found:
    samples = question.steps or SAMPLES
    deviation = NOISE * float(question.x.max() - question.x.min())
    raw, expected = fitting(question.batch, lambda batch: _mean(question, samples, deviation, batch))
    notes = f"{samples} samples, baselines with noise of deviation {deviation:.3g}", "complete in expectation only"
    return Found(raw, float(question.scores(question.x)) - expected, notes)


def _mean(question: Question, samples: int, deviation: float, batch: int) -> tuple[Tensor, float]:
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


METHOD = Method("GradientSHAP", "share", True, run, "Lundberg and Lee 2017", takes=("baseline", "steps", "seed"))
