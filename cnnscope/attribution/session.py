"""Several methods on several networks, one image: what a montage shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnscope.attribution.contract import Attribution, Method
from cnnscope.attribution.methods import METHODS
from cnnscope.attribution.montage import Tile
from cnnscope.attribution.run import attribute, check_image, check_target
from cnnscope.errors import CnnscopeError
from cnnscope.progress import SILENT, Progress
from cnnscope.trained.network import TrainedNetwork, probabilities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from cnnscope.trust.finding import Finding

DEFAULT_METHODS = (
    "saliency", "smoothgrad", "integrated-gradients", "deeplift", "occlusion", "grad-cam", "guided-backprop", "lrp",
)  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """One network, one method: the attribution, the probability it gives the class, and what checks found of it."""

    network: TrainedNetwork
    method: Method
    attribution: Attribution
    probability: float
    baseline: str | None
    trust: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Session:
    """``skipped`` are methods that were not asked for by name and that a network cannot have: name and reason."""

    image: NDArray[np.float64]
    target: int
    explained: tuple[Explained, ...]
    skipped: tuple[tuple[str, str], ...] = field(default=())


def explain(
    networks: Sequence[TrainedNetwork],
    picture: Image,
    methods: Sequence[str],
    target: int | None = None,
    *,
    baseline: str = "zero",
    strict: bool = True,
    tick: Progress = SILENT,
    **options: Any,
) -> Session:
    """Every method on every network, in that order. ``target`` is a class, by default the first network's answer.

    The networks read images of one size. A method that one of them cannot have raises E480, unless not ``strict``. The
    other options and errors are those of `attribute`.
    """
    found: list[Explained] = []
    skipped: dict[str, str] = {}
    first = networks[0]
    for network in networks:
        x = network.input(torch.tensor(network.preprocess.pixels(picture))[None])
        check_image(x)
        with torch.no_grad():
            scores = network.logits(x)[0]
        target = int(scores.argmax()) if target is None else target
        check_target(network, x, target)
        for name in methods:
            method = METHODS.find(name)
            try:
                answer = attribute(network, x, name, target, baseline=baseline,
                                   tick=lambda done, name=name: tick(name, done, 1.0), **options)  # type: ignore[misc]  # fmt: skip
            except CnnscopeError as error:
                if strict or error.diagnostics[0].code != "E480":
                    raise
                skipped[name] = error.diagnostics[0].message
                continue
            chosen = baseline if "baseline" in method.takes else None
            found.append(Explained(network, method, answer, probability(scores, target), chosen))
    assert target is not None
    if not found:
        name, reason = next(iter(skipped.items()))
        raise CnnscopeError.of("E480", f"no method is left: {reason}")
    shown = first.preprocess.shown(first.input(torch.tensor(first.preprocess.pixels(picture))[None]))[0]
    image = shown.double().cpu().numpy()
    image = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return Session(image, target, tuple(found), tuple(skipped.items()))


def probability(scores: Tensor, target: int) -> float:
    """Of one class, from (classes,) scores."""
    return float(probabilities(scores.double()[None])[0, target])


def rows(session: Session) -> list[list[Tile]]:
    """A row for each network: the image, then its attributions."""
    networks = list({id(one.network): one.network for one in session.explained}.values())
    return [_row(session, network, several=len(networks) > 1) for network in networks]


def _row(session: Session, network: TrainedNetwork, several: bool) -> list[Tile]:
    answers = [one for one in session.explained if one.network is network]
    target = f"target {network.label(session.target)}, p = {_chance(answers[0].probability)}"
    learned = () if network.trained else ("random weights: nothing is learned",)
    head = Tile(session.image, network.weights if several else "image", (target, *learned))
    return [head, *(_tile(session, one, target) for one in answers)]


def _chance(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _tile(session: Session, one: Explained, target: str) -> Tile:
    answer = one.attribution
    said = [] if one.baseline is None else [f"baseline {one.baseline}"]
    if answer.completeness is not None:
        said.append(f"error of the sum {answer.completeness:.1e}")
    elif answer.notes:
        said.append(answer.notes[0])
    lines = (target, ", ".join(said))
    return Tile(session.image, one.method.title, lines, answer.values, answer.signed, one.method.family, one.trust)
