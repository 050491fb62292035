"""Exact receptive fields, at this input size and clipped to its pixels, on any graph. The only part that needs numpy.

Zero weights, dead units and masks are not seen; normalisation is that of inference.
"""

from cnnscope.analysis.receptive_field.exact.boxes import Exact, Range, exact
from cnnscope.analysis.receptive_field.exact.support import (
    Coverage,
    Unread,
    coverage,
    effective_size,
    influence,
    touched,
    unread,
)

__all__ = [
    "Coverage", "Exact", "Range", "Unread", "coverage", "effective_size", "exact", "influence", "touched", "unread",
]  # fmt: skip
