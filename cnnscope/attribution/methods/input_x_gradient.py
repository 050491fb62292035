"""Input x gradient: x * d score / d x, the score's first-order share of each pixel (Shrikumar et al. 2016)."""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.rules import score_gradient


def run(question: Question) -> Found:
    return Found((question.x * score_gradient(question.module, question.x, question.target))[0])


METHOD = Method("Input × gradient", "share", True, run, "Shrikumar et al. 2016")
