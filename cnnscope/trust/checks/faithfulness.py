"""Does a map agree with the score? Completeness, insertion and deletion.

Completeness compares the sum of the values with what the method promises (Sundararajan et al. 2017, section 3).
Insertion and deletion (Petsiuk et al. 2018, section 4.2) follow the class's probability while the pixels of the image
are inserted into a substrate or deleted from the image, in the order of their values. The area under the curve over the
share of pixels, by the trapezoidal rule, is 1 where the probability is 1 throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cnnscope.attribution.contract import baseline
from cnnscope.attribution.finding import Better, Finding
from cnnscope.trust.scene import Areas, Check, Scene, Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMIT = 0.01
"""Error of the sum, relative to what is promised, below which an attribution is complete."""
STEPS = 20
ORDERS = 19
"""Random orders: a random order is better than all of them with probability 1 in 20."""
HALF = 0.5
"""A substrate is used where the class's probability falls to at most this share of that of the image."""


def completeness(subject: Subject) -> tuple[Finding, ...]:
    """The error of the sum; unknown where nothing is promised."""
    error = subject.attribution.completeness
    why = "" if error is not None else "the method promises no sum, or a sum of 0"
    rule = f"off by less than {LIMIT * 100:g} % of the promised sum"
    return (Finding("completeness", "completeness", error, LIMIT, "low", rule=rule, why=why, scale="powers"),)


def insertion(subject: Subject) -> tuple[Finding, ...]:
    """How early the probability rises as pixels are inserted into the blurred image, largest values first."""
    return (finding(subject, "insertion", ("blur", "mean", "zero"), "high"),)


def deletion(subject: Subject) -> tuple[Finding, ...]:
    """How early the probability falls as pixels become the image's mean colour, largest values first."""
    return (finding(subject, "deletion", ("mean", "zero", "blur"), "low"),)


def finding(subject: Subject, name: str, substrates: Sequence[str], better: Better) -> Finding:
    """The area under the curve of ``insertion`` or ``deletion``, beside those of the controls.

    ``substrates`` are names of baselines: the first is used for which the probability is at most half the image's.
    """
    scene = subject.scene
    if name not in scene.areas:
        scene.areas[name] = _controls(scene, name == "insertion", substrates, subject.tick)
    controls = scene.areas[name]
    settings = {"substrate": controls.substrate, "steps": STEPS, "random_orders": ORDERS}
    rule = f"{'above' if better == 'high' else 'below'} all {ORDERS} random orders and the order of the image's edges"
    found = partial(Finding, name, name, better=better, rule=rule, settings=settings)
    if not controls.random:
        why = (f"the class has probability {controls.image:.3g} with the image and {controls.without:.3g} without it "
               f"(replaced by: {', '.join(substrates)}), so there is nothing to gain or lose")  # fmt: skip
        return found(value=None, limit=None, why=why)
    best = max(controls.random) if better == "high" else min(controls.random)
    figures = {"random": float(np.mean(controls.random)), "best random": best, "edges": controls.edges}
    limit = max(best, controls.edges) if better == "high" else min(best, controls.edges)
    order = descending(subject.attribution.values, np.random.default_rng(scene.seed))
    value = area(scene, order, controls.start, controls.end, STEPS)
    return found(value=value, limit=limit, controls=figures)


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


COMPLETENESS = Check(0, completeness)
INSERTION = Check(2, insertion)
DELETION = Check(3, deletion)
