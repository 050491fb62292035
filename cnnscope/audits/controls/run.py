"""Checks of the audit itself: one that fails makes its figures void.

Each is a function of the `Evidence` that gives a `Control`, or None where it does not apply. They try out the audit's
own tools, which come with the evidence, so that a test can hand in broken ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from cnnscope.audits.controls.evidence import Evidence
from cnnscope.audits.result import Control
from cnnscope.registry import Registry

_WARPS, _ANSWERS = "cnnscope.audits.controls.warps", "cnnscope.audits.controls.answers"
CONTROLS: Registry[Callable[[Evidence], Control | None]] = Registry(
    "cnnscope.controls",
    "control of audits",
    {
        "slices": f"{_WARPS}:slices",
        "samples": f"{_WARPS}:samples",
        "turns": f"{_WARPS}:turns",
        "round-trip": f"{_WARPS}:round_trip",
        "borders": f"{_WARPS}:borders",
        "moves-pixels": f"{_WARPS}:moves_pixels",
        "answers-vary": f"{_ANSWERS}:answers_vary",
        "class-order": f"{_ANSWERS}:class_order",
        "fills": f"{_ANSWERS}:fills",
        "repeats": f"{_ANSWERS}:repeats",
        "precision": f"{_ANSWERS}:precision",
    },
)
"""In the order in which they are reported."""


@torch.inference_mode()
def run(evidence: Evidence) -> tuple[Control, ...]:
    """Every control that applies."""
    found = (check(evidence) for check in CONTROLS.values())
    return tuple(control for control in found if control is not None)
