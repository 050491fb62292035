"""Leaves a live module as it was: all that can be reached from it is noted before a run and put back after it.

That is the attributes of modules and of other objects, the content of containers in containers, variables of closures
(of hooks that collect outputs), attributes of the user's classes, variables of the files that define these classes, and
what each tensor shows. The values of tensors need no copies, because a traced run writes to no tensor of the model
(`cnnscope.sources.torch.trace`).
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from operator import is_
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunctionSubclass

from cnnscope.sources.torch.memory import (
    CACHE,
    Shown,
    Undo,
    is_outside,
    is_strided,
    show_again,
    shown,
    undo,
    undo_random,
)  # fmt: skip
from cnnscope.sources.torch.objects import (
    HOLDERS,
    LEAVES,
    PROCESS,
    Anatomy,
    Content,
    Holder,
    anatomy,
    ancestors,
    own_names,
    package,
    read_slot,
    write_slot,
)  # fmt: skip


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Sets eval mode inside. Afterwards all that can be reached from the module is as it was, whatever happened."""
    state = State(module)
    try:
        for m in module.modules():
            m.__dict__["training"] = False  # not eval(): a module may override it to do more than set its mode
        yield
    finally:
        state.restore()


_DICT = HOLDERS[dict]
_PLAIN = frozenset({dict, list, set, OrderedDict})
_LIBRARIES = frozenset({"torch", "numpy", "cnnscope", *sys.stdlib_module_names})
"""Packages whose classes and files keep nothing of a model."""
_CODE = (
    type,
    ModuleType,
    FunctionType,
    staticmethod,
    classmethod,
    property,
    MemberDescriptorType,
    GetSetDescriptorType,
)
Look = Callable[[Any], Iterable[Any]]
"""Notes an object and returns what is in it."""
Attributes = Callable[[Any], dict[str, Any]]
"""Returns the dict of the attributes of an object."""


class State:
    """What can be reached from an object, as it is now."""

    def __init__(self, root: object) -> None:
        self._held: list[tuple[Any, Holder, Content]] = []
        self._empty: list[Any] = []  # plain containers: most of a module's, which has one for each sort of hook
        self._slots: list[tuple[Any, MemberDescriptorType, Any]] = []
        self._names: list[tuple[type | ModuleType, Mapping[str, Any]]] = []
        self._undo: list[Undo] = [undo_random()]
        self._tensors: list[Shown] = []
        self._seen: dict[int, object] = {}  # with the objects, so that their ids are not used again
        with DisableTorchFunctionSubclass():
            self._reach([root])

    def _reach(self, waiting: list[Any]) -> None:
        seen, empty = self._seen, self._empty.append
        looks: dict[type, Look] = {kind: partial(self._hold, HOLDERS[kind]) for kind in _PLAIN}
        while waiting:
            x = waiting.pop()
            if id(x) in seen:
                continue
            seen[id(x)] = x
            look = looks.get(type(x))
            if look is None:
                look = looks[type(x)] = self._look(type(x))
                waiting.append(type(x))
            for y in look(x):
                kind = type(y)
                if kind in LEAVES:
                    continue
                if kind in _PLAIN and not y:  # most of all objects, so they take the short way
                    empty(y)
                else:
                    waiting.append(y)

    def restore(self) -> None:
        """Puts back what changed. What did not is not written to."""
        with DisableTorchFunctionSubclass():
            for put_back in self._undo:
                put_back()
            for shown in self._tensors:
                show_again(*shown)
        for x, holder, content in self._held:
            now = holder.read(x)
            if len(now) != len(content) or not all(map(is_, now, content)):
                holder.write(x, content)
        for x in filter(None, self._empty):
            x.clear()
        for x, slot, value in self._slots:
            if read_slot(slot, x) is not value:
                write_slot(slot, x, value)
        for place, names in self._names:
            _restore_names(place, names)

    def _look(self, kind: type) -> Look:
        """Returns how to note objects of a class."""
        if issubclass(kind, type):
            return self._note_class
        if package(kind) in PROCESS:
            return lambda x: ()
        how, outside = anatomy(kind), is_outside(kind)
        if how.attributes is None or how.holder or how.fixed or how.slots or outside:
            return partial(self._note, how, outside or is_strided(kind))
        return partial(self._note_tensor if is_strided(kind) else self._hold_attributes, how.attributes)

    def _note(self, how: Anatomy, outside: bool, x: Any) -> Iterable[Any]:
        inside: list[Any] = []
        if outside and (put_back := undo(x)) is not None:
            self._undo.append(put_back)
        if how.holder is not None:
            inside += self._hold(how.holder, x)
        elif how.fixed is not None:
            inside += how.fixed(x)
        if how.attributes is not None:
            inside += self._hold_attributes(how.attributes, x)
        for slot in how.slots:
            value = read_slot(slot, x)
            self._slots.append((x, slot, value))
            inside.append(value)
        return inside

    def _note_tensor(self, attributes: Attributes, t: Tensor) -> Iterable[Any]:
        if t.layout is torch.strided:
            self._tensors.append(shown(t))
        return self._hold_attributes(attributes, t)

    def _hold(self, holder: Holder, x: Any) -> Content:
        content = holder.read(x)
        self._held.append((x, holder, content))
        return content

    def _hold_attributes(self, attributes: Attributes, x: Any) -> Iterable[Any]:
        table = attributes(x)
        if type(table) is dict and not table:
            self._empty.append(table)
            return ()
        return self._hold(_DICT, table)[dict.__len__(table) :]

    def _note_class(self, kind: type) -> Iterable[Any]:
        """Notes the attributes of a class of the user's, and returns them and the classes it derives from."""
        if package(kind) in _LIBRARIES:
            return ()
        file = sys.modules.get(own_names(kind).get("__module__", ""))
        if file is not None and id(file) not in self._seen:
            self._seen[id(file)] = file
            self._note_file(file)
        names = _data(own_names(kind))
        self._names.append((kind, names))
        return (*names.values(), *ancestors(kind))

    def _note_file(self, file: ModuleType) -> None:
        """Notes the variables of a file, and containers and caches among them, without what is further inside: the
        file's own data sets and trainers are no part of the model.
        """
        names = _data(vars(file))
        self._names.append((file, names))
        for value in vars(file).values():
            if type(value) is CACHE:
                self._undo += filter(None, (undo(value),))
            holder = HOLDERS.get(type(value))
            if holder is not None and id(value) not in self._seen:
                self._held.append((value, holder, holder.read(value)))


def _data(names: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is no code among the names of a class or file."""
    return {name: x for name, x in names.items() if not (name.startswith("__") or issubclass(type(x), _CODE))}


def _restore_names(place: type | ModuleType, before: Mapping[str, Any]) -> None:
    now = _data(own_names(place) if isinstance(place, type) else vars(place))
    put, drop = (type.__setattr__, type.__delattr__) if isinstance(place, type) else (
        ModuleType.__setattr__, ModuleType.__delattr__)  # fmt: skip
    for name in now.keys() - before.keys():
        drop(place, name)
    for name, value in before.items():
        if now.get(name, before) is not value:
            put(place, name, value)
