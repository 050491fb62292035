"""Checks of the attributions of a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cnnscope.attribution.contract import Classifier
from cnnscope.attribution.session import Explained, Session, explain_again
from cnnscope.audits.protocol import transforms
from cnnscope.options.trained import AttributionOptions
from cnnscope.progress import SILENT, Progress
from cnnscope.trained.loading import randomised
from cnnscope.trust.checks import CHECKS
from cnnscope.trust.finding import Finding
from cnnscope.trust.scene import Scene, Subject, margin

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from cnnscope.trained.network import TrainedNetwork


def examine(subject: Subject, tick: Callable[[float], None] = lambda done: None) -> tuple[Finding, ...]:
    """The findings of every check, in their order. ``tick`` is called with the share that is done."""
    found: list[Finding] = []
    every = sorted(CHECKS.values(), key=lambda check: check.order)
    for i, check in enumerate(every):
        part = replace(subject, tick=lambda done, i=i: tick((i + done) / len(every)))  # type: ignore[misc]
        found.extend(check.run(part))
        tick((i + 1) / len(every))
    return tuple(found)


def examined(session: Session, picture: Image, options: AttributionOptions, progress: Progress = SILENT) -> Session:
    """The session with findings for each attribution. ``options`` are those that it was made with."""
    scenes: dict[int, Scene] = {}
    found = []
    for one in session.explained:
        network, method = one.network, one.attribution.method
        if id(network) not in scenes:
            scenes[id(network)] = scene(network, picture, session.target, options.seed, options.batch_size)

        def explain(other: Classifier, x: Tensor, one: Explained = one) -> NDArray[np.float64]:
            return explain_again(one, other, x, options).values

        subject = Subject(scenes[id(network)], one.attribution, explain)
        findings = examine(subject, lambda done, method=method: progress(f"checking {method}", done, 1.0))  # type: ignore[misc]
        found.append(replace(one, trust=findings))
    return replace(session, explained=tuple(found))


def scene(network: TrainedNetwork, picture: Image, target: int, seed: int = 0, batch: int = 16) -> Scene:
    """The picture as a network reads it, with the surroundings that the moves need.

    These come from the picture as far as it reaches, then from the border that the network's preprocessing names, by
    default the mirrored picture.
    """
    preprocess = network.preprocess
    size = preprocess.size[1], preprocess.size[2]
    wide, resized = margin(size), preprocess.resized(picture)
    room = min(preprocess.room(resized), wide) // 2 * 2  # even, so that the middle does not move
    pixels = torch.tensor(preprocess.cropped(resized, room))[None]
    black = network.input(torch.zeros_like(pixels[:, :, :1, :1]))[0, :, 0, 0]
    canvas = transforms.canvas(network.input(pixels), size, wide, preprocess.border or "reflect", black, room)  # type: ignore[arg-type]
    x = network.input(torch.tensor(preprocess.pixels(picture))[None])
    return Scene(network, x, target, canvas, lambda seed: randomised(network, seed), seed, batch)
