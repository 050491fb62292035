"""Deletion: how early the probability falls as pixels become the image's mean colour, most important first."""

from __future__ import annotations

from cnnscope.trust.contract import Check
from cnnscope.trust.finding import Finding
from cnnscope.trust.perturbation import finding
from cnnscope.trust.scene import Subject


def run(subject: Subject) -> tuple[Finding, ...]:
    return (finding(subject, "deletion", ("mean", "zero", "blur"), "low"),)


CHECK = Check(3, run)
