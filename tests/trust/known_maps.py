"""Scenes for checks of trust: networks and maps of which is known what can be trusted of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from attributed import Plain
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnscope.attribution.contract import Attribution
from cnnscope.attribution.finding import Finding
from cnnscope.attribution.run import attribute
from cnnscope.audits.protocol import transforms
from cnnscope.trust.scene import Explain, Scene, Subject, margin
from cnnscope.trust.session import examine


def scene(
    module: nn.Module, x: Tensor, target: int, redraw: Callable[[int], nn.Module], border: str = "reflect"
) -> Scene:
    """An image (1, C, H, W) of which nothing is known beyond its borders."""
    size = x.shape[2], x.shape[3]
    canvas = transforms.canvas(x, size, margin(size), border, torch.zeros(x.shape[1]).to(x))  # type: ignore[arg-type]
    return Scene(Plain(module), x, target, canvas, lambda seed: Plain(redraw(seed)))


def subject(of: Scene, explain: Explain, completeness: float | None = None) -> Subject:
    values = explain(of.network, of.x)
    return Subject(of, Attribution("known", of.target, values, values[None], True, completeness, ()), explain)


def method(of: Scene, name: str) -> Subject:
    """A method of attribution, as `attribute` runs it."""

    def explain(network: Plain, x: Tensor) -> NDArray[np.float64]:
        return attribute(network, x, name, of.target).values

    found = attribute(of.network, of.x, name, of.target)
    return Subject(of, found, explain)  # type: ignore[arg-type]


def findings(subject: Subject) -> dict[str, Finding]:
    return {found.name: found for found in examine(subject)}


def verdicts(subject: Subject) -> dict[str, str]:
    return {name: found.verdict for name, found in findings(subject).items()}
