"""Controls: measurements whose result is known in advance. Where one fails, the figures of the audit are not valid.

A control is a function of the `Evidence` that returns a `Control`, or None where it does not apply. Those of one kind
share a file; a control from elsewhere is a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cnnscope.registry import Registry

if TYPE_CHECKING:
    from cnnscope.audits.controls.evidence import Evidence
    from cnnscope.audits.record import Control

CONTROLS: Registry[Callable[[Evidence], Control | None]] = Registry(
    "cnnscope.controls",
    "control of audits",
    {
        "slices": f"{__name__}.warps:slices",
        "samples": f"{__name__}.warps:samples",
        "turns": f"{__name__}.warps:turns",
        "round-trip": f"{__name__}.warps:round_trip",
        "borders": f"{__name__}.warps:borders",
        "moves-pixels": f"{__name__}.warps:moves_pixels",
        "answers-vary": f"{__name__}.predictions:answers_vary",
        "class-order": f"{__name__}.predictions:class_order",
        "fills": f"{__name__}.predictions:fills",
        "repeats": f"{__name__}.predictions:repeats",
        "precision": f"{__name__}.predictions:precision",
    },
)
"""In the order in which they are reported."""


def run(evidence: Evidence) -> tuple[Control, ...]:
    """The results of all controls that apply."""
    import torch

    with torch.inference_mode():
        found = [control(evidence) for control in CONTROLS.values()]
    return tuple(control for control in found if control is not None)
