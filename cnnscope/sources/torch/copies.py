"""Copies a module for a run that may change it, without running code of its classes.

``copy.deepcopy`` asks each class how to copy it and fills containers by their own methods, which configurations that
refuse changes refuse. Here all is copied as it lies in memory (`cnnscope.sources.torch.objects`). What belongs to the
process (locks, threads, functions) is shared.
"""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict, deque
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, TypeVar
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from cnnscope.sources.torch.objects import LEAVES, MISSING, PROCESS, anatomy, package, read_slot, write_slot

T = TypeVar("T")

_SHARED = (type, ModuleType, FunctionType, torch.Generator)
_EMPTY: tuple[type, ...] = (OrderedDict, defaultdict, dict, list, set, deque, bytearray)
"""Built-in mutable types whose ``__new__`` makes an empty object of any class that derives from them."""


def duplicate(module: T) -> T:
    """Returns a copy of a module or any other object. Tensors get memory of their own, on the CPU unless they have no
    values.
    """
    with torch.inference_mode(False), torch.no_grad(), torch._C.DisableTorchFunctionSubclass():
        return _Copying().of(module)  # type: ignore[no-any-return]


class _Copying:
    """Copies that were made already, by the ids of their originals."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}  # with the originals, so that their ids are not used again

    def of(self, x: Any) -> Any:
        kind = type(x)
        if kind in LEAVES or issubclass(kind, _SHARED) or package(kind) in PROCESS - {"weakref"}:
            return x
        if id(x) in self._made:
            return self._made[id(x)][1]
        made = self._fixed(x, kind)
        if made is None:
            made = self._empty(x, kind)
            self._made[id(x)] = x, made
            if made is not x:
                self._fill(x, made, kind)
        self._made[id(x)] = x, made
        return made

    def _fixed(self, x: Any, kind: type) -> Any:
        """Returns a copy of what cannot change once it is made; None for all else."""
        if kind is MethodType:
            return MethodType(x.__func__, self.of(x.__self__))
        if kind is partial:
            return partial(self.of(x.func), *map(self.of, x.args), **{k: self.of(v) for k, v in x.keywords.items()})
        if kind is ReferenceType:
            return x if x() is None else ref(self.of(x()))
        base: Any = next((base for base in (tuple, frozenset) if issubclass(kind, base)), None)
        return None if base is None else base.__new__(kind, [self.of(item) for item in base.__iter__(x)])

    def _empty(self, x: Any, kind: type) -> Any:
        """Returns a new object without content. An object that only its own class can make is left to ``deepcopy``, or
        shared if that refuses.
        """
        if issubclass(kind, Tensor):
            return _tensor(x, kind)
        base: Any = next((base for base in _EMPTY if issubclass(kind, base)), object)
        try:
            made = base.__new__(kind)
        except TypeError:
            return _by_its_class(x)
        if issubclass(kind, deque):
            deque.__init__(made, (), deque.maxlen.__get__(x))
        if issubclass(kind, defaultdict):
            made.default_factory = x.default_factory
        return made

    def _fill(self, x: Any, made: Any, kind: type) -> None:
        how = anatomy(kind)
        if how.holder is not None:
            content = how.holder.read(x)
            half = len(content) // 2 if issubclass(kind, dict) else 0
            how.holder.write(made, (*content[:half], *map(self.of, content[half:])))
        if how.attributes is not None:
            for name, value in dict.items(how.attributes(x)):
                how.attributes(made)[name] = self.of(value)
        for slot in how.slots:
            if (value := read_slot(slot, x)) is not MISSING:
                write_slot(slot, made, self.of(value))


def _tensor(t: Tensor, kind: Any) -> Tensor:
    if is_lazy(t):
        lazy: Tensor = kind(t.requires_grad, t.data.device, t.data.dtype)
        return lazy
    if t.layout != torch.strided or kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return _by_its_class(t)  # type: ignore[no-any-return]
    memory = t.detach().clone() if t.is_meta else t.detach().to("cpu", copy=True)
    return (
        memory.requires_grad_(t.requires_grad)
        if kind is Tensor
        else Tensor._make_subclass(kind, memory, t.requires_grad)
    )


def _by_its_class(x: Any) -> Any:
    try:
        return copy.deepcopy(x)
    except Exception:  # noqa: BLE001  # whatever it raises, there is only one of it
        return x
