"""Shortcuts: outputs of the most frequent functions of a run without values, without asking torch.

torch's own shape rules for meta tensors are slow, since they are Python. A shortcut takes the arguments of a call and
returns its output, or None if it is not sure: then torch runs the function and reports what is wrong with it. Shortcuts
cover plain cases of floating-point tensors only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

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
