"""Integrated gradients: (x - x0) * the mean of d score / d x from baseline x0 to x (Sundararajan et al. 2017, eq. 1).

They add up to f(x) - f(x0) but for the error of the sum that stands for the integral (Gauss and Legendre's, by captum).
The steps are doubled until that error is under 1 %, unless the two scores differ by little more than rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.attribution.batching import fitting
from cnnscope.attribution.contract import Found, Method, Question

STEPS = 50
MOST_STEPS = 1600
ERROR = 0.01
DIGITS = 1000
"""Units in the last place by which the scores have to differ for an error of 1 % to be more than rounding."""


def run(question: Question) -> Found:
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
    """The attributions (C, H, W), and how far they are from adding up, as a share of what they should add up to."""
    raw = fitting(question.batch, lambda batch: _integrated(question, steps, batch))[0]
    off = abs(float(raw.sum(dtype=torch.float64)) - question.difference)
    return raw, off / max(abs(question.difference), torch.finfo(torch.float64).tiny)


def _integrated(question: Question, steps: int, batch: int) -> Tensor:
    from captum.attr import IntegratedGradients  # type: ignore[import-untyped]

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
