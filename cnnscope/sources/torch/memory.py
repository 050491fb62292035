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
from torch.nn.parameter import is_lazy

Undo = Callable[[], object]


def is_outside(kind: type) -> bool:
    """Returns whether objects of a class keep something outside Python's containers."""
    numpy = sys.modules.get("numpy")
    arrays = () if numpy is None else (numpy.ndarray,)
    return issubclass(kind, Tensor) or kind in (torch.Generator, CACHE, *arrays)


def undo(x: Any) -> Undo | None:
    """Returns how to put such an object back; None if it cannot change, or cannot be put back."""
    kind = type(x)
    if issubclass(kind, Tensor):
        return _tensor(x)
    if kind is torch.Generator:
        return partial(x.set_state, x.get_state())
    if kind is CACHE:
        return _cache(x)
    return _array(x)


def _tensor(t: Tensor) -> Undo | None:
    if is_lazy(t) or type(t).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return None
    if t.layout != torch.strided:
        return None
    as_now = t.detach()  # the same memory, whatever the tensor itself may be made to show
    place, wanted, gradient = _place(t), t.requires_grad, t.grad if t.is_leaf else None

    def put_back() -> None:
        if _place(t) != place:
            t.data = as_now
        if t.requires_grad != wanted:
            t.requires_grad = wanted
        if t.is_leaf and t.grad is not gradient:
            t.grad = gradient

    return put_back


def _place(t: Tensor) -> tuple[object, ...]:
    return t.data_ptr(), t.shape, t.stride(), t.dtype


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
