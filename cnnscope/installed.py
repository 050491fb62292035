"""What installed packages offer cnnscope: their entry points of the groups ``cnnscope.*``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple


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
    if not any(_mentions(folder) for folder in path):
        return {}
    from importlib.metadata import distributions

    found: dict[str, set[EntryPoint]] = {}
    seen = set()
    for package in distributions(path=list(path)):
        if package.name in seen:  # hidden by another version that comes first on the path
            continue
        seen.add(package.name)
        for point in package.entry_points:
            if point.group.startswith("cnnscope."):
                offered = EntryPoint(point.name, point.value, f"{package.name} {package.version}")
                found.setdefault(point.group, set()).add(offered)
    return {group: tuple(sorted(points)) for group, points in found.items()}


def _mentions(folder: str) -> bool:
    """Whether a package installed in this folder has an entry point for cnnscope."""
    try:
        with os.scandir(folder or ".") as children:
            places = [child.path for child in children if child.name.endswith((".dist-info", ".egg-info"))]
    except OSError:  # an archive, or a folder that does not exist
        return False
    for place in places:
        try:
            with open(os.path.join(place, "entry_points.txt"), "rb") as file:
                if b"[cnnscope." in file.read():
                    return True
        except OSError:  # most packages have no entry points
            continue
    return False
