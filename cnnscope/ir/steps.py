"""What one output element of an op reads of an input, as a sequence of plain steps.

An op answers `reads` with one tuple of steps per input. Each step maps the tensor so far to the next; after the last
the tensor has the output's shape (or broadcasts to it), and an output element reads exactly what its position was
reached from. An elementwise op has no steps at all. Both receptive-field engines and the equivariance analysis
understand these steps and nothing else, so a new op needs no change there.

Axes are those of the full tensor, batch included, and never negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]
Border = Literal["drop", "clamp", "reflect", "wrap"]
Via = Literal["dense", "global-pool", "attention", "norm-statistics", "recurrence"]


@dataclass(frozen=True, slots=True)
class Taps:
    """Output index ``o`` along ``axis`` reads the input indices ``taps[o % m] + n * (o // m)``, where m = len(taps).

    ``size`` is the output's extent. A phase without taps reads nothing (transposed convolution, stride > kernel).
    ``border`` says what an index outside the input means: padding that is dropped, or which pixel stands there.
    ``sized`` marks taps whose (m, n) depend on the input's size (align_corners), so no size-free answer exists.

    Examples: convolution ``m=1, n=stride, taps=((-pad, -pad + dilation, ...),)``; slicing ``n=step, taps=((start,),)``;
    nearest upsampling by 2 ``m=2, n=1, taps=((0,), (0,))``; flip ``n=-1, taps=((size - 1,),)``.
    """

    axis: int
    size: int
    n: int
    taps: tuple[tuple[int, ...], ...]
    border: Border = "drop"
    sized: bool = False

    @classmethod
    def picked(cls, axis: int, picked: range) -> Taps:
        """The indices ``picked`` along an axis, one after the other."""
        return cls(axis, len(picked), picked.step, ((picked.start,),))


@dataclass(frozen=True, slots=True)
class Mix:
    """Every output index along ``axis`` (``out`` of them, in ``groups`` groups) reads all input indices of its group.

    ``via`` is what the reduction is called if the axis carries image positions (a dense layer behind a flatten).
    """

    axis: int
    out: int
    groups: int = 1
    via: Via = "dense"


@dataclass(frozen=True, slots=True)
class Whole:
    """Reduces the whole extent of ``axes``; they stay with size 1 if ``keep``, else they go."""

    axes: tuple[int, ...]
    via: Via
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Spread:
    """Reads its own position and a statistic over ``axes``: softmax, layer and group normalisation."""

    axes: tuple[int, ...]
    via: Via


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements in row-major order under another shape."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Permute:
    """Output axis i is input axis ``order[i]``."""

    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Expand:
    """Broadcasts to ``shape``: axes of size 1 are repeated, new leading axes appear."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Place:
    """Occupies ``offset ...`` along ``axis`` of an output ``size`` long; the rest belongs to other inputs (concat)."""

    axis: int
    offset: int
    size: int


Step = Taps | Mix | Whole | Spread | Reshape | Permute | Expand | Place


def repeated(shape: Shape, times: Sequence[int]) -> tuple[Step, ...]:
    """The whole tensor ``times[i]`` times along each axis i."""
    split = tuple(n for size in shape for n in (1, size))
    wide = tuple(n for size, count in zip(shape, times, strict=True) for n in (count, size))
    whole = tuple(size * count for size, count in zip(shape, times, strict=True))
    return Reshape(split), Expand(wide), Reshape(whole)


def shape_text(shape: Shape) -> str:
    """``3x224x224``."""
    return "x".join(map(str, shape))
