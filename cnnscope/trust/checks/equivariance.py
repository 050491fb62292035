"""Equivariance: does the map move with the picture, where the prediction stays?

The attribution of the moved image is compared with the moved attribution, over the pixels that come from inside the
image, by Spearman's correlation. The control is a map that does not move with the picture: a smooth map may correlate
well with itself after a small move. The moves are transforms of audits (`cnnscope.audits.protocol.transforms`). Moves
that change the prediction are left out, since another prediction may have other reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from cnnscope.attribution.finding import Finding
from cnnscope.audits.protocol import transforms
from cnnscope.audits.protocol.protocol import Transform
from cnnscope.errors import CnnscopeError
from cnnscope.trust.ranks import chance, mean, spearman
from cnnscope.trust.scene import MOVES, Check, Subject, edges

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

TITLES = {"shift": "shift 1 px", "scale": "scale 10 %", "rotation": "rotate 5°", "quarter_turn": "rotate 90°, exact"}
"""Titles of the findings, each the mean over the `MOVES` of its name."""
INSIDE = 1 - 1e-9
"""A pixel counts as coming from inside the image from this share on, which allows for rounding."""
SMOOTH = 0.99
"""Where the map and one that does not move both correlate more than this, the move is too small for the map."""


def run(subject: Subject) -> tuple[Finding, ...]:
    return tuple(_finding(subject, name, moves, i) for i, (name, moves) in enumerate(MOVES.items()))


def _finding(subject: Subject, name: str, moves: Sequence[Transform], done: int) -> Finding:
    scene, title = subject.scene, TITLES[name]
    images = moved(scene.canvas, moves, scene.size)
    predictions = scene.probabilities(torch.cat([scene.x, *images])).argmax(1)
    same = [i for i in range(len(moves)) if predictions[i + 1] == predictions[0]]
    settings = {
        "transforms": [move.name for move in moves], "unchanged": [moves[i].name for i in same],
        "on_grid": all(move.on_grid for move in moves),
    }  # fmt: skip
    rule = "above a map that does not move, and above chance (95 % of shifted maps)"
    finding = partial(Finding, name, title, better="high", rule=rule, settings=settings)
    if not same:
        why = f"the prediction changes under {'each of these moves' if len(moves) > 1 else 'this move'}"
        return finding(value=None, limit=None, why=why)
    before, found, why = subject.attribution.values, [], ""
    for n, i in enumerate(same):
        try:
            after = subject.explain(scene.network, images[i])
        except CnnscopeError as error:
            why = error.diagnostics[0].message
            continue
        subject.tick((done + (n + 1) / len(same)) / len(MOVES))
        with_edges = alike(edges(images[i]), scene.edges, moves[i])
        found.append(
            (alike(after, before, moves[i]), alike(before, before, moves[i]), chance(after, before), with_edges)
        )
    value, stays, by_chance, with_edges = (mean([one[k] for one in found]) for k in range(4))
    known = {"a map that stays": stays, "chance": by_chance, "edges": with_edges}
    controls = {key: figure for key, figure in known.items() if figure is not None}
    if value is None or stays is None or by_chance is None:
        why = why or "a map is the same everywhere"
        return finding(value=None, limit=None, controls=controls, why=why)
    limit = max(stays, by_chance)
    if min(value, limit) > SMOOTH:
        why = f"{value:.4f}, but the map is so smooth that one that does not move reaches {stays:.4f}"
        return finding(value=None, limit=limit, controls=controls, why=why)
    return finding(value=value, limit=limit, controls=controls)


def moved(canvas: Tensor, moves: Sequence[Transform], size: tuple[int, int]) -> list[Tensor]:
    """Each move of a canvas (1, C, h, w), as an image (1, C, H, W) of that size."""
    out = canvas.new_empty(len(moves), *canvas.shape[:2], *size)
    transforms.warp(out, canvas, list(moves))
    return list(out)


def alike(after: NDArray[np.float64], before: NDArray[np.float64], move: Transform) -> float | None:
    """Spearman's correlation of the map ``after`` (H, W) with the moved map ``before``, over pixels from inside it."""
    size = (before.shape[0], before.shape[1])
    stack = torch.as_tensor(np.stack([before, np.ones_like(before)]))[None]
    padded = torch.nn.functional.pad(stack, (transforms.reach([move], size),) * 4)
    values, inside = moved(padded, [move], size)[0][0].numpy()
    kept = inside >= INSIDE
    return spearman(after[kept], values[kept])


CHECK = Check(4, run)
