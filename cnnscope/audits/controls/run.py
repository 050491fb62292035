"""Checks of the audit itself: one that fails makes its figures void.

Each is a function of the `Evidence` that gives a `Control`, or None where it does not apply. They try out the audit's
own tools, which come with the evidence, so that a test can hand in broken ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from cnnscope.audits.controls import answers as control_answers
from cnnscope.audits.controls import warps as control_warps
from cnnscope.audits.controls.evidence import Evidence
from cnnscope.audits.result import Control

CONTROLS: tuple[Callable[[Evidence], Control | None], ...] = (
    control_warps.slices,
    control_warps.samples,
    control_warps.turns,
    control_warps.round_trip,
    control_warps.borders,
    control_warps.moves_pixels,
    control_answers.answers_vary,
    control_answers.class_order,
    control_answers.fills,
    control_answers.repeats,
    control_answers.precision,
)


@torch.inference_mode()
def run(evidence: Evidence) -> tuple[Control, ...]:
    """Every control that applies."""
    found = (check(evidence) for check in CONTROLS)
    return tuple(control for control in found if control is not None)
