"""Products of float32 numbers with all their bits, whatever the caller's process allows torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

backends: Any = torch.backends

_BACKENDS: tuple[tuple[Callable[[], Any], Callable[[Any], None], Any], ...] = (
    (torch._C._get_cudnn_allow_tf32, torch._C._set_cudnn_allow_tf32, False),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
)
"""How what is allowed to all operators of a backend is read and written, and the value that allows nothing."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, convolutions and matrix products shorten no mantissas (TF32, bfloat16), which would make exact results
    look inexact. Afterwards everything is allowed that was.

    It is allowed for a whole backend, or since torch 2.9 for an operator. In a process that did both, torch refuses to
    say what is allowed for the whole. In one that has frozen ``torch.backends``, attributes cannot be assigned, but the
    functions that they stand for can be called.
    """
    with ExitStack() as stack:
        operators = _operators()
        for operator, before in operators:  # first, so that they are restored last: the whole writes its operators too
            stack.callback(setattr, operator, "fp32_precision", before)
        for read, write, full in _BACKENDS:
            try:
                stack.callback(write, read())
            except RuntimeError:
                continue
            write(full)
        for operator, _ in operators:
            operator.fp32_precision = "ieee"
        yield


def _operators() -> list[tuple[Any, str]]:
    """Each operator that has a precision of its own, with what restores it; none before torch 2.9."""
    if not hasattr(backends, "fp32_precision"):
        return []
    cuda = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
    cpu = [backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn]
    owned = [(backends.cudnn.fp32_precision, cuda), (backends.mkldnn.fp32_precision, cpu)]
    return [(op, _own(op.fp32_precision, whole)) for whole, operators in owned for op in operators]


def _own(precision: str, whole: str) -> str:
    """An operator without a precision of its own is read as its backend is, and must follow it again."""
    return "none" if precision == whole else precision
