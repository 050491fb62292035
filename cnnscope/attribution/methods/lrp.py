"""LRP: the score handed back from layer to layer by each input's part in the output (Bach et al. 2015).

The rules are in `cnnscope.attribution.engine.lrp`. What they conserve is measured: the values should
add up to the score.
"""

from __future__ import annotations

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.lrp import relevance


def run(question: Question) -> Found:
    score = float(question.scores(question.x))
    raw = relevance(question.canonical, question.x, question.target)[0]
    return Found(raw, score, ("z+ rule in convolutions, sums and averages, epsilon rule in linear layers",))


METHOD = Method("LRP", "relevance", True, run, "Bach et al. 2015")
