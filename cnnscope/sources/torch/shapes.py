"""Which sizes come from shapes. ATen sees plain numbers, so the shapes of tensors that depend on the input consist of
`Extent`s while a module runs (`cnnscope.sources.torch.watching`): whole numbers that stay extents under arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any


class Extent(int):
    """An extent from a shape: that of the draft at ``place``, or None if it is the result of arithmetic.

    ``doubled`` is what it would be at batch 2.
    """

    place: int | None = None
    doubled: int

    @classmethod
    def of(cls, n: int, doubled: int, place: int | None = None) -> Extent:
        extent = cls(n)
        extent.place, extent.doubled = place, doubled
        return extent


def _doubled(n: Any) -> Any:
    return n.doubled if isinstance(n, Extent) else n


def _closed(name: str) -> Callable[[int, Any], Any]:
    plain = getattr(int, name)

    def operator(self: Any, other: Any) -> Any:
        result = plain(self, other)
        return Extent.of(result, plain(self.doubled, _doubled(other))) if type(result) is int else result

    return operator


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "floordiv", "rfloordiv"):
    setattr(Extent, f"__{_name}__", _closed(f"__{_name}__"))


def computed(sizes: Sequence[int]) -> tuple[int, ...]:
    """Returns the axes of a new shape that were computed: ``-1``, and extents of other tensors."""
    return tuple(i for i, n in enumerate(sizes) if n == -1 or isinstance(n, Extent))


def like(sizes: Sequence[int]) -> int | None:
    """Returns the place of the draft whose extents all sizes are; None if they are of several or were computed."""
    places = {n.place if isinstance(n, Extent) else None for n in sizes}
    return places.pop() if len(places) == 1 else None


def doubling(sizes: Sequence[int], shape: Sequence[int]) -> int | None:
    """Returns the axis that holds the batch in a tensor of ``shape`` that was asked for by ``sizes``; None if the sizes
    do not say.
    """
    if len(sizes) != len(shape) or not any(n == -1 or isinstance(n, Extent) for n in sizes):
        return None
    known = [None if n == -1 else _doubled(n) for n in sizes]
    rest = prod(n for n in known if n is not None)
    full = [2 * prod(shape) // rest if n is None and rest else n for n in known]
    longer = [i for i, (n, m) in enumerate(zip(full, shape, strict=True)) if n != m]
    return longer[0] if len(longer) == 1 else None
