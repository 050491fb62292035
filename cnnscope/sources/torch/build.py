"""Handles torch modules before their run: builds them without memory for weights, and makes inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.flags import plain_flags

T = TypeVar("T")


def build(factory: Callable[[], T]) -> T:
    """Returns what ``factory`` makes, with weights on the meta device. Real weights are used only if it fails without
    values.

    Buffers keep their values: index tables are needed, and small. A constructor that computes with its own weights
    fails without values and is run once more with them.
    """
    try:
        with plain_flags(), _weights_on_meta():
            return factory()
    except Exception:  # noqa: BLE001  # a real error comes again below; otherwise it was for lack of values
        with plain_flags():
            made = factory()
        if isinstance(made, nn.Module):
            _drop_values(made)
        return made


@contextmanager
def _weights_on_meta() -> Iterator[None]:
    """Inside, every parameter moves to the meta device when it is registered, which is before it is initialised."""
    register = nn.Module.register_parameter
    twins: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}  # with the originals, so that their ids are not used again

    def register_on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if type(param) is nn.Parameter and not param.is_meta:
            if id(param) not in twins:
                twins[id(param)] = (_twin(param), param)
            param = twins[id(param)][0]
        register(self, name, param)

    setattr(nn.Module, "register_parameter", register_on_meta)  # noqa: B010  # a patch, which types cannot express
    try:
        yield
    finally:
        setattr(nn.Module, "register_parameter", register)  # noqa: B010


def _twin(parameter: nn.Parameter) -> nn.Parameter:
    empty = torch.empty_strided(parameter.shape, parameter.stride(), dtype=parameter.dtype, device="meta")
    twin = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    twin.__dict__.update(parameter.__dict__)
    return twin


def _drop_values(module: nn.Module) -> None:
    for m in module.modules():
        for name, parameter in m._parameters.items():
            if type(parameter) is nn.Parameter:
                m._parameters[name] = _twin(parameter)


@dataclass(frozen=True, slots=True)
class Feed:
    """An argument of ``forward``."""

    name: str
    tensor: Tensor
    keyword: bool


def make_inputs(module: nn.Module, sizes: Sequence[InputSize], *, real: bool = False, batch: int = 1) -> list[Feed]:
    """Returns tensors of ``batch`` images with these sizes, as ``forward`` takes them; raises E434 if it takes others.

    They are on the meta device or, if ``real``, normal random numbers (zeros for integers, which may be indices).
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
    return [Feed(size.name or "input", _tensor(size, default, real, batch), bool(size.name)) for size in sizes]


def _tensor(size: InputSize, default: torch.dtype, real: bool, batch: int) -> Tensor:
    dtype = getattr(torch, size.dtype) if size.dtype else default
    shape = (batch, *size.shape)
    if not real:
        return torch.empty(shape, dtype=dtype, device="meta")
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
