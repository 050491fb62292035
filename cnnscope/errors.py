"""Errors as data: code, message, place, notes, help. The text a user sees is rendered from these elsewhere.

Code families: ``E1xx`` YAML and structure, ``E2xx`` names and values, ``E3xx`` shapes, ``E4xx`` sources and files.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from errno import ENOMEM
from functools import wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """Where something was written: 1-based line and column, length in characters on that line."""

    file: str
    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Note:
    """Further information about a diagnostic, with a place of its own if it has one."""

    message: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong. ``message`` is lower case with backticks round names; ``hint`` says what to do."""

    code: str
    message: str
    span: Span | None = None
    notes: tuple[Note, ...] = ()
    hint: str | None = None


LIMITS = frozenset({"E492"})
"""Codes of what is no mistake of the user but a limit of cnnscope: their exit code is 3."""


class CnnscopeError(Exception):
    """Anything that cnnscope refuses: one or more diagnostics, and the exit code of the command."""

    exit_code = 2

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in diagnostics))
        self.diagnostics = diagnostics
        if any(d.code in LIMITS for d in diagnostics):
            self.exit_code = 3

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the error with all its attributes, whatever arguments its class takes."""
        return _restored, (type(self), self.args), self.__dict__

    @classmethod
    def of(cls, code: str, message: str, *, span: Span | None = None, hint: str | None = None) -> CnnscopeError:
        """The common case: a single diagnostic without notes."""
        return cls(Diagnostic(code, message, span=span, hint=hint))


def _restored(kind: type[CnnscopeError], arguments: tuple[Any, ...]) -> CnnscopeError:
    return kind.__new__(kind, *arguments)


class ShapeError(CnnscopeError):
    """An op cannot take these inputs. Ops raise it without a place; whoever placed the op adds one with `at`."""

    def __init__(self, message: str, *, hint: str | None = None, code: str = "E301") -> None:
        super().__init__(Diagnostic(code, message, hint=hint))

    def at(self, span: Span | None, *notes: Note) -> CnnscopeError:
        """The same error with the place where the failing layer was written."""
        (diagnostic,) = self.diagnostics
        return CnnscopeError(replace(diagnostic, span=span, notes=(*diagnostic.notes, *notes)))


class PartialError(CnnscopeError):
    """A network that breaks off at some layer.

    ``graph`` is the `cnnscope.ir.Graph` of the layers before it, without outputs where none was reached; None where
    not one layer was finished. (The graph is defined above this module, so it has no type here.)
    """

    def __init__(self, *diagnostics: Diagnostic, graph: Any) -> None:
        super().__init__(*diagnostics)
        self.graph = graph


class UnsupportedError(CnnscopeError):
    """A model contains something no rule covers, and ``--strict`` was asked for."""

    exit_code = 3


class MissingPackageError(CnnscopeError, ImportError):
    """A package that this question needs is not installed. It is an `ImportError` too, and ``name`` is the module."""

    def __reduce__(self) -> tuple[Any, ...]:
        return *super().__reduce__()[:2], {**self.__dict__, "name": self.name}


_INSTALL = {
    "torch": "pip install 'cnnscope[torch]'",
    "safetensors": "pip install 'cnnscope[torch]'",
    "captum": "pip install 'cnnscope[trained]'",
    "h5py": "pip install 'cnnscope[keras]'",
    "onnx": "pip install 'cnnscope[onnx]'",
    "onnxscript": "pip install 'cnnscope[onnx]'",
    "onnx_ir": "pip install 'cnnscope[onnx]'",
    "webdataset": "pip install 'cnnscope[webdataset]'",
    "pyarrow": "pip install 'cnnscope[parquet]'",
    # the wheels of these two ask for a torch of their own choice: without dependencies they run beside any other
    "torchvision": "pip install --no-deps torchvision",
    "timm": "pip install --no-deps timm torchvision",
    # these are dependencies of cnnscope itself, and missing only where someone removed them
    "numpy": "pip install numpy",
    "matplotlib": "pip install matplotlib",
    "pygraphviz": "pip install 'pygraphviz>=2.0.4'",
    "jinja2": "pip install jinja2",
    "PIL": "pip install pillow",
}
"""How to install each package that is imported only where it is needed, by the name it is imported under."""

_DISTRIBUTIONS = {"onnx_ir": "onnx-ir", "PIL": "pillow"}


def missing(package: str, extra: str | None = None) -> MissingPackageError:
    """The error E414 for a package that is not installed: ``needs torch: pip install 'cnnscope[torch]'``.

    ``package`` is the name it is imported under; ``extra`` is the extra of cnnscope that installs it, needed only for
    packages that this module does not know.
    """
    command = f"pip install 'cnnscope[{extra}]'" if extra else _INSTALL.get(package, f"pip install {package}")
    error = MissingPackageError(Diagnostic("E414", f"needs {_DISTRIBUTIONS.get(package, package)}: {command}"))
    error.name = package
    return error


def missing_for(error: ImportError) -> MissingPackageError | None:
    """The error for a failed import of a package that cnnscope can do without; None for any other module."""
    package = (error.name or "").partition(".")[0]
    return missing(package) if isinstance(error, ModuleNotFoundError) and package in _INSTALL else None


_NO_MEMORY = ("not enough memory", "allocate memory", "out of memory", "failed to map", "start new thread")
"""What torch, loaders of libraries and threads say where the system refuses memory; they have no error type for it."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that memory ran out."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        text = str(cause).lower()
        if (
            isinstance(cause, MemoryError)
            or getattr(cause, "errno", None) == ENOMEM
            or any(w in text for w in _NO_MEMORY)
        ):
            return True
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return False


def out_of_memory(error: BaseException) -> CnnscopeError | None:
    """E474 for an error that says that memory ran out; None for any other."""
    if not lacks_memory(error):
        return None
    hint = "free some, raise the limit (`ulimit -v`), or ask for less: a smaller input or batch"
    return CnnscopeError.of("E474", "there is not enough memory for this", hint=hint)


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` with each failed import of an optional package turned into `MissingPackageError`."""

    @wraps(function)
    def call(*positional: P.args, **named: P.kwargs) -> R:
        try:
            return function(*positional, **named)
        except ModuleNotFoundError as error:
            known = missing_for(error)
            if known is None:
                raise
            raise known from error

    return call


def explained_methods(kind: type[T]) -> type[T]:
    """Decorates a class: every public method is `explained`."""
    for name, member in list(vars(kind).items()):
        if isinstance(member, FunctionType) and not name.startswith("_"):
            setattr(kind, name, explained(member))
    return kind


def did_you_mean(word: str, choices: Iterable[str], *, most: int = 1) -> str | None:
    """A ``did you mean `x`?`` sentence naming the closest choices, or None where nothing is close."""
    close = difflib.get_close_matches(word, list(choices), n=most, cutoff=0.6)
    if not close:
        return None
    return f"did you mean {' or '.join(f'`{c}`' for c in close)}?"
