"""What objects keep outside Python's own containers: tensors, arrays, generators of random numbers, caches of results.

Each function returns how to put an object back to what it is now. Both are done where the functions that subclasses of
tensors have of their own do not run (``torch._C.DisableTorchFunctionSubclass``).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

Undo = Callable[[], object]
LAZY = (UninitializedParameter, UninitializedBuffer)
"""Classes of tensors without a shape yet."""


def is_outside(kind: type) -> bool:
    """Returns whether objects of a class, which are no tensors, keep something outside Python's containers."""
    numpy = sys.modules.get("numpy")
    arrays = () if numpy is None else (numpy.ndarray,)
    return kind in (torch.Generator, CACHE, *arrays)


def undo(x: Any) -> Undo | None:
    """Returns how to put such an object back; None if it cannot change, or cannot be put back."""
    kind = type(x)
    if issubclass(kind, Tensor):
        return partial(show_again, *shown(x)) if x.layout is torch.strided else None
    if kind is torch.Generator:
        return partial(x.set_state, x.get_state())
    if kind is CACHE:
        return _cache(x)
    return _array(x)


# -- tensors -----------------------------------------------------------------------------------------------------------


Shown = tuple[Tensor, Tensor, tuple[object, ...], bool, Tensor | None]
"""A tensor, one that shows the same memory, what `_place` returns, whether it has a gradient, and the gradient."""


def is_strided(kind: type) -> bool:
    """Returns whether tensors of a class show memory, unless their layout is another."""
    if not issubclass(kind, Tensor) or issubclass(kind, LAZY):
        return False
    return kind.__torch_dispatch__ is Tensor.__torch_dispatch__


def shown(t: Tensor) -> Shown:
    """Returns what a tensor shows now."""
    return t, t.detach(), _place(t), t.requires_grad, t.grad if t.is_leaf else None


def show_again(t: Tensor, as_it_was: Tensor, place: tuple[object, ...], wanted: bool, gradient: Tensor | None) -> None:
    """Makes a tensor show what it showed."""
    if _place(t) != place:
        t.data = as_it_was
    if t.requires_grad != wanted:
        t.requires_grad = wanted
    if t.is_leaf and t.grad is not gradient:
        t.grad = gradient


def _place(t: Tensor) -> tuple[object, ...]:
    return t.data_ptr(), t.shape, t.stride(), t.dtype


# -- all else ----------------------------------------------------------------------------------------------------------


def _array(x: Any) -> Undo | None:
    if not (x.flags.owndata and x.flags.writeable) or x.dtype.hasobject:
        return None
    before = x.copy()

    def put_back() -> None:
        x[...] = before

    return put_back


CACHE = type(lru_cache(lambda: None))


def _cache(function: Any) -> Undo:
    size = function.cache_info().currsize

    def put_back() -> None:
        if function.cache_info().currsize != size:
            function.cache_clear()  # it does not tell which of its results are of the run

    return put_back


def undo_random() -> Undo:
    """Returns how to put the random generators of Python, NumPy and torch (on the CPU) back."""
    states: list[tuple[Callable[[Any], Any], Any]] = [
        (random.setstate, random.getstate()), (torch.random.set_rng_state, torch.random.get_rng_state()),
    ]  # fmt: skip
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        states.append((numpy.set_state, numpy.get_state()))
    return lambda: [put(state) for put, state in states]
