"""The input of a method of attribution, baselines among it, its output, and the checked result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.attribution.engine.canonicalize import canonicalize
from cnnscope.errors import CnnscopeError, did_you_mean, lacks_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cnnscope.trained.preprocess import Preprocess

T = TypeVar("T")


class Classifier(Protocol):
    """A network to attribute: `cnnscope.trained.network.TrainedNetwork`, or anything with these two members."""

    @property
    def module(self) -> nn.Module: ...

    def logits(self, x: Tensor) -> Tensor: ...


def fitting(batch: int, run: Callable[[int], T]) -> T:
    """``run(batch)``, repeated with half the batch while memory does not suffice.

    Raises torch's error where a single image does not fit.
    """
    while True:
        try:
            return run(batch)
        except RuntimeError as error:
            if batch == 1 or not lacks_memory(error):
                raise
        batch //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def in_pieces(run: Callable[[Tensor], Tensor], x: Tensor, batch: int) -> Tensor:
    """``run(x)`` for images (N, ...) without gradients, ``batch`` at a time, fewer where memory does not suffice."""
    with torch.no_grad():
        return fitting(batch, lambda size: torch.cat([run(part) for part in torch.split(x, size)]))


@dataclass(frozen=True)
class Question:
    """One image and one class. ``x`` and ``baseline`` are (1, C, H, W) in the network's precision, on its device.

    ``layer`` is for methods that look at a layer, ``steps`` is a number of steps or samples, ``window`` a side in
    pixels; None stands for the method's default. At most ``batch`` images run at a time, fewer where memory does not
    suffice. ``tick`` is called with the share of the work that is done.
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
        """The network in the form that rules need; E480 where it has none."""
        return canonicalize(self.module)

    def scores(self, x: Tensor) -> Tensor:
        """(N,) scores of the class for images (N, C, H, W), without gradients."""

        return in_pieces(lambda part: self.module(part).flatten(1)[:, self.target], x, self.batch)

    @cached_property
    def difference(self) -> float:
        """The score of the image minus that of the baseline."""
        image, baseline = (float(self.scores(x)) for x in (self.x, self.baseline))
        return image - baseline

    def ticking(self, total: int) -> Callable[[Tensor], Tensor]:
        """The network as a function from images to (N, classes) scores that reports each call, of ``total`` images."""
        done = 0

        def scores(x: Tensor) -> Tensor:
            nonlocal done
            done += len(x)
            self.tick(min(done / total, 1.0))
            result: Tensor = self.module(x).flatten(1)
            return result

        return scores


@dataclass(frozen=True)
class Found:
    """The result of a method: ``raw`` (C, H, W), or (1, H, W) from methods that do not distinguish channels.

    ``promised`` is what the values should add up to, None where the method promises nothing.
    """

    raw: Tensor
    promised: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """``title`` is for pictures. Values of methods of one ``family`` are comparable, and share a scale.

    ``signed`` says whether a value's sign has a meaning. ``channels`` says how channels become one map: by their sum or
    the largest magnitude. ``source`` is who proposed the method. ``takes`` names the options of a question that change
    the result.
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
    """``values`` (H, W) in float64, ``raw`` (C, H, W) before channels were combined.

    ``completeness`` is |sum of raw - promised| / |promised|, None where nothing is promised or the promise is 0.
    """

    method: str
    target: int
    values: NDArray[np.float64]
    raw: NDArray[np.float64]
    signed: bool
    completeness: float | None
    notes: tuple[str, ...]


BLUR = 8
"""The standard deviation of the blur is the shorter side divided by this."""


def baseline(name: str, x: Tensor, preprocess: Preprocess | None = None) -> Tensor:
    """The baseline of that name for an image ``x`` (1, C, H, W), in the same shape.

    - ``zero``: zeros, which is the mean image where the network was trained on images normalised to mean 0;
    - ``mean``: the image's own mean colour; ``blur``: the image, blurred;
    - ``black``, ``white``: pixels of 0 or 255, for networks with ``preprocess``.

    E481 for another name, and for black and white without ``preprocess``.
    """
    if name not in BASELINES:
        hint = did_you_mean(name, BASELINES) or f"there are {', '.join(BASELINES)}"
        raise CnnscopeError.of("E481", f"no baseline is called `{name}`", hint=hint)
    return BASELINES[name](x, preprocess)


def _pixels(value: int) -> Callable[[Tensor, Preprocess | None], Tensor]:
    def make(x: Tensor, preprocess: Preprocess | None) -> Tensor:
        if preprocess is None:
            raise CnnscopeError.of("E481", "without preprocessing it is unknown what black and white are",
                                   hint="use the baseline `zero`, `mean` or `blur`")  # fmt: skip
        return preprocess.normalise(torch.full_like(x, value), x.dtype)

    return make


def _mean(x: Tensor, preprocess: Preprocess | None) -> Tensor:
    return x.mean((2, 3), keepdim=True).expand_as(x).clone()


def _blur(x: Tensor, preprocess: Preprocess | None) -> Tensor:
    deviation = min(x.shape[2:]) / BLUR
    reach = min(int(3 * deviation), min(x.shape[2:]) - 1)
    taps = torch.exp(-(torch.arange(-reach, reach + 1).to(x) ** 2) / (2 * deviation**2))
    taps = (taps / taps.sum()).expand(x.shape[1], 1, 1, -1)
    padded = F.pad(x, (reach,) * 4, mode="reflect")
    rows = F.conv2d(padded, taps, groups=x.shape[1])
    return F.conv2d(rows, taps.transpose(2, 3), groups=x.shape[1])


BASELINES: dict[str, Callable[[Tensor, Preprocess | None], Tensor]] = {
    "zero": lambda x, preprocess: torch.zeros_like(x),
    "mean": _mean, "blur": _blur, "black": _pixels(0), "white": _pixels(255),
}  # fmt: skip
