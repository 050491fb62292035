"""What a check found: a figure, the controls beside it, and what follows by which rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnscope.render.documents import learned as documents

Better = Literal["high", "low"]
Verdict = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True)
class Finding:
    """``value`` None is unknown, and ``why`` says why; else ``limit``, drawn from ``controls``, decides.

    ``controls`` maps what else was measured in the same way to its figure. ``better`` says on which side of the limit
    a value passes, ``rule`` in words how the limit comes about; on the limit is not better. ``scale`` is how it is
    drawn: from 0 to 1, or powers of ten up to 1. ``settings`` is how it was measured, in plain values.
    """

    name: str
    title: str
    value: float | None
    limit: float | None
    better: Better
    rule: str
    controls: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    scale: Literal["share", "powers"] = "share"

    @property
    def verdict(self) -> Verdict:
        if self.value is None or self.limit is None:
            return "unknown"
        good = self.value > self.limit if self.better == "high" else self.value < self.limit
        return "pass" if good else "fail"

    def document(self) -> documents.Finding:
        """The finding in the document of attributions."""
        return documents.Finding(
            title=self.title, value=self.value, limit=self.limit, better=self.better, verdict=self.verdict,
            controls=self.controls, rule=self.rule, why=self.why or None, settings=self.settings,
        )  # fmt: skip
