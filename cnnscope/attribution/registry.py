"""The methods there are: the files in `methods/`, found by name, so that a new file is a new method."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError, did_you_mean

if TYPE_CHECKING:
    from cnnscope.attribution.contract import Method

PACKAGE = "cnnscope.attribution.methods"


def names() -> tuple[str, ...]:
    """Every method's name, without importing any."""
    found = pkgutil.iter_modules([str(Path(__file__).with_name("methods"))])
    return tuple(sorted(module.name.replace("_", "-") for module in found))


def check(name: str) -> None:
    """E481 with the nearest names where no method is called that."""
    if name not in names():
        hint = did_you_mean(name, names(), most=2) or f"there are {', '.join(names())}"
        raise CnnscopeError.of("E481", f"no method of attribution is called `{name}`", hint=hint)


def find(name: str) -> Method:
    """The method of that name; E481 where there is none."""
    check(name)
    method: Method = importlib.import_module(f"{PACKAGE}.{name.replace('-', '_')}").METHOD
    return method
