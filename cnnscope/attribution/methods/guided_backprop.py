"""Guided backpropagation: only positive gradients pass an activation (Springenberg et al. 2015, section 3.4)."""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.guided import guided, rectified


def run(question: Question) -> Found:
    raw, notes = rectified(question, guided)
    return Found(raw, notes=notes)


METHOD = Method("Guided backprop", "guided gradient", True, run, "Springenberg et al. 2015")
