"""What is claimed, of which transform, and what stands against it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Claim = Literal["exact", "geometry_only", "not_guaranteed"]
"""``exact``: holds for all weights and images. ``geometry_only``: the grids fit, the weights decide. Else nothing."""

ORDER: tuple[Claim, ...] = ("exact", "geometry_only", "not_guaranteed")


@dataclass(frozen=True, slots=True)
class Cause:
    """The first layer at which more cannot be claimed, and why. ``place`` is its position in execution order."""

    layer: str
    reason: str
    place: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim, and what stands against a stronger one."""

    claim: Claim = "exact"
    cause: Cause | None = None


EXACT = Verdict()


@dataclass(frozen=True, slots=True)
class Shift:
    """Moves the image by whole pixels per axis, down and to the right where positive: (T x)[i] = x[i - by].

    With ``wrap`` what leaves comes back on the other side (`torch.roll`). Without, other pixels enter, as from a larger
    canvas or any filling; then a claim is about the interior alone.
    """

    by: tuple[int, ...]
    wrap: bool = True


@dataclass(frozen=True, slots=True)
class Flip:
    """Reverses these axes of the image: (1,) left and right, (0,) top and bottom, (0, 1) both, a half turn."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """Turns the last two axes of the image by ``quarters`` times 90 degrees, as `torch.rot90` over them."""

    quarters: int


Transform = Shift | Flip | Turn


def first(causes: Iterable[Cause | None]) -> Cause | None:
    """The cause that comes first in execution order."""
    return min((cause for cause in causes if cause), key=lambda cause: cause.place, default=None)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The weakest of the claims, with the first cause of those that are as weak."""
    some = list(verdicts)
    claims: list[Claim] = [v.claim for v in some]
    claim = max(claims, key=ORDER.index, default=ORDER[0])
    return Verdict(claim, first(v.cause for v in some if v.claim == claim))
