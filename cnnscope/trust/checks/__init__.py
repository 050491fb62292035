"""The checks of an attribution, a file each, which has a ``CHECK``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnscope.registry import Registry, files_of

if TYPE_CHECKING:
    from cnnscope.trust.contract import Check

CHECKS: Registry[Check] = Registry(
    "cnnscope.checks", "check of attributions", files_of(__name__, "CHECK"), form="cnnscope.trust.contract:Check"
)
