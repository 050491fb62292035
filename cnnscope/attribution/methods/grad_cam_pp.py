"""Grad-CAM++: maps weighted so that each of several objects counts (Chattopadhay et al. 2018).

The formula is in `cnnscope.attribution.engine.cam`.
"""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.cam import grad_cam_pp, layer_map


def run(question: Question) -> Found:
    found = layer_map(question, grad_cam_pp)
    return Found(found.values[None], notes=(found.note,))


METHOD = Method("Grad-CAM++", "Grad-CAM++", False, run, "Chattopadhay et al. 2018", takes=("layer",))
