"""Finds and calls a factory in the user's own code, and reports errors there in the user's terms."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import nn

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.files import check_regular, os_reason
from cnnscope.user_code import a, import_file, raised

T = TypeVar("T")


def parse(source: str) -> tuple[str, str, str]:
    """Returns ``file.py:factory?width=2`` as the file or module, the factory and its arguments."""
    path, _, query = source.partition("?")
    place, colon, name = path.rpartition(":")
    return (place, name, query) if colon and not name.endswith(".py") else (path, "", query)


def find(place: str, name: str) -> Any:
    """Returns the factory: a function, a class, or a module that exists already; raises E430, E431 or E433."""
    module = _import_file(place) if place.endswith(".py") else _import_module(place)
    found: Any = module
    for part in name.split(".") if name else [""]:
        if not hasattr(found, part):
            factories = sorted(key for key, value in vars(module).items() if _may_be(value, module))
            listed = f"it has {', '.join(f'`{f}`' for f in factories)}" if factories else None
            what = f"`{place}` has no `{name}`" if name else f"`{place}` needs the name of a factory behind a `:`"
            raise CnnscopeError.of("E431", what, hint=did_you_mean(name, factories) or listed)
        found = getattr(found, part)
    return found


def _may_be(value: Any, module: ModuleType) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return own and (inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module)))


def import_with_operators(run: Callable[[], T]) -> T:
    """Returns what ``run``, which imports something, returns.

    The C++ operators in torchvision's wheel are built for one version of torch. With another version they do not load,
    and the import of torchvision fails at the first of them. Its models, which are pure Python, need only two
    declarations: if an import fails for exactly that reason, they are made and the import is repeated.
    """
    try:
        return run()
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch's own
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARATIONS.append(library)
        return run()


_DECLARATIONS: list[object] = []
"""Operators declared above. A declaration ends when its library is deleted."""


def _import_module(name: str) -> ModuleType:
    try:
        return import_with_operators(lambda: importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            hint = "modules are looked for in the current folder and among installed packages"
            raise CnnscopeError.of("E430", f"there is no module `{name}`", hint=hint) from None
        raise raised(error, f"`{name}` cannot be imported", code="E433") from error
    except (Exception, SystemExit) as error:
        raise raised(error, f"`{name}` cannot be imported", code="E433") from error


def _import_file(file: str) -> ModuleType:
    path = Path(file)
    try:
        check_regular(path)
    except FileNotFoundError:
        raise CnnscopeError.of("E430", f"`{file}` does not exist") from None
    except OSError as error:
        raise CnnscopeError.of("E430", f"`{file}` cannot be read: {os_reason(error)}") from None
    try:
        return import_with_operators(lambda: import_file(path))
    except (Exception, SystemExit) as error:
        raise raised(error, f"`{file}` cannot be imported", code="E433") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, standard output is standard error: what the user's code prints must not mix with our output, however it
    prints (``print``, a file descriptor, C, a process of its own).
    """
    with redirect_stdout(sys.stderr), ExitStack() as stack:
        try:
            assert sys.__stdout__ is not None
            assert sys.__stderr__ is not None
            out, kept = sys.__stdout__.fileno(), os.dup(sys.__stdout__.fileno())
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, out)
            stack.callback(sys.__stdout__.flush)
            sys.__stdout__.flush()
            os.dup2(sys.__stderr__.fileno(), out)
        except (AssertionError, OSError, ValueError):  # one of them is closed, or has no descriptor
            stack.close()
        yield


def call(
    factory: Any, name: str, arguments: Mapping[str, Any], build: Callable[[Callable[[], object]], object]
) -> nn.Module:
    """Returns the module that a factory makes with ``build``; raises E432 for wrong arguments, E433 if it fails or
    makes no module.
    """
    if isinstance(factory, nn.Module):
        made: object = factory
    else:
        _check_arguments(factory, name, arguments)
        try:
            made = build(lambda: factory(**arguments))
        except (Exception, SystemExit) as error:
            raise raised(error, f"`{name}` failed", code="E433") from error
    if not isinstance(made, nn.Module):
        raise CnnscopeError.of("E433", f"`{name}` returns no torch.nn.Module but {a(type(made).__name__)}")
    return made


def _check_arguments(factory: Any, name: str, arguments: Mapping[str, Any]) -> None:
    if not callable(factory):
        raise CnnscopeError.of("E431", f"`{name}` is no factory but {a(type(factory).__name__)}")
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # a builtin, which reports wrong arguments itself
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = ", ".join(f"`{p}`" for p in signature.parameters)
        hint = f"it takes {known}: write {name}?{next(iter(signature.parameters))}=..." if known else "it takes none"
        raise CnnscopeError.of("E432", f"wrong arguments for `{name}`: {error}", hint=hint) from None
