"""What goes wrong in code that is not cnnscope's own, said in the terms of whoever wrote it."""

from __future__ import annotations

import importlib
import linecache
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span

_OWN = str(Path(__file__).parent)
_IMPORT = str(Path(importlib.__file__).parent)


def raised(error: BaseException, what: str, *, code: str, hint: str | None = None) -> CnnscopeError:
    """An error of the author's code as a diagnostic: the line that raised it, and the lines that led there."""
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        span = Span(error.filename, error.lineno, error.offset or 1)
        return CnnscopeError(Diagnostic(code, f"{what}: {error.msg}", span, hint=hint))
    places = list(user_frames(error.__traceback__))
    notes = tuple(Note(f"called in `{function}`", span) for span, function in places[:-1])
    return CnnscopeError(Diagnostic(code, f"{what}: {reason}", places[-1][0] if places else None, notes[::-1], hint))


def user_frames(trace: TracebackType | None) -> Iterator[tuple[Span, str]]:
    """Frames of a traceback outside of torch, Python's import machinery and cnnscope, outermost first."""
    torch = sys.modules.get("torch")
    not_theirs = ("<frozen", _OWN, _IMPORT, *([str(Path(torch.__file__).parent)] if torch and torch.__file__ else ()))
    for frame in traceback.extract_tb(trace):
        if frame.filename.startswith(not_theirs) or frame.lineno is None:
            continue
        line = linecache.getline(frame.filename, frame.lineno).rstrip()
        code = line.lstrip()
        yield Span(shown(frame.filename), frame.lineno, len(line) - len(code) + 1, max(len(code), 1)), frame.name


def shown(file: str) -> str:
    """A file as its user would name it: relative to the current folder if it is in there."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def a(kind: str) -> str:
    """The word with its article: ``a list``, ``an int``."""
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
