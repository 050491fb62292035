"""What a pixel is compared with: images that say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.errors import CnnscopeError, did_you_mean

if TYPE_CHECKING:
    from cnnscope.trained.preprocess import Preprocess

BLUR = 8
"""The blur's deviation is the shorter side over this."""


def baseline(name: str, x: Tensor, preprocess: Preprocess | None = None) -> Tensor:
    """The baseline of that name for an image ``x`` (1, C, H, W), like it.

    - ``zero``: zeros, the mean of the images the network was trained on where they were normalised so;
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
