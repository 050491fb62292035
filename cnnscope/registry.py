"""Registries: what can be chosen by name, whether it is built in, in an installed package or in a plugin.

    CHECKS: Registry[Check] = Registry("cnnscope.checks", "check", built_in, form="cnnscope.trust.scene:Check")

An entry is written as ``module:attribute`` and imported when it is asked for. Other packages add entries as entry
points of the group that the registry is named after; `add` adds one directly, and is how a plugin does it.

A package cannot break what it has nothing to do with: an entry of an installed package that does not work is an error
only where it is asked for by name. Where all entries are used, it is left out, and `problems` says why.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar, overload

from cnnscope.entries import Entry, announces, attribute, built_in_entry, caller, entry_points, place_of, taken
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.user_code import a, broken, strangers

T = TypeVar("T")

problems: list[CnnscopeError] = []
"""Why entries of installed packages were left out, in the order in which that was found out."""


@dataclass(frozen=True, slots=True)
class Addition:
    """A call of `Registry.add` outside of cnnscope's own files, and the entry that stood there before."""

    registry: Registry[Any]
    name: str
    before: Entry | None

    def undo(self) -> None:
        """Puts back what stood there before."""
        self.registry.version += 1
        if self.before is None:
            self.registry._own.pop(self.name, None)
        else:
            self.registry._own[self.name] = self.before


_additions: list[Addition] = []


class Registry(Generic[T]):
    """Values of one kind by name. ``group`` names the entry points that belong here, ``noun`` is for messages.

    ``built_in`` has each built-in entry by name, in the order in which they are listed: its place, or the value itself.
    ``form`` is the place of the class that a value is an instance or a subclass of; without it, values are functions.
    ``code`` is the code of the error for an unknown name. ``version`` changes with every addition.
    """

    def __init__(
        self, group: str, noun: str, built_in: Mapping[str, str | T] | None = None, *, form: str | None = None,
        code: str = "E401",
    ) -> None:  # fmt: skip
        self.group, self.noun, self.form, self.code = group, noun, form, code
        self._own = {name: built_in_entry(entry) for name, entry in (built_in or {}).items()}
        self.version = 0
        self._scanned = False
        self._left_out: dict[str, CnnscopeError] = {}

    # -- asking -----------------------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """All names, built-in ones first. Nothing is imported."""
        return tuple(self._entries())

    def find(self, name: str) -> T:
        """The value called ``name``.

        `CnnscopeError`: the registry's own code where there is none, with the nearest names; E411 where the package
        that has it cannot be imported, E412 where several packages have it, E413 where the package was written for
        another version of cnnscope.
        """
        self.check(name)
        if name in self._left_out:
            _report(self._left_out[name])
        entry = self._own[name]
        if entry.value is None:
            entry = replace(entry, value=self._load(name, entry))
            self._own[name] = entry
        value: T = entry.value  # type: ignore[assignment]  # `_load` and `add` put nothing else there
        return value

    __getitem__ = find

    def check(self, name: str) -> None:
        """The registry's own error where no value is called ``name``. Nothing is imported."""
        if name not in self:
            raise self.unknown(name)

    def unknown(self, name: str) -> CnnscopeError:
        """The error for a name that there is not."""
        hint = did_you_mean(name, self.names(), most=2) or f"there are {', '.join(self.names())}"
        return CnnscopeError.of(self.code, f"no {self.noun} is called `{name}`", hint=hint)

    def get(self, name: str) -> T | None:
        """The value called ``name``, or None."""
        return self.find(name) if name in self else None

    def ready(self, name: str) -> T | None:
        """The value called ``name`` if nothing has to be imported for it; for help texts."""
        value: T | None = self._entries()[name].value  # type: ignore[assignment]  # `_load` and `add` put it there
        return value

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and values, imported one by one, without those that do not work: `problems` says why."""
        for name in self.names():
            try:
                value = self.find(name)
            except CnnscopeError as error:
                _report(error)
            else:
                yield name, value

    def values(self) -> Iterator[T]:
        """The values of `items`."""
        return (value for _, value in self.items())

    def keys(self) -> tuple[str, ...]:
        """As `names`."""
        return self.names()

    def __contains__(self, name: object) -> bool:
        return name in self._entries()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._entries())

    # -- adding -----------------------------------------------------------------------------------------------------

    @overload
    def add(self, name: str, value: T) -> T: ...

    @overload
    def add(self, name: str) -> Callable[[T], T]: ...

    def add(self, name: str, value: T | None = None) -> T | Callable[[T], T]:
        """Adds a value, or decorates what is to be added.

        `CnnscopeError`: E412 where the name is taken, E413 where the value is not of the registry's form.
        """
        if value is None:
            return lambda decorated: self.add(name, decorated)
        fault = self._fault(value)
        if fault:
            raise CnnscopeError.of("E413", f"the {self.noun} `{name}` {fault}", hint=self._wanted())
        place = place_of(value, caller())
        own = place.split(".")[0] == "cnnscope"
        before = (self._own if own else self._entries()).get(name)
        if own and before is not None and before.package is not None:
            self._left_out[name] = taken(self.noun, name, f"`{place}`", str(before))
        elif before is not None and not announces(before, place):
            raise taken(self.noun, name, str(before), f"`{place}`")
        if not own:
            _additions.append(Addition(self, name, before))
        self._own[name] = Entry(place, value) if own or before is None else replace(before, value=value)
        self.version += 1
        return value

    # -- how --------------------------------------------------------------------------------------------------------

    def _entries(self) -> dict[str, Entry]:
        """All entries by name, those of installed packages included."""
        if not self._scanned:
            self._scanned = True
            for point in entry_points(tuple(sys.path)).get(self.group, ()):
                self._announce(point.name, Entry(point.place, package=point.package))
        return self._own

    def _announce(self, name: str, entry: Entry) -> None:
        """An entry point, unless cnnscope has the name itself or another package claims it too."""
        before = self._own.get(name)
        if before is None or announces(entry, before.place):
            self._own[name] = entry if before is None else replace(entry, value=before.value)
        elif before.package is None:
            self._left_out[name] = taken(self.noun, name, str(before), str(entry))
        elif before.place != entry.place:
            self._own[name] = replace(before, rivals=(*before.rivals, str(entry)))

    def _load(self, name: str, entry: Entry) -> object:
        if entry.package is None:
            return attribute(entry.place)
        what = f"the {self.noun} `{name}` of the package {entry.package}"
        remedy = f"install a version of {entry.package} that fits, or uninstall it"
        if entry.rivals:
            raise taken(self.noun, name, str(replace(entry, rivals=())), *entry.rivals)
        try:
            strangers[entry.place.split(":")[0].split(".")[0]] = f"the package {entry.package}"
            with recording():
                value = attribute(entry.place)
        except CnnscopeError as error:
            raise CnnscopeError(*(replace(d, hint=d.hint or remedy) for d in error.diagnostics)) from error
        except Exception as error:
            raise broken(error, what, code="E411", hint=remedy) from error
        fault = self._fault(value)
        if fault:
            raise CnnscopeError.of("E413", f"{what} {fault}", hint=f"{self._wanted()}; {remedy}")
        return value

    def _fault(self, value: object) -> str | None:
        """What is wrong with a value's form; None where nothing is."""
        if self.form is None:
            return None if callable(value) else f"is not a function but {a(type(value).__name__)}"
        form = attribute(self.form)
        fits = isinstance(value, form) or (isinstance(value, type) and issubclass(value, form))
        return None if fits else f"is not {a(form.__name__).replace(' ', ' `')}` but {a(type(value).__name__)}"

    def _wanted(self) -> str:
        what = "a function" if self.form is None else f"a `{self.form.replace(':', '.')}`"
        return f"this version of cnnscope takes {what}"


def checked_result(found: Any, form: Any, what: str, hint: str, given: str = "") -> Any:
    """Returns what an entry, ``what``, returned when it was called for ``given``; E413 where that is not of the
    ``form`` that its kind has.
    """
    if not isinstance(found, form):
        argument = f" for `{given}`" if given else ""
        raise CnnscopeError.of("E413", f"{what} returned {a(type(found).__name__)}{argument}", hint=hint)
    return found


def load_files(package: str) -> None:
    """Imports every file of a package, so that each adds what it has."""
    for module in sorted(found.name for found in iter_modules(import_module(package).__path__)):
        import_module(f"{package}.{module}")


@contextmanager
def recording() -> Iterator[list[Addition]]:
    """The list has what was added inside, once it is left.

    Where an error ends it, what was added is taken back: a module that fails halfway leaves nothing behind.
    """
    mark, found = len(_additions), list[Addition]()
    try:
        yield found
    except BaseException:
        while len(_additions) > mark:
            _additions.pop().undo()
        raise
    found += _additions[mark:]


def _report(error: CnnscopeError) -> None:
    if all(str(error) != str(known) for known in problems):
        problems.append(error)
