"""The checks of an attribution by name. Those of one kind share a file; a check from elsewhere is a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnscope.registry import Registry

if TYPE_CHECKING:
    from cnnscope.trust.scene import Check

CHECKS: Registry[Check] = Registry(
    "cnnscope.checks",
    "check of attributions",
    {
        "completeness": f"{__name__}.faithfulness:COMPLETENESS",
        "deletion": f"{__name__}.faithfulness:DELETION",
        "equivariance": f"{__name__}.equivariance:CHECK",
        "insertion": f"{__name__}.faithfulness:INSERTION",
        "randomisation": f"{__name__}.randomisation:CHECK",
    },
    form="cnnscope.trust.scene:Check",
)
