"""Methods that replace parts of the image by the baseline and watch the score: occlusion and feature ablation.

captum computes the ablation. The loop of occlusion is our own: captum's rounds its result to float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.attribution.contract import Found, Method, Question, fitting


def occlusion(question: Question) -> Found:
    """The mean fall of the score over the windows that cover a pixel (Zeiler and Fergus 2014, section 4.2).

    The windows are square, by default an eighth of the image's shorter side, and half a window apart. Those at the far
    edges are cut off there.
    """
    window = question.window or default_side(question.x)
    stride = max(window // 2, 1)
    values = fitting(question.batch, lambda batch: falls(question, window, stride, batch))
    return Found(values[None], notes=(f"windows of {window}x{window}, {stride} apart",))


def default_side(x: Tensor) -> int:
    """An eighth of the shorter side of an image (1, C, H, W), at least 1, in pixels."""
    return max(min(x.shape[2:]) // 8, 1)


def falls(question: Question, window: int, stride: int, batch: int) -> Tensor:
    """(H, W) mean falls of the score."""
    x, baseline = question.x, question.baseline
    height, width = x.shape[2:]
    places = [(top, left) for top in _starts(height, window, stride) for left in _starts(width, window, stride)]
    score = question.scores(x)
    total, count = torch.zeros_like(x[0, 0]), torch.zeros_like(x[0, 0])
    with torch.no_grad():
        for start in range(0, len(places), batch):
            part = [(slice(y, y + window), slice(x, x + window)) for y, x in places[start : start + batch]]
            covered = x.repeat(len(part), 1, 1, 1)
            for image, area in zip(covered, part, strict=True):
                image[:, *area] = baseline[0, :, *area]
            change = score - question.module(covered).flatten(1)[:, question.target]
            for fall, area in zip(change, part, strict=True):
                total[area] += fall
                count[area] += 1
            question.tick((start + len(part)) / len(places))
    return total / count


def _starts(extent: int, window: int, stride: int) -> range:
    """Starts of windows that together cover every pixel."""
    return range(0, max(extent - window, 0) + stride, stride)


def feature_ablation(question: Question) -> Found:
    """The fall of the score where one cell of a grid is replaced by the baseline.

    The cells are square and do not overlap; their side is by default that of occlusion's windows.
    """
    side = question.window or default_side(question.x)
    cells = grid(question.x, side)
    values = fitting(question.batch, lambda batch: _ablated(question, cells, batch))
    return Found(values[:1], notes=(f"{int(cells.max()) + 1} cells of {side}x{side} pixels",))


def grid(x: Tensor, side: int) -> Tensor:
    """(H, W) the number of each pixel's cell."""
    rows, columns = (torch.arange(extent, device=x.device) // side for extent in x.shape[2:])
    return rows[:, None] * (int(columns[-1]) + 1) + columns


def _ablated(question: Question, cells: Tensor, batch: int) -> Tensor:
    from captum.attr import FeatureAblation

    with torch.no_grad():
        found: Tensor = FeatureAblation(question.ticking(int(cells.max()) + 2)).attribute(
            question.x, question.baseline, target=question.target, feature_mask=cells.expand(1, *question.x.shape[1:]),
            perturbations_per_eval=batch,
        )  # fmt: skip
    return found[0]


OCCLUSION = Method(
    title="Occlusion", family="region", signed=True, run=occlusion, source="Zeiler and Fergus 2014",
    takes=("baseline", "window"),
)  # fmt: skip
FEATURE_ABLATION = Method(
    title="Feature ablation", family="region", signed=True, run=feature_ablation, source="captum's FeatureAblation",
    takes=("baseline", "window"),
)  # fmt: skip
