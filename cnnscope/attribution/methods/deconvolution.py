"""Deconvolution: an activation passes positive gradients, whatever its input (Zeiler and Fergus 2014, section 2.1)."""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.guided import deconvolved, rectified


def run(question: Question) -> Found:
    raw, notes = rectified(question, deconvolved)
    return Found(raw, notes=notes)


METHOD = Method("Deconvolution", "deconvolution", True, run, "Zeiler and Fergus 2014")
