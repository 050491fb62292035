"""Running a module without leaving a trace on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module is as it was: mode, hooks, buffers, attributes."""
    kept = [(m, dict(m.__dict__), _containers(m)) for m in module.modules()]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # attention as one opaque call
        for m, _, _ in kept:
            m.__dict__["training"] = False  # not eval(): a module may do more there than set its mode
        with _eager():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for m, attributes, containers in kept:
            m.__dict__.clear()
            m.__dict__.update(attributes)
            for container, content in containers:
                _refill(container, content)


def _containers(module: nn.Module) -> list[tuple[Any, Any]]:
    """Dicts, lists and sets among a module's attributes, each with what is in it."""
    found = (value for value in module.__dict__.values() if isinstance(value, (dict, list, set)))
    return [(value, tuple(value.items() if isinstance(value, dict) else value)) for value in found]


def _refill(container: Any, content: tuple[Any, ...]) -> None:
    if container or content:
        container.clear()
        (container.extend if isinstance(container, list) else container.update)(content)


@contextmanager
def _eager() -> Iterator[None]:
    """Compiled parts run as they were written. Only where something was compiled, as asking is not cheap."""
    if "torch._dynamo" in sys.modules:
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield
