"""One op as code: what constructs its module, and what calls it.

A module of torch is constructed from its attributes, which are called like the arguments of its constructor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cnnscope.nn.export.code import Call, Expr, Lit, Raw


@dataclass(frozen=True, slots=True)
class Code:
    """One op as code: ``construct`` makes the module to register, ``call`` applies it to its inputs.

    Without ``construct`` there is nothing to register. ``plain`` says that calling is nothing but calling the module on
    its input, so that it can stand in an `nn.Sequential`. ``stateless`` modules have a ``function`` as well, which
    needs no registering. ``helper`` is what the file must define, by name in `cnnscope.nn.export.pytorch.own.HELPERS`.
    """

    construct: Expr | None
    call: Callable[[Expr, Sequence[Expr]], Expr]
    function: Callable[[Sequence[Expr]], Expr] | None = None
    plain: bool = True
    helper: str | None = None


Inputs = Sequence[Expr]


def apply(module: Expr, inputs: Inputs) -> Expr:
    """The module called on its inputs."""
    return Call(module.text, tuple(inputs)) if isinstance(module, Raw) else Call("", tuple(inputs), target=module)


def construct(module: nn.Module) -> Call:
    """``nn.Conv2d(3, 64, kernel_size=7, ...)``: the first two arguments without a default by position."""
    positional: list[Expr] = []
    named: list[tuple[str, Expr]] = []
    for parameter in inspect.signature(type(module)).parameters.values():
        if parameter.name in ("device", "dtype", "inplace") or not hasattr(module, parameter.name):
            continue
        value = _argument(module, parameter.name)
        if parameter.default is inspect.Parameter.empty:
            if len(positional) < 2 and not named:
                positional.append(Lit(value, parameter.name))
            else:
                named.append((parameter.name, Lit(value, parameter.name)))
        else:
            default = parameter.default
            if parameter.name == "stride" and default is None:  # of pools: the kernel's size
                default = _argument(module, "kernel_size")
            named.append((parameter.name, Lit(value, parameter.name, default)))
    return Call(f"nn.{type(module).__name__}", tuple(positional), tuple(named))


def _argument(module: nn.Module, name: str) -> Any:
    value = getattr(module, name)
    if name == "bias":
        return value is not None or getattr(module, "weight", None) is None  # a norm without weights has no say in it
    return plain(value)


def plain(value: Any) -> Any:
    """One number where all axes agree, and whole numbers without a point."""
    if isinstance(value, (tuple, list, torch.Size)):
        items = tuple(plain(item) for item in value)
        return items[0] if len(set(items)) == 1 and isinstance(items[0], int) else items
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
        return int(value)
    return value
