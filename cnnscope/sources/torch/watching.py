"""Watches the shapes that a model reads and asks for while it runs.

The functions here take the place of those of torch and call them: what they raise is their caller's error
(`cnnscope.sources.torch.refusals`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cnnscope.sources.batch import Place
from cnnscope.sources.torch.patches import patched
from cnnscope.sources.torch.shapes import Extent


class Watched(Protocol):
    """A run whose shapes are watched. While ``busy``, cnnscope itself is at work and sees plain numbers."""

    busy: bool
    sizes: Sequence[int]

    def place(self, t: Tensor) -> int | None: ...
    def replace(self, t: Tensor, other: Tensor, assign: Callable[[Tensor, Tensor], None]) -> None: ...
    def normalized(self, layer: nn.CrossMapLRN2d, x: Tensor, call: Callable[..., Tensor]) -> Tensor: ...
    def batch_at(self, place: int) -> Place | None: ...


@contextmanager
def watched(run: Watched) -> Iterator[None]:
    """Inside, the shapes of tensors with a place in ``run`` consist of extents, and ``run.sizes`` has the
    sizes asked for.
    """
    base: Any = torch._C.TensorBase
    shape_of, size_of = base.shape.__get__, base.size

    def extents(t: Tensor) -> torch.Size:
        shape: torch.Size = shape_of(t)
        if run.busy:  # most of all calls
            return shape
        place = run.place(t)
        if place is None:
            return shape
        batch = run.batch_at(place)
        axis = -1 if batch is None else batch[0]
        return torch.Size([Extent.of(n, 2 * n if i == axis else n, place) for i, n in enumerate(shape)])

    def size(t: Tensor, dim: Any = None) -> Any:
        if dim is None:
            return extents(t)
        n, place = size_of(t, dim), run.place(t)
        if run.busy or place is None:
            return n
        batch = run.batch_at(place)
        there = batch is not None and dim % max(t.dim(), 1) == batch[0]
        return Extent.of(n, 2 * n if there else n, place)

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

    def set_data(t: Tensor, other: Tensor) -> None:
        if run.busy:
            base.data.__set__(t, other)
        else:
            run.replace(t, other, base.data.__set__)

    def indexed(function: Callable[..., Any]) -> Callable[..., Any]:
        """torch makes tensors of lists on the device of ``t``, where they may have no values."""

        @wraps(function)
        def call(t: Tensor, index: Any, *value: Any) -> Any:
            if not run.busy and run.place(t) is not None:
                index = tuple(map(_listed, index)) if type(index) is tuple else _listed(index)
            return function(t, index, *value)

        return call

    across_maps = nn.CrossMapLRN2d.forward

    def normalize(layer: nn.CrossMapLRN2d, x: Tensor) -> Tensor:
        odd = layer.size % 2 == 1  # an even window of this layer is one channel narrower than that of the op
        whole = odd and x.dim() == 4 and run.place(x) is not None
        return run.normalized(layer, x, across_maps) if whole else across_maps(layer, x)

    interpolate = nn.functional.interpolate
    changed = {
        (Tensor, "shape"): property(extents),
        (Tensor, "size"): size,
        (Tensor, "__getitem__"): indexed(base.__getitem__),
        (Tensor, "__setitem__"): indexed(base.__setitem__),
        (Tensor, "data"): property(base.data.__get__, set_data),
        (Tensor, "view"): noting(base.view, _shape_asked),
        (Tensor, "reshape"): noting(base.reshape, _shape_asked),
        (nn.CrossMapLRN2d, "forward"): normalize,
        (nn.functional, "interpolate"): noting(interpolate, lambda size=None, *rest, **kwargs: size),
    }
    with patched(changed):
        yield


def _listed(index: Any) -> Any:
    """Returns a list of numbers in an index as a tensor, anything else as it is."""
    if isinstance(index, (list, range)) and index and all(type(i) in (int, bool) for i in index):
        return torch.tensor(index)
    return torch.from_numpy(index) if type(index).__name__ == "ndarray" else index


def _shape_asked(*sizes: Any, **kwargs: Any) -> Any:
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (list, tuple)) else sizes
