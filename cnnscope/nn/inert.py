"""Reads a checkpoint whose pickle also has objects of training scripts, without calling anything of theirs.

`torch.load` takes this module as its ``pickle_module``. A name that torch's own reader of weights allows is what it is
there: a tensor's rebuild function, a storage, a dtype. Every other name becomes a class of `Placeholder`, which is
imported from nowhere; calling it, or anything with it, makes one more placeholder. Only exact lists, dicts and sets are
filled. So nothing outside torch's list is ever called, and no placeholder becomes part of a tensor.

Where a module itself was saved, its weights are in plain dicts of its state, and are read from there.
"""

from __future__ import annotations

import pickle
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import IO, Any

from torch import Tensor
from torch._weights_only_unpickler import _get_allowed_globals
from torch.nn import Parameter

_Base: Any = pickle._Unpickler  # type: ignore[attr-defined,unused-ignore]  # written in Python: its opcodes can be replaced
_DEEP = 4


class Placeholder:
    """An object of a foreign class. Only the name of its class is kept, and the ``tables`` of what looks like a module:
    its weights, buffers and modules by name.
    """

    __slots__ = ("tables",)

    def __init__(self) -> None:
        self.tables: Mapping[str, Any] = {}


class Unpickler(_Base):  # type: ignore[misc,unused-ignore]
    """Follows a pickle, and calls nothing but what torch allows in files of weights."""

    def __init__(self, file: IO[bytes], **options: Any) -> None:
        super().__init__(file, **options)
        self._allowed = _get_allowed_globals()
        self._callable = {id(value) for value in self._allowed.values() if callable(value)}
        self._callable.add(id(defaultdict))

    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins"}.get(module, module)
        if (module, name) == ("collections", "defaultdict"):
            return defaultdict
        if f"{module}.{name}" in self._allowed:
            return self._allowed[f"{module}.{name}"]
        return type(name.rpartition(".")[2] or "object", (Placeholder,), {"__slots__": ()})

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError(f"copyreg extension {code}")

    def _made(self, function: Any, arguments: Any) -> Any:
        """What calling the function makes; a placeholder where it, or any argument, is foreign."""
        if isinstance(function, type) and issubclass(function, Placeholder):
            first = arguments[0] if isinstance(arguments, tuple) and arguments else None
            rebuilt = function.__name__ == "_reconstructor" and _foreign(first)  # copyreg's way to make an object
            return first() if rebuilt and isinstance(first, type) else function()
        if id(function) not in self._callable or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError(f"a call of {type(function).__name__}")
        if function is defaultdict:  # its factory would be called by a later look-up
            return {}
        return Placeholder() if _foreign(arguments) else function(*arguments)

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], arguments)

    def _new_with_keywords(self) -> None:
        keywords = self.stack.pop()
        self._reduce()
        if keywords and not isinstance(self.stack[-1], Placeholder):
            raise pickle.UnpicklingError("a call with keywords")

    def _instantiate(self, function: Any, arguments: Any) -> None:
        self.append(self._made(function, tuple(arguments)))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, (Placeholder, OrderedDict)):
            raise pickle.UnpicklingError(f"a state for {type(target).__name__}")
        if isinstance(target, Placeholder) and type(state) is dict and state.keys() >= set(_TABLES):
            hidden = state.get("_non_persistent_buffers_set")
            target.tables = {
                table: {key: value for key, value in state[table].items() if table != "_buffers" or key not in hidden}
                if type(hidden) is set else state[table]
                for table in _TABLES if type(state[table]) in _DICTS
            }  # fmt: skip

    def _append(self) -> None:
        value = self.stack.pop()
        self._fill([value], (list,), lambda target, values: target.extend(values))

    def _appends(self) -> None:
        self._fill(self.pop_mark(), (list,), lambda target, values: target.extend(values))

    def _add_items(self) -> None:
        self._fill(self.pop_mark(), (set,), lambda target, values: target.update(values))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value], _DICTS, _set_all)

    def _set_items(self) -> None:
        self._fill(self.pop_mark(), _DICTS, _set_all)

    def _fill(self, values: list[Any], kinds: tuple[type, ...], fill: Callable[[Any, list[Any]], None]) -> None:
        target = self.stack[-1]
        if type(target) in kinds:
            fill(target, values)
        elif not isinstance(target, Placeholder):
            raise pickle.UnpicklingError(f"items for {type(target).__name__}")

    dispatch = {
        **_Base.dispatch,
        pickle.REDUCE[0]: _reduce, pickle.NEWOBJ[0]: _reduce, pickle.NEWOBJ_EX[0]: _new_with_keywords,
        pickle.BUILD[0]: _build, pickle.APPEND[0]: _append, pickle.APPENDS[0]: _appends,
        pickle.ADDITEMS[0]: _add_items, pickle.SETITEM[0]: _set_item, pickle.SETITEMS[0]: _set_items,
    }  # fmt: skip


_TABLES = ("_parameters", "_buffers", "_modules")
"""Where `torch.nn.Module` keeps what a state dict has."""
_NESTED = 100


def state_of(module: object) -> dict[str, Tensor]:
    """Returns the weights and buffers in the placeholder of a module by their names in its state dict; {} for any other
    object. A module that is reached twice counts under its first name.
    """
    found: dict[str, Tensor] = {}
    _gather(module, "", found, set(), 0)
    return found


def _gather(module: object, prefix: str, found: dict[str, Tensor], seen: set[int], depth: int) -> None:
    if not isinstance(module, Placeholder) or id(module) in seen or depth > _NESTED:
        return
    seen.add(id(module))
    for table in _TABLES[:2]:
        for name, value in module.tables.get(table, {}).items():
            if isinstance(name, str) and type(value) in (Tensor, Parameter):
                found[f"{prefix}{name}"] = value.detach()
    for name, inner in module.tables.get("_modules", {}).items():
        if isinstance(name, str):
            _gather(inner, f"{prefix}{name}.", found, seen, depth + 1)


_DICTS = (dict, OrderedDict, Counter)


def load(file: IO[bytes], **options: Any) -> Any:
    """The next object of a file: torch's format from before 1.6 has several, one after the other."""
    return Unpickler(file, **options).load()


def _set_all(target: Any, values: list[Any]) -> None:
    target.update(zip(values[::2], values[1::2], strict=True))


def _foreign(value: Any, depth: int = _DEEP) -> bool:
    """Whether a value is a placeholder, or a container that has one."""
    if isinstance(value, Placeholder) or (isinstance(value, type) and issubclass(value, Placeholder)):
        return True
    if depth == 0 or not isinstance(value, (tuple, list, set, Mapping)):
        return False
    inner = [*value, *value.values()] if isinstance(value, Mapping) else value
    return any(_foreign(part, depth - 1) for part in inner)
