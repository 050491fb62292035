"""The result of a check: a figure, the controls beside it, the verdict and its rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnscope.render.documents import features as documents

Better = Literal["high", "low"]
Verdict = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True)
class Finding:
    """A ``value`` of None is unknown for the reason ``why``; otherwise it is compared with ``limit``.

    ``controls`` are figures measured in the same way on something else, by its name. ``better`` is the side of the
    limit on which a value passes (a value equal to the limit does not), ``rule`` explains the limit. ``scale`` is that
    of the picture: from 0 to 1, or powers of ten up to 1. ``settings`` say how it was measured, in plain values.
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
