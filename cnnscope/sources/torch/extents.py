"""Which sizes a module works out from the shapes of its tensors, and which its author wrote as numbers.

ATen is called with plain numbers. So while a module runs, the shapes of tensors that depend on its input consist of
`Extent`s: whole numbers that stay what they are under arithmetic. ``view``, ``reshape`` and ``interpolate`` note the
sizes that they were called with, for the rules that record them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from threading import RLock
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Extent(int):
    """An extent that comes from a shape: of the draft at ``place``, or None if it was computed with."""

    place: int | None = None

    @classmethod
    def of(cls, n: int, place: int) -> Extent:
        extent = cls(n)
        extent.place = place
        return extent


def _closed(name: str) -> Callable[[int, Any], Any]:
    plain = getattr(int, name)

    def operator(self: int, other: Any) -> Any:
        result = plain(self, other)
        return Extent(result) if type(result) is int else result

    return operator


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "floordiv", "rfloordiv"):
    setattr(Extent, f"__{_name}__", _closed(f"__{_name}__"))


class Watched(Protocol):
    """A run whose shapes are watched. ``busy`` while cnnscope itself is at work, which sees plain numbers."""

    busy: bool
    sizes: Sequence[int]

    def place(self, t: Tensor) -> int | None: ...


_LOCK = RLock()
"""Held during a run, as what is watched is a class of torch's."""


@contextmanager
def watched(run: Watched) -> Iterator[None]:
    """Inside, shapes of tensors with a place in ``run`` consist of extents, and ``run.sizes`` is what is asked for."""
    base: Any = torch._C.TensorBase
    shape_of, size_of = base.shape.__get__, base.size

    def extents(t: Tensor) -> torch.Size:
        shape: torch.Size = shape_of(t)
        if run.busy or (place := run.place(t)) is None:
            return shape
        return torch.Size([Extent.of(n, place) for n in shape])

    def size(t: Tensor, dim: Any = None) -> Any:
        if dim is None:
            return extents(t)
        n, place = size_of(t, dim), run.place(t)
        return n if run.busy or place is None else Extent.of(n, place)

    def noting(function: Callable[..., Any], asked: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(t: Tensor, *args: Any, **kwargs: Any) -> Any:
            sizes = asked(*args, **kwargs)
            if run.busy or run.place(t) is None or not isinstance(sizes, (list, tuple)):
                return function(t, *args, **kwargs)
            run.sizes = tuple(sizes)
            try:
                return function(t, *args, **kwargs)
            finally:
                run.sizes = ()

        return call

    interpolate = nn.functional.interpolate
    changed = {
        (Tensor, "shape"): property(extents),
        (Tensor, "size"): size,
        (Tensor, "view"): noting(base.view, _shape_asked),
        (Tensor, "reshape"): noting(base.reshape, _shape_asked),
        (nn.functional, "interpolate"): noting(interpolate, lambda size=None, *rest, **kwargs: size),
    }
    with _LOCK:
        before = {(place, name): vars(place).get(name) for place, name in changed}
        try:
            for (place, name), value in changed.items():
                setattr(place, name, value)
            yield
        finally:
            for (place, name), value in before.items():
                if value is None:  # it is inherited
                    delattr(place, name)
                else:
                    setattr(place, name, value)


def _shape_asked(*sizes: Any, **kwargs: Any) -> Any:
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (list, tuple)) else sizes


def computed(sizes: Sequence[int]) -> tuple[int, ...]:
    """The axes of a new shape that were worked out: ``-1``, and extents of other tensors."""
    return tuple(i for i, n in enumerate(sizes) if n == -1 or isinstance(n, Extent))


def like(sizes: Sequence[int]) -> int | None:
    """The place whose extents all of the sizes are, None if they are of several or were computed with."""
    places = {n.place if isinstance(n, Extent) else None for n in sizes}
    return places.pop() if len(places) == 1 else None
