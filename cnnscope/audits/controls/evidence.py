"""What controls are given: a finished audit, some of its images, and the tools that it measures with.

Controls use the audit's own tools, which come with the evidence, so that a test can hand in broken ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol as Interface

import torch
from torch import Tensor

from cnnscope.audits import measure
from cnnscope.audits.outcomes import BatchOutcome, Outcomes
from cnnscope.audits.protocol import transforms
from cnnscope.audits.protocol.protocol import Border, Protocol, Slot, Transform
from cnnscope.audits.protocol.transforms import Sampler, Size, reach
from cnnscope.trained.network import TrainedNetwork


class Canvas(Interface):
    """The signature of `cnnscope.audits.protocol.transforms.canvas`."""

    def __call__(self, x: Tensor, size: Size, margin: int, border: Border, black: Tensor, room: int = 0) -> Tensor: ...


@dataclass(frozen=True)
class Tools:
    """The functions that an audit measures with."""

    canvas: Canvas = transforms.canvas
    window: Callable[[Tensor, Transform, Size], Tensor] = transforms.window
    sample: Sampler = transforms.sample
    measure: Callable[..., BatchOutcome] = measure.measure_batch


@dataclass(frozen=True)
class Evidence:
    """A finished audit, and some of its images for what controls measure anew.

    ``pixels`` (N, C, >= H, >= W) uint8 and ``keys`` belong to these N images. ``outcomes`` belong to all images, under
    the slots of ``protocol``. ``batch`` is the largest number of samples in a forward pass.
    """

    network: TrainedNetwork
    pixels: Tensor
    keys: Sequence[str]
    outcomes: Outcomes
    protocol: Protocol
    seed: int = 0
    batch: int = 256
    tools: Tools = field(default_factory=Tools)

    @property
    def size(self) -> Size:
        """(H, W) of the input."""
        height, width = self.network.input_shape[1:]
        return height, width

    @cached_property
    def normalised(self) -> Tensor:
        """The first four images, normalised, with the pixels around the input."""
        return self.network.preprocess.normalise(self.pixels[:4].to(self.network.device))

    @cached_property
    def black(self) -> Tensor:
        """(C,): a black pixel, normalised."""
        return self.network.preprocess.normalise(torch.zeros_like(self.pixels[:1, :, :1, :1])).flatten()

    def canvas(self, slots: Sequence[Slot], border: Border | None = None) -> Tensor:
        """The first four images on a canvas that is large enough for these slots."""
        margin = reach(slots, self.size)
        room = self.protocol.margin if border is None else 0
        return self.tools.canvas(
            self.normalised, self.size, margin, border or self.protocol.border, self.black.to(self.network.device), room
        )

    def measured(self, protocol: Protocol, network: TrainedNetwork | None = None) -> BatchOutcome:
        """Outcomes of the images under another protocol, or with another network."""
        return self.tools.measure(network or self.network, self.pixels, self.keys, protocol, self.seed, [], self.batch)

    def few(self, most: int) -> Protocol:
        """The protocol with at most ``most`` of its slots, evenly spaced."""
        slots = self.protocol.slots
        step = -(-len(slots) // most)
        return replace(self.protocol, slots=slots[::step], chains=(), pairs=())
