"""Insertion and deletion (Petsiuk et al. 2018, section 4.2): the class's probability as pixels come and go in order.

The area under the curve over the share of pixels, by the trapezoidal rule: 1 where the probability is 1 throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cnnscope.attribution.baselines import baseline
from cnnscope.trust.finding import Better, Finding
from cnnscope.trust.scene import Scene, Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 20
ORDERS = 19
"""Random orders: to be better than all of them has a chance of 1 in 20 by luck alone."""
HALF = 0.5
"""What replaces the image has to take this share of the class's probability, for a curve to say something."""


@dataclass(frozen=True)
class Areas:
    """What the controls of one kind of curve come to, from ``start`` to ``end`` (1, C, H, W).

    ``image`` and ``without`` are the class's probability for the image and for the substrate. Controls are not
    measured where these differ by too little.
    """

    start: Tensor
    end: Tensor
    substrate: str
    image: float
    without: float
    random: tuple[float, ...] = ()
    edges: float = 0.0


def finding(subject: Subject, name: str, substrates: Sequence[str], better: Better) -> Finding:
    """``insertion`` of the image's pixels into a substrate, or ``deletion`` of them.

    ``substrates`` are names of baselines: the first counts under which the probability is at most half the image's.
    """
    scene = subject.scene
    if name not in scene.areas:
        scene.areas[name] = _controls(scene, name == "insertion", substrates, subject.tick)
    controls = scene.areas[name]
    settings = {"substrate": controls.substrate, "steps": STEPS, "random_orders": ORDERS}
    rule = f"{'above' if better == 'high' else 'below'} all {ORDERS} random orders and the order of the image's edges"
    if not controls.random:
        why = (f"the class has probability {controls.image:.3g} with the image and {controls.without:.3g} without it "
               f"(replaced by: {', '.join(substrates)}), so there is nothing to gain or lose")  # fmt: skip
        return Finding(name, name, None, None, better, rule, {}, settings, why)
    best = max(controls.random) if better == "high" else min(controls.random)
    figures = {"random": float(np.mean(controls.random)), "best random": best, "edges": controls.edges}
    limit = max(best, controls.edges) if better == "high" else min(best, controls.edges)
    order = descending(subject.attribution.values, np.random.default_rng(scene.seed))
    value = area(scene, order, controls.start, controls.end, STEPS)
    return Finding(name, name, value, limit, better, rule, figures, settings)


def descending(values: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.intp]:
    """Places of (H, W) values in the flat map, largest first; equal ones in random order."""
    shuffled = generator.permutation(values.size)
    return shuffled[np.argsort(-values.ravel()[shuffled], kind="stable")]


def area(scene: Scene, order: NDArray[np.intp], start: Tensor, end: Tensor, steps: int) -> float:
    """The area under the class's probability while the pixels of ``start`` become those of ``end`` in order."""
    counts = shares(order.size, steps)
    found = probabilities(scene, order, start, end, counts)
    return float(((found[1:] + found[:-1]) / 2) @ np.diff(counts) / order.size)


def shares(pixels: int, steps: int) -> list[int]:
    """How many pixels are replaced at each step, from none to all; no more steps than pixels."""
    return sorted({round(i * pixels / steps) for i in range(steps + 1)})


def probabilities(
    scene: Scene, order: NDArray[np.intp], start: Tensor, end: Tensor, counts: Sequence[int]
) -> NDArray[np.float64]:
    """The class's probability with the first ``counts`` pixels of the order from ``end``, the others from ``start``."""
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    places = torch.as_tensor(place.reshape(scene.size)).to(start.device)
    found = []
    for at in range(0, len(counts), scene.batch):
        part = torch.tensor(counts[at : at + scene.batch]).to(start.device)
        found.append(scene.probabilities(torch.where(places < part.view(-1, 1, 1, 1), end, start))[:, scene.target])
    return np.concatenate(found)


def _controls(scene: Scene, inserted: bool, substrates: Sequence[str], tick: Callable[[float], None]) -> Areas:
    others = [baseline(name, scene.x, getattr(scene.network, "preprocess", None)) for name in substrates]
    image, *without = scene.probabilities(torch.cat([scene.x, *others]))[:, scene.target].tolist()
    low = next((i for i, p in enumerate(without) if p <= HALF * image), None)
    chosen = int(np.argmin(without)) if low is None else low
    ends = (others[chosen], scene.x) if inserted else (scene.x, others[chosen])
    found = Areas(*ends, substrates[chosen], image, without[chosen])
    if low is None:
        return found
    generator = np.random.default_rng(scene.seed)
    pixels = scene.size[0] * scene.size[1]
    random = []
    for i in range(ORDERS):
        random.append(area(scene, generator.permutation(pixels), *ends, STEPS))
        tick((i + 1) / (ORDERS + 1))
    return replace(found, random=tuple(random), edges=area(scene, descending(scene.edges, generator), *ends, STEPS))
