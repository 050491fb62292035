"""What all attributions of one image by one network are checked against: controls are measured once for them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cnnscope.attribution.contract import Attribution, Classifier, in_pieces
from cnnscope.attribution.finding import Finding
from cnnscope.audits.protocol import protocol, transforms
from cnnscope.audits.protocol.protocol import Transform
from cnnscope.learned.filters.kernels import sobel_x
from cnnscope.trained.network import probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

Explain = Callable[[Classifier, Tensor], "NDArray[np.float64]"]
"""The (H, W) values of a method for a network and an image (1, C, H, W)."""

MOVES: dict[str, tuple[Transform, ...]] = {
    "shift": tuple(protocol.shift(*step) for step in ((0, 1), (1, 0), (0, -1), (-1, 0))),
    "scale": (protocol.zoom(0.9), protocol.zoom(1.1)),
    "rotation": (protocol.rotate(5), protocol.rotate(-5)),
    "quarter_turn": (protocol.rotate(90),),
}
"""Transforms of the image that its attribution should follow, by the name of a finding."""


def margin(size: tuple[int, int]) -> int:
    """Pixels around an image (height, width) that its moves need."""
    return transforms.reach([move for moves in MOVES.values() for move in moves], size)


@dataclass(frozen=True)
class Areas:
    """Areas under the curves of the controls while the image ``start`` becomes ``end``, both (1, C, H, W).

    ``image`` and ``without`` are the class's probability for the image and for the ``substrate`` that replaces it.
    Controls are not measured where the two differ too little.
    """

    start: Tensor
    end: Tensor
    substrate: str
    image: float
    without: float
    random: tuple[float, ...] = ()
    edges: float = 0.0


@dataclass(frozen=True)
class Scene:
    """An image ``x`` (1, C, H, W) as the network reads it, and the class in question.

    ``canvas`` also has the `margin` of pixels around it. ``redraw`` returns the same network with weights drawn from a
    seed. ``areas`` keeps the measured controls of insertion and deletion.
    """

    network: Classifier
    x: Tensor
    target: int
    canvas: Tensor
    redraw: Callable[[int], Classifier]
    seed: int = 0
    batch: int = 16
    areas: dict[str, Areas] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        return self.x.shape[2], self.x.shape[3]

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """(H, W) as `edges`."""
        return edges(self.x)

    def probabilities(self, x: Tensor) -> NDArray[np.float64]:
        """(N, classes) for images (N, C, H, W); scores that are probabilities already are not changed."""
        logits = in_pieces(lambda part: self.network.logits(part).double().cpu(), x, self.batch)
        result: NDArray[np.float64] = probabilities(logits).numpy()
        return result


def edges(x: Tensor) -> NDArray[np.float64]:
    """(H, W) magnitude of Sobel's gradient of the mean channel of an image (1, C, H, W), its borders repeated.

    The edges are the control that knows nothing of any network.
    """
    kernel = torch.as_tensor(sobel_x(3, 3), dtype=torch.float64)
    kernels = torch.stack([kernel, kernel.T])[:, None]
    grey = x.detach().cpu().double().mean(1, keepdim=True)
    found = functional.conv2d(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)[0]
    result: NDArray[np.float64] = found.square().sum(0).sqrt().numpy()
    return result


@dataclass(frozen=True)
class Subject:
    """One attribution in its scene, and how it was computed.

    ``tick`` is called with the share of a check that is done.
    """

    scene: Scene
    attribution: Attribution
    explain: Explain
    tick: Callable[[float], None] = lambda done: None


@dataclass(frozen=True)
class Check:
    """``order`` is the place of its findings among those of other checks.

    ``run`` always returns the same findings; a finding without a value says why.
    """

    order: int
    run: Callable[[Subject], tuple[Finding, ...]]
