"""The zoo: published architectures as specs, found by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """Returns where the specs are: inside an installed package, beside it in a repository."""
    shipped = _PACKAGE / "specs"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "specs"


@cache
def names() -> tuple[str, ...]:
    """Returns all models of the zoo in alphabetical order."""
    return tuple(sorted(path.stem for path in folder().glob("*.yaml")))


def path(name: str) -> Path:
    """Returns the spec of a model; KeyError if the zoo has none of that name."""
    if name not in names():
        raise KeyError(name)
    return folder() / f"{name}.yaml"
