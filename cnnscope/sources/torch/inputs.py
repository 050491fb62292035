"""The tensors a module's ``forward`` is called with, from the sizes that were given."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.sources.inputs import InputSize


@dataclass(frozen=True, slots=True)
class Feed:
    """An argument of ``forward``."""

    name: str
    tensor: Tensor
    keyword: bool


def make_inputs(module: nn.Module, sizes: Sequence[InputSize], *, real: bool = False) -> list[Feed]:
    """Batch-1 tensors of these sizes as ``forward`` takes them; E434 if it takes others.

    On meta, or if ``real`` with normal random numbers (zeros where they are integers, as they may be indices).
    """
    accepted = inspect.signature(module.forward).parameters
    wanted = [p for p in accepted.values() if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    named = [size.name for size in sizes if size.name]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    for name in named:
        if name not in accepted and not open_ended:
            known = f"it takes {_listed(accepted)}"
            raise CnnscopeError.of(
                "E434", f"`{type(module).__name__}` has no input `{name}`", hint=did_you_mean(name, accepted) or known
            )
    missing = [p.name for p in wanted if p.name not in named][len(sizes) - len(named) :]
    if missing:
        takes = f"`{type(module).__name__}` takes {_listed(p.name for p in wanted)}"
        several = len(wanted) > 1
        examples = [f"--input {p.name + '=' if several else ''}3x224x224" for p in wanted]
        indices = f"{wanted[0].name + '=' if several else ''}128:int64"
        hint = f"for instance `{' '.join(examples)}`, or `{indices}` for indices"
        raise CnnscopeError.of("E434", f"{takes}; no size is given for {_listed(missing)}", hint=hint)
    default = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return [Feed(size.name or "input", _tensor(size, default, real), bool(size.name)) for size in sizes]


def _tensor(size: InputSize, default: torch.dtype, real: bool) -> Tensor:
    dtype = getattr(torch, size.dtype) if size.dtype else default
    shape = (1, *size.shape)
    if not real:
        return torch.empty(shape, dtype=dtype, device="meta")
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
