"""Grad-CAM: maps of a layer, weighted by the mean gradient at each (Selvaraju et al. 2017).

The formula is in `cnnscope.attribution.engine.cam`.
"""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.cam import grad_cam, layer_map


def run(question: Question) -> Found:
    found = layer_map(question, grad_cam)
    return Found(found.values[None], notes=(found.note,))


METHOD = Method("Grad-CAM", "Grad-CAM", False, run, "Selvaraju et al. 2017", takes=("layer",))
