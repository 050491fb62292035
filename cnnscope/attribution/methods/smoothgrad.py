"""SmoothGrad: the mean gradient over copies of the image with noise (Smilkov et al. 2017, section 3).

The noise is normal, its deviation ``NOISE`` of the image's own range (section 3.1 has 10 to 20 %), whatever the input's
scale: an absolute deviation would drown the image of one network and be nothing to another.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.attribution.batching import fitting, noise
from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.rules import score_gradient

NOISE = 0.15
SAMPLES = 50


def run(question: Question) -> Found:
    samples = question.steps or SAMPLES
    deviation = NOISE * float(question.x.max() - question.x.min())
    raw = fitting(question.batch, lambda batch: _mean(question, samples, deviation, batch))
    notes = f"noise of {NOISE:.0%} of the input's range", f"its deviation is {deviation:.3g}; {samples} samples"
    return Found(raw, notes=notes)


def _mean(question: Question, samples: int, deviation: float, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(question.seed)
    total = torch.zeros_like(question.x[0])
    for start in range(0, samples, batch):
        n = min(batch, samples - start)
        noisy = question.x + deviation * noise(n, question.x, generator)
        total += score_gradient(question.module, noisy, question.target).sum(0)
        question.tick((start + n) / samples)
    return total / samples


METHOD = Method(
    "SmoothGrad", "gradient", False, run, "Smilkov et al. 2017", channels="largest", takes=("steps", "seed")
)
