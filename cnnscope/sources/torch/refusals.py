"""Whose error it is that a traced run met: the model's, cnnscope's, or one of a run without values."""

from __future__ import annotations

import re
from pathlib import Path


class ModelError(RuntimeError):
    """What torch would have raised with values."""


def lacks_values(error: BaseException) -> bool:
    """Returns whether torch says that a function has no rule for shapes, or that tensors with and without values met.

    It says so in many ways, according to who declared the function.
    """
    return isinstance(error, NotImplementedError) or _LACKING.search(str(error)) is not None


_LACKING = re.compile(
    r"\bmeta\b|\bfake (impl|tensor|kernel)|abstract impl|(same|different|expected) devices?\b|data_ptr|storage",
    re.IGNORECASE,
)


def is_own(error: BaseException) -> bool:
    """Returns whether an error was raised by a line of cnnscope itself, and not by torch or the model."""
    if isinstance(error, ModelError) or error.__traceback__ is None:
        return False
    place = error.__traceback__
    while place.tb_next is not None:
        place = place.tb_next
    file = Path(place.tb_frame.f_code.co_filename)
    return file.is_relative_to(_HOME) and file != _STAND_INS


_HOME = Path(__file__).parents[2]
_STAND_INS = Path(__file__).with_name("patches.py")
"""Functions here call those of torch whose place they take, so what they raise is torch's."""
