"""The formats of pictures."""

from __future__ import annotations

from collections.abc import Sequence

from cnnscope.errors import CnnscopeError, did_you_mean

PICTURES = ("svg", "png", "pdf")
"""What every picture can be written as."""


def check_format(form: str, known: Sequence[str] = PICTURES) -> str:
    """The format, or E604 with the known ones."""
    if form not in known:
        hint = did_you_mean(form, known) or f"the formats are {', '.join(known)}"
        raise CnnscopeError.of("E604", f"no picture format is called `{form}`", hint=hint)
    return form
