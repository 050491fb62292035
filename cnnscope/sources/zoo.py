"""The zoo: published architectures as specs, found by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """Returns the folder of the specs: in an installed package inside it, in a repository beside it."""
    shipped = _PACKAGE / "specs"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "specs"


@cache
def names() -> tuple[str, ...]:
    """Returns the names of all models in alphabetical order."""
    return tuple(sorted(path.stem for path in folder().glob("*.yaml")))


def path(name: str) -> Path:
    """Returns the spec of a model; raises KeyError if the zoo has none of that name."""
    if name not in names():
        raise KeyError(name)
    return folder() / f"{name}.yaml"
