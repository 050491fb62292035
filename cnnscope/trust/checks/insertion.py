"""Insertion: how early the probability rises as the image's pixels come into its blur (or, where that is
recognised already, its mean colour), most important first."""

from __future__ import annotations

from cnnscope.trust.contract import Check
from cnnscope.trust.finding import Finding
from cnnscope.trust.perturbation import finding
from cnnscope.trust.scene import Subject


def run(subject: Subject) -> tuple[Finding, ...]:
    return (finding(subject, "insertion", ("blur", "mean", "zero"), "high"),)


CHECK = Check(2, run)
