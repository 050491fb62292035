"""The zoo: published architectures as specs, found by name."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from cnnscope.errors import CnnscopeError, did_you_mean

_PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """Returns the folder of the specs: in an installed package inside it, in a repository beside it."""
    shipped = _PACKAGE / "specs"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "specs"


@cache
def names() -> tuple[str, ...]:
    """Returns the names of all models in alphabetical order."""
    return tuple(sorted(path.stem for path in folder().glob("*.yaml")))


def matching(patterns: Sequence[str]) -> tuple[str, ...]:
    """Returns the names that some pattern selects, all without patterns, in alphabetical order.

    A pattern with ``*``, ``?`` or ``[`` is one of shells; any other is a name, or letters in names. Capitals do not
    matter. E401 where a pattern selects nothing.
    """
    found: set[str] = set()
    for pattern in patterns:
        some = _selected(pattern.lower())
        if not some:
            near = did_you_mean(pattern.lower().strip("*?"), names(), most=3)
            hint = near or "`cnnscope zoo` lists all models"
            raise CnnscopeError.of("E401", f"no model of the zoo matches `{pattern}`", hint=hint)
        found.update(some)
    return tuple(name for name in names() if name in found or not patterns)


def _selected(pattern: str) -> list[str]:
    if any(character in pattern for character in "*?["):
        return [name for name in names() if fnmatchcase(name, pattern)]
    return [name for name in names() if pattern and pattern in name]


def path(name: str) -> Path:
    """Returns the spec of a model; raises KeyError if the zoo has none of that name."""
    if name not in names():
        raise KeyError(name)
    return folder() / f"{name}.yaml"
