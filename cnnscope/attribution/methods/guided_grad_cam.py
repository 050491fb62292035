"""Guided Grad-CAM: guided backpropagation times the enlarged Grad-CAM map (Selvaraju et al. 2017, section 3.2)."""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.cam import grad_cam, layer_map
from cnnscope.attribution.engine.guided import guided, rectified


def run(question: Question) -> Found:
    raw, notes = rectified(question, guided)
    found = layer_map(question, grad_cam)
    return Found(raw * found.values, notes=(*notes, found.note))


METHOD = Method("Guided Grad-CAM", "Guided Grad-CAM", True, run, "Selvaraju et al. 2017", takes=("layer",))
