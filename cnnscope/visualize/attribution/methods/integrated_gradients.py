"""Integrated gradients: (x - x0) * the mean of d score / d x between baseline x0 and x (Sundararajan et al. 2017, eq. 1).

They add up to f(x) - f(x0) but for the error of the sum that stands for the integral (Gauss and Legendre's, by captum).
The steps are doubled until that error is under 1 %.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.visualize.attribution.batching import fitting
from cnnscope.visualize.attribution.contract import Found, Method, Question

STEPS = 50
MOST_STEPS = 1600
ERROR = 0.01


def run(question: Question) -> Found:
    steps, tried = question.steps or STEPS, []
    while True:
        raw = fitting(question.batch, lambda batch: _integrated(question, steps, batch))  # noqa: B023  # run at once
        error = abs(float(raw.sum(dtype=torch.float64)) - question.difference)
        tried.append(steps)
        if error <= ERROR * abs(question.difference) or 2 * steps > MOST_STEPS:
            break
        steps *= 2
    more = f", because {tried[0]} left an error above 1 %" if len(tried) > 1 else ""
    return Found(raw[0], question.difference, (f"{steps} steps{more}",))


def _integrated(question: Question, steps: int, batch: int) -> Tensor:
    from captum.attr import IntegratedGradients

    done = 0

    def scores(x: Tensor) -> Tensor:
        nonlocal done
        done += len(x)
        question.tick(min(done / steps, 1.0))
        result: Tensor = question.module(x).flatten(1)
        return result

    found: Tensor = IntegratedGradients(scores).attribute(
        question.x, question.baseline, target=question.target, n_steps=steps, internal_batch_size=batch
    )
    return found.detach()


METHOD = Method("Integrated gradients", "share", True, run, "Sundararajan et al. 2017", takes=("baseline", "steps"))
