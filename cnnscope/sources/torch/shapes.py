"""Shapes during a run: outputs of the most frequent functions without asking torch, and which sizes come from
shapes.

torch's own shape rules for meta tensors are slow, since they are Python. A shortcut takes the arguments of a call and
returns its output, or None if it is not sure: then torch runs the function and reports what is wrong with it. Shortcuts
cover plain cases of contiguous floating-point tensors only.

ATen sees plain numbers. So while a module runs, the shapes of tensors that depend on its input consist of `Extent`s,
whole numbers that stay extents under arithmetic. ``view``, ``reshape`` and ``interpolate`` store the sizes they were
called with for the rules that record them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cnnscope.sources.torch.patches import patched

META = torch.device("meta")
SHORTCUTS: dict[str, Callable[..., Tensor | None]] = {}


def _shortcut(*names: str) -> Callable[[Callable[..., Tensor | None]], Callable[..., Tensor | None]]:
    def register(function: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
        SHORTCUTS.update(dict.fromkeys(names, function))
        return function

    return register


def _each(n: int | Sequence[int]) -> Sequence[int]:
    return (n, n) if isinstance(n, int) else (n[0], n[-1])


def _plain(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_meta and x.is_contiguous() and x.is_floating_point()


def _like(x: Tensor) -> Tensor:
    """Returns ``torch.empty_like(x)``; torch itself takes forty times as long for its shape."""
    if x.is_contiguous():
        return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=META)
    return torch.empty_like(x)


def _new(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Returns ``x.new_empty(shape)``."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n or 1
    return torch.empty_strided(shape, strides[::-1], dtype=x.dtype, device=META)


@_shortcut(
    "relu", "relu6", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu",
    "mish",
)  # fmt: skip
def elementwise(x: Tensor, *rest: Any, **kwargs: Any) -> Tensor | None:
    return _like(x) if x.is_meta and x.is_floating_point() else None


@_shortcut("softmax")
def softmax(x: Tensor, axis: int, dtype: torch.dtype | None = None) -> Tensor | None:
    return _like(x) if _plain(x) and dtype is None and -x.dim() <= axis < x.dim() else None


@_shortcut("roll")
def roll(x: Tensor, shifts: Sequence[int], axes: Sequence[int] = ()) -> Tensor | None:
    return _like(x) if _plain(x) and len(shifts) == len(axes) else None


@_shortcut("relu_", "relu6_", "silu_", "hardswish_", "hardsigmoid_", "hardtanh_", "leaky_relu_")
def same_in_place(x: Tensor, *rest: Any) -> Tensor | None:
    return x if x.is_meta else None


@_shortcut("add", "sub", "mul", "div")
def binary(x: Any, y: Any, **kwargs: Any) -> Tensor | None:
    if not isinstance(x, Tensor):
        return None
    if isinstance(y, (int, float)):
        return _like(x) if x.is_meta and x.is_floating_point() else None
    if not (_plain(x) and isinstance(y, Tensor) and y.is_contiguous() and y.dtype == x.dtype):
        return None
    if x.shape == y.shape:
        return _like(x)
    fits = y.dim() <= x.dim() and all(m in (1, n) for n, m in zip(x.shape[::-1], y.shape[::-1], strict=False))
    return _like(x) if fits else None


@_shortcut("add_")
def binary_in_place(x: Tensor, y: Any, **kwargs: Any) -> Tensor | None:
    return x if x.is_meta and isinstance(y, Tensor) and y.shape == x.shape and y.dtype == x.dtype else None


@_shortcut("batch_norm")
def batch_norm(x: Tensor, *rest: Any) -> Tensor | None:
    *statistics, training = rest[:5]
    channels = x.shape[1:2]
    sized = all(t is None or t.shape == channels for t in statistics)
    return _like(x) if not training and sized and x.dim() > 1 and _plain(x) else None


@_shortcut("layer_norm")
def layer_norm(x: Tensor, shape: Sequence[int], *rest: Any) -> Tensor | None:
    fits = list(x.shape[x.dim() - len(shape) :]) == list(shape)
    sized = all(t is None or list(t.shape) == list(shape) for t in rest[:2])
    return _like(x) if fits and sized and _plain(x) else None


@_shortcut("linear")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    fits = weight.dim() == 2 and x.dim() > 0 and x.shape[-1] == weight.shape[1] and x.dtype == weight.dtype
    if not (fits and _plain(x) and (bias is None or bias.shape == weight.shape[:1])):
        return None
    return _new(x, (*x.shape[:-1], weight.shape[0]))


@_shortcut("matmul")
def matmul(a: Tensor, b: Tensor) -> Tensor | None:
    fits = a.dim() == b.dim() > 2 and a.shape[:-2] == b.shape[:-2] and a.shape[-1] == b.shape[-2]
    same_kind = a.dtype == b.dtype and a.is_meta and b.is_meta and a.is_floating_point()
    return _new(a, (*a.shape[:-1], b.shape[-1])) if fits and same_kind else None


@_shortcut("conv2d")
def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:  # fmt: skip
    if isinstance(padding, str) or not (_plain(x) and weight.is_contiguous() and x.dim() == weight.dim() == 4):
        return None
    (batch, channels, *before), (out, share, *kernel) = x.shape, weight.shape
    sized = channels == share * groups and not out % groups
    if not sized or x.dtype != weight.dtype or not (bias is None or bias.shape == (out,)):
        return None
    axes = zip(before, kernel, _each(stride), _each(padding), _each(dilation), strict=True)
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
    return _new(x, (batch, out, *size)) if min(size) > 0 else None


@_shortcut("cat")
def cat(parts: Sequence[Tensor], axis: int = 0) -> Tensor | None:
    first = parts[0]
    if not -first.dim() <= axis < first.dim():
        return None
    rest, axis = [*first.shape], axis % first.dim()
    for t in parts:
        fits = _plain(t) and t.dim() == len(rest) and t.dtype == first.dtype
        if not fits or any(n != m for i, (n, m) in enumerate(zip(t.shape, rest, strict=True)) if i != axis):
            return None
    rest[axis] = sum(t.shape[axis] for t in parts)
    return _new(first, rest)


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


class Watched(Protocol):
    """A run whose shapes are watched. While ``busy``, cnnscope itself is at work and sees plain numbers."""

    busy: bool
    sizes: Sequence[int]

    def place(self, t: Tensor) -> int | None: ...
    def replace(self, t: Tensor, other: Tensor, assign: Callable[[Tensor, Tensor], None]) -> None: ...
    def normalized(self, layer: nn.CrossMapLRN2d, x: Tensor, call: Callable[..., Tensor]) -> Tensor: ...
    def doubled(self, place: int) -> int | None: ...


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
        batch = run.doubled(place)
        return torch.Size([Extent.of(n, 2 * n if i == batch else n, place) for i, n in enumerate(shape)])

    def size(t: Tensor, dim: Any = None) -> Any:
        if dim is None:
            return extents(t)
        n, place = size_of(t, dim), run.place(t)
        if run.busy or place is None:
            return n
        return Extent.of(n, 2 * n if dim % max(t.dim(), 1) == run.doubled(place) else n, place)

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
