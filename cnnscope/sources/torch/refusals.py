"""Whose error it is that a traced run met: the model's, cnnscope's, or one of a run without values."""

from __future__ import annotations

import re
from pathlib import Path
from traceback import walk_tb
from types import CodeType


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
    raised = [code for frame, _ in walk_tb(error.__traceback__) if not _stands_in(code := frame.f_code)]
    return bool(raised) and Path(raised[-1].co_filename).is_relative_to(_HOME)


def _stands_in(code: CodeType) -> bool:
    """Returns whether a function calls the one of torch whose place it takes: what it raises is its caller's."""
    file = Path(code.co_filename)
    return file.parent == _HERE and (file.name in ("patches.py", "watching.py"))


_HERE = Path(__file__).parent
_HOME = _HERE.parents[1]
