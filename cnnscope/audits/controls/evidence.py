"""What controls are given, and running them.

Controls use the audit's own tools, which come with the evidence, so that a test can hand in broken ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol as Interface

import torch
from torch import Tensor

from cnnscope.audits.controls import CONTROLS
from cnnscope.audits.outcomes import BatchOutcome, Outcomes
from cnnscope.audits.protocol import transforms
from cnnscope.audits.protocol.protocol import Border, Protocol, Slot, Transform
from cnnscope.audits.protocol.transforms import Sampler, Size, reach
from cnnscope.audits.record import Control
from cnnscope.audits.run import measure
from cnnscope.trained.network import TrainedNetwork


class Canvas(Interface):
    """As `cnnscope.audits.protocol.transforms.canvas`."""

    def __call__(self, x: Tensor, size: Size, margin: int, border: Border, black: Tensor, room: int = 0) -> Tensor: ...


@dataclass(frozen=True)
class Tools:
    """The functions an audit is made with."""

    canvas: Canvas = transforms.canvas
    window: Callable[[Tensor, Transform, Size], Tensor] = transforms.window
    sample: Sampler = transforms.sample
    measure: Callable[..., BatchOutcome] = measure.measure_batch


@dataclass(frozen=True)
class Evidence:
    """A finished audit and some of its images again.

    ``pixels`` (N, C, >= H, >= W) uint8 and ``keys`` are of N images for what is measured anew; ``outcomes`` are of all,
    under the slots of ``protocol``. ``batch`` is the most samples in a forward pass.
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
        """The first few images as the network reads them, with what is around them."""
        return self.network.preprocess.normalise(self.pixels[:4].to(self.network.device))

    @cached_property
    def black(self) -> Tensor:
        """(C,) of a black pixel."""
        return self.network.preprocess.normalise(torch.zeros_like(self.pixels[:1, :, :1, :1])).flatten()

    def canvas(self, slots: Sequence[Slot], border: Border | None = None) -> Tensor:
        """The first few images with room for these slots."""
        margin = reach(slots, self.size)
        room = self.protocol.margin if border is None else 0
        return self.tools.canvas(
            self.normalised, self.size, margin, border or self.protocol.border, self.black.to(self.network.device), room
        )

    def measured(self, protocol: Protocol, network: TrainedNetwork | None = None) -> BatchOutcome:
        """The images under another protocol, or by another network."""
        return self.tools.measure(network or self.network, self.pixels, self.keys, protocol, self.seed, [], self.batch)

    def few(self, most: int) -> Protocol:
        """The protocol with at most so many of its slots, at even distances."""
        slots = self.protocol.slots
        step = -(-len(slots) // most)
        return replace(self.protocol, slots=slots[::step], chains=(), pairs=())


@torch.inference_mode()
def run(evidence: Evidence) -> tuple[Control, ...]:
    """What every control that applies found."""
    found = (control(evidence) for control in CONTROLS.values())
    return tuple(control for control in found if control is not None)
