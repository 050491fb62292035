"""Builds torch modules without memory for their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

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
