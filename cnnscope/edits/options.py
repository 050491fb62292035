"""Changes from options."""

from __future__ import annotations

from collections.abc import Sequence

from cnnscope.edits.change import Heads, Scale


def scale_of(
    factor: float, round: int, keep_ratio: bool, only: str | Sequence[str], exclude: str | Sequence[str], heads: Heads
) -> Scale:
    """A scale; one pattern or several."""
    chosen, spared = ((text,) if isinstance(text, str) else tuple(text) for text in (only, exclude))
    return Scale(float(factor), round, keep_ratio, chosen, spared, heads)
