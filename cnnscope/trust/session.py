"""The attributions of a session under examination."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cnnscope.attribution.contract import Classifier
from cnnscope.attribution.run import attribute
from cnnscope.attribution.session import Session
from cnnscope.audits.protocol import transforms
from cnnscope.progress import SILENT, Progress
from cnnscope.trained.loading import randomised
from cnnscope.trust.checks.equivariance import margin
from cnnscope.trust.run import examine
from cnnscope.trust.scene import Scene, Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from cnnscope.trained.network import TrainedNetwork


def examined(
    session: Session, picture: Image, *, baseline: str = "zero", tick: Progress = SILENT, seed: int = 0,
    batch: int = 16, **options: Any,
) -> Session:  # fmt: skip
    """The session with findings for each attribution. The options are those it was made with."""
    scenes: dict[int, Scene] = {}
    found = []
    for one in session.explained:
        network = one.network
        if id(network) not in scenes:
            scenes[id(network)] = scene(network, picture, session.target, seed, batch)
        method = one.attribution.method

        def explain(other: Classifier, x: Tensor, method: str = method) -> NDArray[np.float64]:
            return attribute(other, x, method, session.target, baseline=baseline, seed=seed, batch=batch,
                             **options).values  # fmt: skip

        subject = Subject(scenes[id(network)], one.attribution, explain)
        findings = examine(subject, lambda done, method=method: tick(f"checking {method}", done, 1.0))  # type: ignore[misc]
        found.append(replace(one, trust=findings))
    return replace(session, explained=tuple(found))


def scene(network: TrainedNetwork, picture: Image, target: int, seed: int = 0, batch: int = 16) -> Scene:
    """The picture as a network reads it, with as much around it as the moves need: what the picture has, then what
    the network's preprocessing says lies beyond, the mirrored picture by default."""
    preprocess = network.preprocess
    size = preprocess.size[1], preprocess.size[2]
    wide, resized = margin(size), preprocess.resized(picture)
    room = min(preprocess.room(resized), wide) // 2 * 2  # halves are rounded to even: so the middle stays where it is
    pixels = torch.tensor(preprocess.cropped(resized, room))[None]
    black = network.input(torch.zeros_like(pixels[:, :, :1, :1]))[0, :, 0, 0]
    canvas = transforms.canvas(network.input(pixels), size, wide, preprocess.border or "reflect", black, room)  # type: ignore[arg-type]
    x = network.input(torch.tensor(preprocess.pixels(picture))[None])
    return Scene(network, x, target, canvas, lambda seed: randomised(network, seed), seed, batch)
