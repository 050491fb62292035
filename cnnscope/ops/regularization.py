"""Kinds of dropout. At inference each is the identity, without cost or memory of its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

from cnnscope.ops.arguments import Probability
from cnnscope.ops.base import Case, Op
from cnnscope.ops.saved import FLAG, FLOAT, Kept, TrainStep

_SAME = (
    Case(x=(3, 4, 5), args={}, shape=(3, 4, 5)),
    Case(x=(3, 4), args={"p": 0.2}, shape=(3, 4)),
)
_NAMES = {"rate": "p", "prob": "p", "drop_prob": "p"}


class _Dropout(Op):
    """Base of the kinds of dropout: zeroes with probability ``p`` in training."""

    p: Probability = 0.5
    short = "p"
    aliases = _NAMES
    is_view = True

    def saved(self, step: TrainStep) -> Kept:
        """One factor for each element, in training only."""
        return Kept(image_bytes=FLOAT * prod(step.x[0].features) if step.training else 0)

    cases: ClassVar[Sequence[Case]] = _SAME

    def label(self) -> str:
        return f"{self.tag} {self.p:g}"


class Dropout(_Dropout, tag="dropout", category="regularization"):
    """Zeroes each element with probability ``p`` in training. Source: Srivastava et al. 2014, section 4."""

    cases = (*_SAME, Case(x=(5,), args={}, shape=(5,), kind="flat"))


class SpatialDropout(_Dropout, tag="spatialdropout", category="regularization"):
    """Zeroes whole channels with probability ``p`` in training. Source: Tompson et al. 2015, section 3.2."""

    foreign = ("dropout1d", "dropout2d", "dropout3d")
    accepts = ("map",)

    def saved(self, step: TrainStep) -> Kept:
        """One factor for each channel, in training only."""
        return Kept(image_bytes=FLOAT * step.x[0].shape[1] if step.training else 0)


class AlphaDropout(_Dropout, tag="alphadropout", category="regularization"):
    """Dropout that keeps mean and variance, for `selu`. Source: Klambauer et al. 2017, section 3."""


class StochasticDepth(_Dropout, tag="stochasticdepth", category="regularization"):
    """Zeroes a whole branch of an image with probability ``p`` in training. Source: Huang et al. 2016, section 3."""

    def saved(self, step: TrainStep) -> Kept:
        """One truth value for each image, in training only."""
        return Kept(image_bytes=FLAG if step.training else 0)
