"""What all attributions of one image by one network are checked against: controls are measured once for them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cnnscope.attribution.contract import Attribution, Classifier, fitting
from cnnscope.trained.network import probabilities
from cnnscope.trust.edges import edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnscope.trust.perturbation import Areas

Explain = Callable[[Classifier, Tensor], "NDArray[np.float64]"]
"""The (H, W) values of a method for a network and an image (1, C, H, W)."""


@dataclass(frozen=True)
class Scene:
    """An image ``x`` (1, C, H, W) as the network reads it, and the class in question.

    ``canvas`` has what lies around it, as far as `cnnscope.trust.equivariance.MARGIN` asks. ``redraw`` gives
    the same network with weights drawn from a seed. ``areas`` keeps what was measured, by kind of curve.
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
        """(H, W)"""
        return edges(self.x)

    def probabilities(self, x: Tensor) -> NDArray[np.float64]:
        """(N, classes) for (N, C, H, W), in pieces that fit the memory; scores that are probabilities stay so."""

        def run(batch: int) -> Tensor:
            with torch.no_grad():
                return torch.cat([self.network.logits(part).double().cpu() for part in torch.split(x, batch)])

        result: NDArray[np.float64] = probabilities(fitting(self.batch, run)).numpy()
        return result


@dataclass(frozen=True)
class Subject:
    """One attribution in its scene, and how it was made. ``tick`` is told the share of a check that is done."""

    scene: Scene
    attribution: Attribution
    explain: Explain
    tick: Callable[[float], None] = lambda done: None
