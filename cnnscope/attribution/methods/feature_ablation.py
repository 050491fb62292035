"""Feature ablation: how much the score falls when a cell of a grid is replaced by the baseline, one cell at a time.

The cells do not overlap, an eighth of the image's shorter side unless asked otherwise. The loop is captum's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.attribution.batching import fitting
from cnnscope.attribution.contract import Found, Method, Question


def run(question: Question) -> Found:
    side = question.window or max(min(question.x.shape[2:]) // 8, 1)
    cells = grid(question.x, side)
    values = fitting(question.batch, lambda batch: _ablated(question, cells, batch))
    return Found(values[:1], notes=(f"{int(cells.max()) + 1} cells of {side}x{side} pixels",))


def grid(x: Tensor, side: int) -> Tensor:
    """(H, W) the number of each pixel's cell."""
    rows, columns = (torch.arange(extent, device=x.device) // side for extent in x.shape[2:])
    return rows[:, None] * (int(columns[-1]) + 1) + columns


def _ablated(question: Question, cells: Tensor, batch: int) -> Tensor:
    from captum.attr import FeatureAblation  # type: ignore[import-untyped]

    done, total = 0, int(cells.max()) + 2

    def scores(x: Tensor) -> Tensor:
        nonlocal done
        done += len(x)
        question.tick(min(done / total, 1.0))
        result: Tensor = question.module(x).flatten(1)
        return result

    with torch.no_grad():
        found: Tensor = FeatureAblation(scores).attribute(
            question.x, question.baseline, target=question.target, feature_mask=cells.expand(1, *question.x.shape[1:]),
            perturbations_per_eval=batch,
        )  # fmt: skip
    return found[0]


METHOD = Method("Feature ablation", "region", True, run, "captum's FeatureAblation", takes=("baseline", "window"))
