"""PyTorch's own databases of modules and operators, without what importing them does to a process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch


def module_db() -> list[Any]:
    """Every module, with samples of its arguments and inputs."""
    return _imported("common_modules").module_db


def op_db() -> list[Any]:
    """Every operator, with samples of its inputs."""
    return _imported("common_methods_invocations").op_db


def _imported(name: str) -> Any:
    with _process_as_before():
        return import_module(f"torch.testing._internal.{name}")


@contextmanager
def _process_as_before() -> Iterator[None]:
    """Torch's tests change the process that imports them: they freeze ``torch.backends``, wrap the calls of scripted
    functions, and set variables of the environment. Their imports add filters of warnings.
    """
    flags: dict[str, Any] = torch.backends.disable_global_flags.__globals__  # `torch.backends` is only a front of them
    thawed = flags["__allow_nonbracketed_mutation_flag"]
    scripted = [(kind, kind.__call__) for kind in (torch._C.ScriptFunction, torch._C.ScriptMethod)]
    environment = dict(os.environ)
    with warnings.catch_warnings():
        try:
            yield
        finally:
            flags["__allow_nonbracketed_mutation_flag"] = thawed
            for kind, call in scripted:
                kind.__call__ = call
            os.environ.clear()
            os.environ.update(environment)
