"""Entries of registries: where each is, and what installed packages offer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from cnnscope.errors import CnnscopeError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """``place`` is ``module:attribute``, ``package`` the installed package it comes from (None: cnnscope or a plugin).

    ``value`` is None until it is imported. ``rivals`` are other packages that have an entry of the same name.
    """

    place: str
    value: object = None
    package: str | None = None
    rivals: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"`{self.place}`" + (f" of the package {self.package}" if self.package else "")


def built_in_entry(entry: object) -> Entry:
    """The entry of a place, or of a value itself."""
    return Entry(entry) if isinstance(entry, str) else Entry(place_of(entry, "cnnscope"), entry)


def attribute(place: str) -> Any:
    """What ``module:attribute`` is."""
    module, _, path = place.partition(":")
    found: Any = import_module(module)
    for name in path.split(".") if path else ():
        found = getattr(found, name)
    return found


def resolved(value: T | str) -> T:
    """The value, or what the place names; a place is imported only now."""
    if not isinstance(value, str):
        return value
    found: T = attribute(value)
    return found


def place_of(value: object, module: str) -> str:
    """Where a value was defined, as ``module:attribute``; of an object in ``module``, its type."""
    if hasattr(value, "__qualname__"):
        return f"{getattr(value, '__module__', module)}:{value.__qualname__}"
    return f"{module}:{type(value).__name__}"


def caller() -> str:
    """The module that adds something."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in (__name__, "cnnscope.registry"):
        frame = frame.f_back
    return "?" if frame is None else str(frame.f_globals.get("__name__"))


def announces(entry: Entry, place: str) -> bool:
    """Whether an entry point of a package is about what the same package adds itself when it is imported."""
    return entry.package is not None and entry.place.split(":")[0].split(".")[0] == place.split(":")[0].split(".")[0]


def taken(noun: str, name: str, *places: str) -> CnnscopeError:
    """E412 for a name that several places have."""
    times = "twice" if len(places) == 2 else f"{len(places)} times"
    message = f"the {noun} `{name}` exists {times}: {' and '.join(places)}"
    return CnnscopeError.of("E412", message, hint="a name is given once: rename one of them, or uninstall its package")


class EntryPoint(NamedTuple):
    """``place`` is ``module:attribute``; ``package`` is the package that offers it, with its version."""

    name: str
    place: str
    package: str


@cache
def entry_points(path: tuple[str, ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Entry points by group, each group sorted by name, of the packages in the folders of ``path`` (`sys.path`).

    Importing `importlib.metadata` takes longer than many a command, so that happens only where a package mentions such
    a group.
    """
    places = [place for folder in path for place in _mentions(folder)]
    if not places:
        return {}
    from importlib.metadata import Distribution

    found: dict[str, set[EntryPoint]] = {}
    seen = set()
    for package in map(Distribution.at, places):
        if package.name in seen:  # hidden by another version that comes first on the path
            continue
        seen.add(package.name)
        for point in package.entry_points:
            if point.group.startswith("cnnscope."):
                offered = EntryPoint(point.name, point.value, f"{package.name} {package.version}")
                found.setdefault(point.group, set()).add(offered)
    return {group: tuple(sorted(points)) for group, points in found.items()}


def _mentions(folder: str) -> Iterator[str]:
    """What describes the packages in a folder that have an entry point for cnnscope."""
    try:
        with os.scandir(folder or ".") as children:
            places = [child.path for child in children if child.name.endswith((".dist-info", ".egg-info"))]
    except OSError:  # an archive, or a folder that does not exist
        return
    for place in places:
        try:
            with open(os.path.join(place, "entry_points.txt"), "rb") as file:
                if b"[cnnscope." in file.read():
                    yield place
        except OSError:  # most packages have no entry points
            continue
