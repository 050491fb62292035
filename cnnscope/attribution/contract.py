"""What a method of attribution is given, what it answers, and what becomes of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from torch import Tensor, fx, nn

from cnnscope.attribution import batching
from cnnscope.attribution.engine.canonicalize import canonicalize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Classifier(Protocol):
    """What is attributed: `cnnscope.trained.network.TrainedNetwork`, or anything like it."""

    @property
    def module(self) -> nn.Module: ...

    def logits(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Question:
    """One image, one class. ``x`` and ``baseline`` are (1, C, H, W) in the network's precision, on its device.

    ``layer`` is for methods that look at one, None for their default; ``steps`` (or samples) and ``window``
    (pixels of a side) likewise. ``batch`` images are
    run at a time, fewer where memory does not suffice. ``tick`` is told the share that is done.
    """

    module: nn.Module
    x: Tensor
    target: int
    baseline: Tensor
    steps: int | None = None
    layer: str | None = None
    window: int | None = None
    seed: int = 0
    batch: int = 16
    tick: Callable[[float], None] = lambda done: None

    @cached_property
    def canonical(self) -> fx.GraphModule:
        """The network in the form that rules need; E480 where it cannot be had."""
        return canonicalize(self.module)

    def scores(self, x: Tensor) -> Tensor:
        """(N,) scores of the class, without gradients, in pieces that fit the memory."""
        return batching.scores(self.module, x, self.target, self.batch)

    @cached_property
    def difference(self) -> float:
        """The score of the image less that of the baseline."""
        image, baseline = (float(self.scores(x)) for x in (self.x, self.baseline))
        return image - baseline


@dataclass(frozen=True)
class Found:
    """A method's answer: ``raw`` (C, H, W), or (1, H, W) from methods that know no channels.

    ``promised`` is what the values should add up to, None where the method promises nothing.
    """

    raw: Tensor
    promised: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """``title`` for pictures; methods of one ``family`` have values that may be compared, and share a scale.

    ``signed``: whether a value's sign means something. ``channels`` makes a map of the channels: their sum, or the
    largest magnitude. ``source``: who proposed it. ``takes``: which of a question's options change the answer.
    """

    title: str
    family: str
    signed: bool
    run: Callable[[Question], Found]
    source: str
    channels: Literal["sum", "largest"] = "sum"
    takes: Sequence[str] = ()


@dataclass(frozen=True)
class Attribution:
    """``values`` (H, W) in float64, ``raw`` (C, H, W) before channels were put together.

    ``completeness`` is |sum of raw - promised| / |promised|, None where nothing is promised or the promise is 0.
    """

    method: str
    target: int
    values: NDArray[np.float64]
    raw: NDArray[np.float64]
    signed: bool
    completeness: float | None
    notes: tuple[str, ...]
