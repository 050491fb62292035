"""Every check on an attribution. The checks are the files in `checks/`: a new file is a new check."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cnnscope.trust.contract import Check
from cnnscope.trust.finding import Finding
from cnnscope.trust.scene import Subject

PACKAGE = "cnnscope.trust.checks"


def checks() -> tuple[Check, ...]:
    """All there are, in order."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).with_name("checks"))]))
    found: list[Check] = [importlib.import_module(f"{PACKAGE}.{name}").CHECK for name in names]
    return tuple(sorted(found, key=lambda check: check.order))


def examine(subject: Subject, tick: Callable[[float], None] = lambda done: None) -> tuple[Finding, ...]:
    """What every check finds. ``tick`` is told the share that is done."""
    found: list[Finding] = []
    every = checks()
    for i, check in enumerate(every):
        part = replace(subject, tick=lambda done, i=i: tick((i + done) / len(every)))  # type: ignore[misc]
        found.extend(check.run(part))
        tick((i + 1) / len(every))
    return tuple(found)
