"""The warning where a figure that was fitted to a page cannot be read there."""

from __future__ import annotations

import warnings

from cnnscope.render.diagram.views import Compromise

READABLE = 6.0
"""Points of the smallest text that can be read on paper."""


class SmallText(Compromise):
    """A figure that was fitted to a page has text that is hard to read there."""


def check_text(points: float, fit: str, instead: str = "") -> None:
    """Warns where the smallest text has less than `READABLE` points; ``instead`` says what helps."""
    if points < READABLE:
        paper = "A4" if fit == "a4" else "the slide"
        message = f"the smallest text has {points:.1f} points on {paper}; {instead or 'without --fit it has full size'}"
        warnings.warn(message, SmallText, stacklevel=3)
