"""LayerCAM: maps weighted pixel by pixel by the positive gradient (Jiang et al. 2021), for early layers too.

The formula is in `cnnscope.attribution.engine.cam`.
"""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.cam import layer_cam, layer_map


def run(question: Question) -> Found:
    found = layer_map(question, layer_cam)
    return Found(found.values[None], notes=(found.note,))


METHOD = Method("LayerCAM", "LayerCAM", False, run, "Jiang et al. 2021", takes=("layer",))
