"""Several methods on several networks for one image: the content of a montage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnscope.attribution.contract import Attribution, Classifier, Method
from cnnscope.attribution.methods import METHODS
from cnnscope.attribution.montage import Tile
from cnnscope.attribution.run import attribute, check_image, check_target
from cnnscope.errors import CnnscopeError
from cnnscope.options.running import names
from cnnscope.options.trained import AttributionOptions
from cnnscope.progress import SILENT, Progress
from cnnscope.trained.network import TrainedNetwork, probabilities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from cnnscope.attribution.finding import Finding

DEFAULT_METHODS = (
    "saliency", "smoothgrad", "integrated-gradients", "deeplift", "occlusion", "grad-cam", "guided-backprop", "lrp",
)  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """One network, one method: the attribution, the probability of the class, and findings of checks.

    ``baseline`` is what absence looks like and ``layer`` the layer that was named, None where the method has none.
    """

    network: TrainedNetwork
    method: Method
    attribution: Attribution
    probability: float
    baseline: str | None
    layer: str | None = None
    trust: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Session:
    """``skipped`` are the methods that do not work with a network and were not named by the user, with the reasons."""

    image: NDArray[np.float64]
    target: int
    explained: tuple[Explained, ...]
    skipped: tuple[tuple[str, str], ...] = field(default=())


def explain(
    networks: Sequence[TrainedNetwork],
    picture: Image,
    options: AttributionOptions,
    target: int | None = None,
    progress: Progress = SILENT,
) -> Session:
    """The methods that the options name on every network, in that order; a method of layers once for each of them.

    ``target`` is a class, by default the prediction of the first network. The networks read images of one size. A
    method that a network cannot have raises E480 where it was named, and is skipped where it was not. Other errors
    are those of `attribute`.
    """
    found: list[Explained] = []
    skipped: dict[str, str] = {}
    first, layers = networks[0], names(options.layer)
    methods, strict = chosen_methods(options)
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
                for layer in (layers if "layer" in method.takes else ()) or (None,):
                    one = attribute(network, x, name, target, layer=layer, **_settings(options),
                                    tick=lambda done, name=name: progress(name, done, 1.0))  # type: ignore[misc]  # fmt: skip
                    if layer is not None and len(layers) > 1:
                        one = replace(one, notes=(f"layer {layer}", *one.notes))
                    found.append(Explained(
                        network=network, method=method, attribution=one, probability=probability(scores, target),
                        baseline=options.baseline if "baseline" in method.takes else None, layer=layer,
                    ))  # fmt: skip
            except CnnscopeError as error:
                if strict or error.diagnostics[0].code != "E480":
                    raise
                skipped[name] = error.diagnostics[0].message
    assert target is not None
    if not found:
        name, reason = next(iter(skipped.items()))
        raise CnnscopeError.of("E480", f"no method is left: {reason}")
    shown = first.preprocess.shown(first.input(torch.tensor(first.preprocess.pixels(picture))[None]))[0]
    image = shown.double().cpu().numpy()
    image = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return Session(image, target, tuple(found), tuple(skipped.items()))


def chosen_methods(options: AttributionOptions) -> tuple[Sequence[str], bool]:
    """Names of methods, and whether the user named each of them. E481 for an unknown name."""
    asked = names(options.method)
    if not asked:
        return DEFAULT_METHODS, False
    if asked == ("all",):
        return METHODS.names(), False
    for name in asked:
        METHODS.check(name)
    return asked, True


def explain_again(one: Explained, other: Classifier, x: Tensor, options: AttributionOptions) -> Attribution:
    """The attribution of another network or image, made as ``one`` was."""
    made = one.attribution
    return attribute(other, x, made.method, made.target, layer=one.layer, **_settings(options))


def _settings(options: AttributionOptions) -> dict[str, Any]:
    """What `attribute` takes of the options, but for the layer."""
    return {"baseline": options.baseline, "steps": options.steps, "window": options.window, "seed": options.seed,
            "batch": options.batch_size}  # fmt: skip


def probability(scores: Tensor, target: int) -> float:
    """The probability of one class, from (classes,) scores."""
    return float(probabilities(scores.double()[None])[0, target])


def rows(session: Session) -> list[list[Tile]]:
    """A row for each network: the image, then its attributions."""
    networks = list({id(one.network): one.network for one in session.explained}.values())
    return [_row(session, network, several=len(networks) > 1) for network in networks]


def _row(session: Session, network: TrainedNetwork, several: bool) -> list[Tile]:
    row = [one for one in session.explained if one.network is network]
    target = f"target {network.label(session.target)}, p = {_chance(row[0].probability)}"
    learned = () if network.trained else ("random weights: nothing is learned",)
    head = Tile(session.image, network.weights if several else "image", (target, *learned))
    return [head, *(_tile(session, one, target) for one in row)]


def _chance(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _tile(session: Session, one: Explained, target: str) -> Tile:
    made = one.attribution
    words = [] if one.baseline is None else [f"baseline {one.baseline}"]
    if made.completeness is not None:
        words.append(f"error of the sum {made.completeness:.1e}")
    elif made.notes:
        words.append(made.notes[0])
    return Tile(
        image=session.image, title=one.method.title, lines=(target, ", ".join(words)), values=made.values,
        signed=made.signed, scale=one.method.family, trust=one.trust,
    )  # fmt: skip
