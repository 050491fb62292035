"""Occlusion: how much the score falls when a window is replaced by the baseline (Zeiler and Fergus 2014, section 4.2).

A pixel's value is the mean fall over the windows that cover it. The windows are square, an eighth of the image's
shorter side unless asked otherwise, and go half a window at a time; those at the far edges are cut off there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.attribution.batching import fitting
from cnnscope.attribution.contract import Found, Method, Question


def run(question: Question) -> Found:
    window = question.window or max(min(question.x.shape[2:]) // 8, 1)
    stride = max(window // 2, 1)
    values = fitting(question.batch, lambda batch: falls(question, window, stride, batch))
    return Found(values[None], notes=(f"windows of {window}x{window}, {stride} apart",))


def falls(question: Question, window: int, stride: int, batch: int) -> Tensor:
    """(H, W) mean falls of the score."""
    x, baseline = question.x, question.baseline
    height, width = x.shape[2:]
    places = [(top, left) for top in _starts(height, window, stride) for left in _starts(width, window, stride)]
    score = question.scores(x)
    total, count = torch.zeros_like(x[0, 0]), torch.zeros_like(x[0, 0])
    with torch.no_grad():
        for start in range(0, len(places), batch):
            part = places[start : start + batch]
            covered = x.repeat(len(part), 1, 1, 1)
            for image, (top, left) in zip(covered, part, strict=True):
                image[:, top : top + window, left : left + window] = baseline[
                    0, :, top : top + window, left : left + window
                ]
            change = score - question.module(covered).flatten(1)[:, question.target]
            for fall, (top, left) in zip(change, part, strict=True):
                total[top : top + window, left : left + window] += fall
                count[top : top + window, left : left + window] += 1
            question.tick((start + len(part)) / len(places))
    return total / count


def _starts(extent: int, window: int, stride: int) -> range:
    """Starts of windows that cover every pixel."""
    return range(0, max(extent - window, 0) + stride, stride)


METHOD = Method("Occlusion", "region", True, run, "Zeiler and Fergus 2014", takes=("baseline", "window"))
