"""From outcomes to figures: metrics by name, rates, intervals, errors, comparisons, gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnscope.registry import Registry

if TYPE_CHECKING:
    from cnnscope.audits.statistics.groups import Metric

STATED = ("agreement", "kappa", "accuracy", "consistency", "worst")
"""The metrics that have a place of their own in reports."""

METRICS: Registry[Metric] = Registry(
    "cnnscope.metrics",
    "metric of audits",
    {name: f"{__name__}.gates:{name.upper()}" for name in STATED},
    form="cnnscope.audits.statistics.groups:Metric",
)
"""What a gate can be about. Reports have a column for each metric of a package or plugin."""
