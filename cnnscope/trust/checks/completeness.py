"""Completeness: do the values add up to what the method promises (Sundararajan et al. 2017, section 3)?"""

from __future__ import annotations

from cnnscope.trust.contract import Check
from cnnscope.trust.finding import Finding
from cnnscope.trust.scene import Subject

LIMIT = 0.01


def run(subject: Subject) -> tuple[Finding, ...]:
    error = subject.attribution.completeness
    why = "" if error is not None else "the method promises no sum, or a sum of 0"
    rule = f"off by less than {LIMIT * 100:g} % of the promised sum"
    return (Finding("completeness", "completeness", error, LIMIT, "low", rule, why=why, scale="powers"),)


CHECK = Check(0, run)
