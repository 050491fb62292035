"""Code that is not cnnscope's own: importing it, and saying what goes wrong there in the terms of its author."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType, TracebackType

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span, missing_for

_OWN = str(Path(__file__).parent)
_IMPORT = str(Path(importlib.__file__).parent)

strangers: dict[str, str] = {}
"""Code that is neither cnnscope's nor the network's and was run: in words, by the name of its module."""


def raised(error: BaseException, what: str, *, code: str, hint: str | None = None) -> CnnscopeError:
    """An error of the author's code as a diagnostic: the line that raised it, and the lines that led there."""
    reason = f"{type(error).__name__}: {error}" if str(error) else unsaid(error)
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        span = Span(shown(error.filename), error.lineno, error.offset or 1)
        return CnnscopeError(Diagnostic(code, f"{what}: {error.msg}", span, hint=hint))
    places = list(user_frames(error.__traceback__))
    notes = tuple(Note(f"called in `{function}`", span) for span, function in places[:-1])
    return CnnscopeError(Diagnostic(code, f"{what}: {reason}", places[-1][0] if places else None, notes[::-1], hint))


def unsaid(error: BaseException) -> str:
    """What happened, where an error has no message: the assertion that fails, or the kind of the error."""
    if not isinstance(error, AssertionError):
        return type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    line = frames[-1].line if frames else ""
    return f"an assertion fails: `{line}`" if line and line.startswith("assert") else "an assertion fails"


def broken(error: BaseException, what: str, *, code: str, hint: str | None = None) -> CnnscopeError:
    """``what`` cannot be imported: E413 where it asks cnnscope for what is not there (any more), else ``code``."""
    asked = str(getattr(error, "name", None) or "").split(".")[0]
    if isinstance(error, ImportError) and asked == "cnnscope":
        return raised(error, f"{what} was written for another version of cnnscope", code="E413", hint=hint)
    missing = missing_for(error) if isinstance(error, ImportError) else None
    remedy = missing.diagnostics[0].message if missing else hint
    return raised(error, f"{what} cannot be imported", code=code, hint=remedy)


def whose(error: BaseException) -> tuple[str | None, TracebackType | None]:
    """Who wrote the code that raised an error, in words, and the traceback from there on; None for cnnscope itself."""
    author, place, trace = None, None, error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__"))
        found = strangers.get(module) or strangers.get(module.split(".")[0])
        if found is not None and author is None:
            author, place = found, trace
        elif module.split(".")[0] == "cnnscope":
            author = None
        trace = trace.tb_next
    return author, place


def import_file(path: Path) -> ModuleType:
    """The module of a Python file, which is run; whatever it raises is passed on, and then the module is forgotten."""
    name = f"{path.stem} of {path.resolve()}" if _taken(path) else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _taken(path: Path) -> bool:
    """Whether another module has the name of this file: it must not hide that one from whoever imports it later."""
    name, folder = path.stem, path.resolve().parent
    elsewhere = [one for one in sys.path if Path(one).resolve() != folder]
    found = PathFinder.find_spec(name, elsewhere)
    return name in sys.modules or (found is not None and found.origin is not None)  # a mere folder has no origin


@contextmanager
def importable(place: str) -> Iterator[None]:
    """Inside, the user's code finds its own modules: those beside the file, or in the current folder."""
    folder = str(Path(place).resolve().parent if place.endswith(".py") else Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


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
