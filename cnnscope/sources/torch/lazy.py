"""Lazy modules get the shapes of their weights from the first input: on a copy, from the input that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.arguments import make_arguments
from cnnscope.sources.torch.copies import duplicate
from cnnscope.sources.torch.flags import plain_flags


def with_shapes(module: nn.Module, inputs: Sequence[InputSize]) -> nn.Module:
    """Returns the module; or, if it has lazy weights, a copy of it after a run with random numbers.

    Raises `CnnscopeError` E436 if that run fails, or leaves weights without a shape.
    """
    place = _lazy(module)
    if place is None:
        return module
    with plain_flags(), torch.random.fork_rng(devices=[]), torch.no_grad():
        made = make_arguments(module, inputs, real=True)
        copy = duplicate(module)
        for m in copy.modules():
            m.__dict__["training"] = False
        try:
            with redirect_stdout(StringIO()):  # what it prints, it prints in the run that is analysed too
                copy(*made.args, **made.kwargs)
        except Exception as error:
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            what = f"{place} has weights without a shape yet, and a run that gives them one fails: {reason}"
            raise CnnscopeError.of("E436", what) from error
    left = _lazy(copy)
    if left is not None:
        hint = "a forward pass does not reach it: call it once before it is loaded here, or remove it"
        raise CnnscopeError.of("E436", f"{left} has weights without a shape yet", hint=hint)
    return copy


def _lazy(module: nn.Module) -> str | None:
    """Returns which module has lazy weights or buffers, in words."""
    for path, m in module.named_modules():
        if any(map(is_lazy, (*m.parameters(recurse=False), *m.buffers(recurse=False)))):
            return f"`{path}` (`{type(m).__name__}`)" if path else f"the model (`{type(m).__name__}`)"
    return None
