"""Looks into any Python object without running code of its class.

A container of a library may refuse changes, count its reads or give other items than it has. So what is in an object is
asked of the built-in type below its class (``dict.values(x)``, never ``x.values()``), and written back in the same way.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from gc import get_referents
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    NoneType,
)  # fmt: skip
from typing import Any

Content = tuple[Any, ...]

LEAVES = frozenset({
    int, float, complex, str, bytes, bool, NoneType, range, slice, type(Ellipsis), BuiltinFunctionType, ModuleType,
})  # fmt: skip
"""Types of objects with nothing inside that could change during a run."""

PROCESS = frozenset({"asyncio", "concurrent", "logging", "multiprocessing", "queue", "threading", "weakref", "_thread"})
"""Packages whose objects belong to the process: other threads may use them meanwhile."""

MISSING = object()
"""The content of an empty slot."""


@dataclass(frozen=True, slots=True)
class Holder:
    """How the content of a mutable object is read, and written back."""

    read: Callable[[Any], Content]
    write: Callable[[Any, Content], None]


def _mapping(kind: type[dict[Any, Any]]) -> Holder:
    """Returns how a dict is read and written by the methods of ``kind``: an `OrderedDict` keeps an order of its own."""

    def read(x: dict[Any, Any]) -> Content:
        return (*kind.keys(x), *kind.values(x)) if dict.__len__(x) else ()

    def write(x: dict[Any, Any], content: Content) -> None:
        kind.clear(x)
        half = len(content) // 2
        for key, value in zip(content[:half], content[half:], strict=True):
            kind.__setitem__(x, key, value)

    return Holder(read, write)


def _write_list(x: list[Any], content: Content) -> None:
    list.__setitem__(x, slice(None), content)


def _write_set(x: set[Any], content: Content) -> None:
    set.clear(x)
    set.update(x, content)


def _write_deque(x: deque[Any], content: Content) -> None:
    deque.clear(x)
    deque.extend(x, content)


def _write_bytes(x: bytearray, content: Content) -> None:
    bytearray.__setitem__(x, slice(None), bytes(content))


def _read_cell(x: CellType) -> Content:
    try:
        return (x.cell_contents,)
    except ValueError:  # not assigned yet
        return ()


def _write_cell(x: CellType, content: Content) -> None:
    if content:
        x.cell_contents = content[0]
    else:
        del x.cell_contents


HOLDERS: dict[type, Holder] = {
    OrderedDict: _mapping(OrderedDict),
    dict: _mapping(dict),
    list: Holder(lambda x: tuple(list.__iter__(x)), _write_list),
    set: Holder(lambda x: tuple(set.__iter__(x)), _write_set),
    deque: Holder(lambda x: tuple(deque.__iter__(x)), _write_deque),
    bytearray: Holder(lambda x: tuple(bytearray.__iter__(x)), _write_bytes),
    CellType: Holder(_read_cell, _write_cell),
}
"""The built-in mutable types; the first that a class derives from is its own."""

FIXED: dict[type, Callable[[Any], Iterable[Any]]] = {
    tuple: tuple.__iter__,
    frozenset: frozenset.__iter__,
    MappingProxyType: get_referents,  # the mapping that it shows
    FunctionType: lambda f: (f.__closure__, f.__defaults__, f.__kwdefaults__),
    MethodType: lambda m: (m.__self__, m.__func__),
    partial: lambda p: (p.func, p.args, p.keywords),
}
"""What is in objects that do not change themselves, but contain others that may."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """How to look into objects of one class: ``holder`` and ``fixed`` are those of the built-in type below it,
    ``attributes`` returns the dict of its attributes, ``slots`` are the others.
    """

    holder: Holder | None
    fixed: Callable[[Any], Iterable[Any]] | None
    attributes: Callable[[Any], dict[str, Any]] | None
    slots: tuple[MemberDescriptorType, ...]


def anatomy(kind: type) -> Anatomy:
    """Returns how to look into objects of a class."""
    lineage = ancestors(kind)
    tables = [own_names(ancestor) for ancestor in lineage]
    holder = next((HOLDERS[ancestor] for ancestor in lineage if ancestor in HOLDERS), None)
    fixed = next((FIXED[ancestor] for ancestor in lineage if ancestor in FIXED), None)
    kinds = GetSetDescriptorType, MemberDescriptorType
    attributes = next((d for table in tables if isinstance(d := table.get("__dict__"), kinds)), None)
    members = (m for table in tables if "__slots__" in table for m in table.values())
    slots = tuple(m for m in members if isinstance(m, MemberDescriptorType))
    return Anatomy(holder, fixed, None if attributes is None else attributes.__get__, slots)


def ancestors(kind: type) -> tuple[type, ...]:
    """Returns a class and all those that it derives from, in the order in which names are looked up."""
    found: tuple[type, ...] = _MRO.__get__(kind)
    return found


def own_names(kind: type) -> Mapping[str, Any]:
    """Returns the names that a class itself defines."""
    found: Mapping[str, Any] = _NAMES.__get__(kind)
    return found


def package(kind: type) -> str:
    """Returns the name of the package that defines a class."""
    name = own_names(kind).get("__module__")
    return name.partition(".")[0] if isinstance(name, str) else ""


_MRO, _NAMES = type.__dict__["__mro__"], type.__dict__["__dict__"]


def read_slot(slot: MemberDescriptorType, x: Any) -> Any:
    """Returns the content of a slot of an object; `MISSING` if it has none."""
    try:
        return slot.__get__(x)
    except AttributeError:
        return MISSING


def write_slot(slot: MemberDescriptorType, x: Any, value: Any) -> None:
    """Fills or empties a slot of an object."""
    if value is MISSING:
        slot.__delete__(x)
    else:
        slot.__set__(x, value)
