"""Saliency: how strongly each pixel moves the score, |d score / d x| (Simonyan et al. 2014, section 3)."""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.rules import score_gradient


def run(question: Question) -> Found:
    return Found(score_gradient(question.module, question.x, question.target)[0])


METHOD = Method("Saliency", "gradient", False, run, "Simonyan et al. 2014", channels="largest")
