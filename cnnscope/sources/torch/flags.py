"""Torch's global flags during our own work: a network is the same network whatever they are, and they stay as found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.overrides
from torch.utils._python_dispatch import _disable_current_modes

overrides: Any = torch.overrides
_AUTOCAST = ("cpu", "cuda", "xpu", "mps")


@contextmanager
def plain_flags(weights: torch.dtype = torch.float32) -> Iterator[None]:
    """Inside, torch's global flags have the values that torch starts with; what a caller does under ``no_grad``,
    ``autocast``, a default device or another mode does not reach in. Afterwards they are as before, whatever happened.

    A default dtype stays if it is that of the network's ``weights``: then the network was made for it.
    """
    with ExitStack() as stack:
        stack.enter_context(_disable_current_modes())
        stack.callback(_restore_function_modes, _drop_function_modes())
        for read, write, plain in _flags(weights):
            before = read()
            stack.callback(_write, read, write, before)
            _write(read, write, plain)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_no_cached_casts())
        stack.enter_context(_as_written())
        yield


def _write(read: Callable[[], Any], write: Callable[[Any], object], value: Any) -> None:
    if read() != value:
        write(value)


Flag = tuple[Callable[[], Any], Callable[[Any], object], Any]


def _flags(weights: torch.dtype) -> Iterator[Flag]:
    """Yields how each flag is read and written, and its value inside."""
    yield _deterministic, lambda how: torch._C._set_deterministic_algorithms(how[0], warn_only=how[1]), (False, False)
    mha = torch.backends.mha
    yield mha.get_fastpath_enabled, mha.set_fastpath_enabled, False  # otherwise attention is one opaque call
    default = torch.get_default_dtype()
    yield torch.get_default_dtype, torch.set_default_dtype, default if default == weights else torch.float32
    for device in _AUTOCAST:
        yield partial(torch.is_autocast_enabled, device), partial(torch.set_autocast_enabled, device), False
        reduced = torch.bfloat16 if device in ("cpu", "xpu") else torch.float16
        yield partial(torch.get_autocast_dtype, device), partial(torch.set_autocast_dtype, device), reduced
    yield torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled, True


def _deterministic() -> tuple[bool, bool]:
    return torch._C._get_deterministic_algorithms(), torch._C._get_deterministic_algorithms_warn_only()


def _drop_function_modes() -> list[Any]:
    modes: list[Any] = overrides._get_current_function_mode_stack()
    for _ in modes:
        overrides._pop_mode()
    return modes


def _restore_function_modes(modes: list[Any]) -> None:
    for mode in modes:
        overrides._push_mode(mode)


@contextmanager
def _no_cached_casts() -> Iterator[None]:
    """Under autocast torch keeps weights that it has cast. Ours have no values, and theirs are no weights of ours."""
    torch.clear_autocast_cache()
    try:
        yield
    finally:
        torch.clear_autocast_cache()


@contextmanager
def _as_written() -> Iterator[None]:
    """Runs compiled parts as they were written. If nothing is compiled yet, compiling does nothing, because asking
    the compiler takes long.
    """
    if "torch._dynamo" in sys.modules:
        with torch.compiler.set_stance("force_eager"):
            yield
        return
    before = torch.compile
    setattr(torch, "compile", _not_compiled)  # noqa: B010  # a patch, which types cannot express
    try:
        yield
    finally:
        setattr(torch, "compile", before)  # noqa: B010


def _not_compiled(model: Any = None, **settings: Any) -> Any:
    return (lambda model: model) if model is None else model
