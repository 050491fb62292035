"""What a check is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cnnscope.trust.finding import Finding
from cnnscope.trust.scene import Subject


@dataclass(frozen=True)
class Check:
    """``order`` says where its findings stand; ``run`` gives always the same findings, unknown where it must."""

    order: int
    run: Callable[[Subject], tuple[Finding, ...]]
