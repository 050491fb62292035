"""Every check on an attribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cnnscope.trust.checks import CHECKS
from cnnscope.trust.finding import Finding
from cnnscope.trust.scene import Subject


def examine(subject: Subject, tick: Callable[[float], None] = lambda done: None) -> tuple[Finding, ...]:
    """What every check finds. ``tick`` is told the share that is done."""
    found: list[Finding] = []
    every = sorted(CHECKS.values(), key=lambda check: check.order)
    for i, check in enumerate(every):
        part = replace(subject, tick=lambda done, i=i: tick((i + done) / len(every)))  # type: ignore[misc]
        found.extend(check.run(part))
        tick((i + 1) / len(every))
    return tuple(found)
