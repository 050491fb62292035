"""What one output element of an op reads of an input, as a sequence of plain steps.

`Op.reads` returns one tuple of steps per input. Each step maps the tensor so far to the next one. After the last step
the tensor has the output's shape (or broadcasts to it), and each output element reads exactly the input elements from
which its position was reached. An elementwise op has no steps at all. Both receptive-field engines and the equivariance
analysis understand these steps and nothing else, so a new op needs no change there.

Axes count the full tensor, batch included, and are never negative.
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
    ``border`` says which pixel an index outside the input stands for; ``drop`` is padding. ``sized`` marks taps whose
    (m, n) depend on the input's size (align_corners), so that there is no answer independent of it.

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
        """Returns taps that read the indices ``picked`` along an axis, in that order."""
        return cls(axis, len(picked), picked.step, ((picked.start,),))


@dataclass(frozen=True, slots=True)
class Mix:
    """Every output index along ``axis`` (``out`` of them, in ``groups`` groups) reads all input indices of its group.

    ``via`` is the name of the reduction if the axis has image positions (a dense layer after a flatten).
    """

    axis: int
    out: int
    groups: int = 1
    via: Via = "dense"


@dataclass(frozen=True, slots=True)
class Whole:
    """Reduces ``axes`` as a whole. They stay with size 1 if ``keep`` is set, otherwise they are removed."""

    axes: tuple[int, ...]
    via: Via
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Running:
    """Each output position along ``axis`` reads the input positions up to its own: a recurrence in one direction."""

    axis: int
    via: Via


@dataclass(frozen=True, slots=True)
class Spread:
    """Each output element reads its own position and a statistic over ``axes``: softmax, layer and group
    normalisation.
    """

    axes: tuple[int, ...]
    via: Via


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements in row-major order with another shape."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Permute:
    """Output axis i is input axis ``order[i]``."""

    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Expand:
    """Broadcasts to ``shape``: axes of size 1 are repeated, new axes appear at the front."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Place:
    """Occupies ``offset ...`` along ``axis`` of an output of ``size``; the rest comes from other inputs
    (concatenation).
    """

    axis: int
    offset: int
    size: int


Step = Taps | Mix | Whole | Running | Spread | Reshape | Permute | Expand | Place


def repeated(shape: Shape, times: Sequence[int]) -> tuple[Step, ...]:
    """Returns steps that repeat the tensor ``times[i]`` times along each axis i, as ``torch.Tensor.repeat`` does."""
    split = tuple(n for size in shape for n in (1, size))
    wide = tuple(n for size, count in zip(shape, times, strict=True) for n in (count, size))
    whole = tuple(size * count for size, count in zip(shape, times, strict=True))
    return Reshape(split), Expand(wide), Reshape(whole)


def sums_over(axis: int, rank: int, steps: Sequence[Step]) -> bool:
    """Returns whether ``steps`` from a tensor of ``rank`` axes certainly reduce ``axis``, whose extent is unknown."""
    for step in steps:
        match step:
            case Whole(axes=axes, keep=keep):
                if axis in axes:
                    return True
                if not keep:
                    axis, rank = axis - sum(i < axis for i in axes), rank - len(axes)
            case Mix(axis=along) if along == axis:
                return True
            case Permute(order=order):
                axis = order.index(axis)
            case Expand(shape=shape):
                axis, rank = axis + len(shape) - rank, len(shape)
            case Reshape():
                return False
            case _:
                pass
    return False


def shape_text(shape: Shape) -> str:
    """Returns a shape as text: ``3x224x224``."""
    return "x".join(map(str, shape))
