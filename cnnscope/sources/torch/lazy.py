"""Lazy modules get the shapes of their weights from the first input: on a copy, from the input that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import Parameter, is_lazy

from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.arguments import make_arguments
from cnnscope.sources.torch.copies import duplicate
from cnnscope.sources.torch.flags import plain_flags
from cnnscope.sources.torch.memory import LAZY
from cnnscope.sources.torch.objects import HOLDERS, LEAVES, anatomy
from cnnscope.sources.torch.untouched import untouched

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a call of a module."""


def with_shapes(module: nn.Module, inputs: Sequence[InputSize]) -> nn.Module:
    """Returns the module; or, if it has lazy weights, a copy of it whose weights have shapes. A run of another copy, on
    random numbers, shows with what each lazy module is called first, so the copy that is returned never ran.

    Raises `CnnscopeError` E436 if that run fails, or leaves weights without a shape.
    """
    lazy = dict(_lazy(module))
    if not lazy:
        return module
    with plain_flags(), torch.random.fork_rng(devices=[]), torch.no_grad():
        made = make_arguments(module, inputs, real=True)
        ran, called = duplicate((module, [*lazy.values()]))
        fresh, waiting = duplicate((module, [*lazy.values()]))
        for m in (*ran.modules(), *called):
            m.__dict__["training"] = False
        calls: dict[int, Call] = {}
        hooks = [m.register_forward_pre_hook(_noting(calls), prepend=True, with_kwargs=True) for m in called]
        try:
            with untouched(module), redirect_stdout(StringIO()):  # what it prints, it prints in the next run too
                ran(*made.args, **made.kwargs)
        except Exception as error:
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            what = f"{_words(*next(iter(lazy.items())))}, and a run that gives them one fails: {reason}"
            raise CnnscopeError.of("E436", what) from error
        for hook in hooks:
            hook.remove()
        for layer, other in zip(waiting, called, strict=True):
            _settle(layer, other, calls.get(id(other)))
    left = dict(_lazy(ran))
    if left:
        hint = "a forward pass does not reach it: call it once before it is loaded here, or remove it"
        raise CnnscopeError.of("E436", _words(*next(iter(left.items()))), hint=hint)
    return ran if dict(_lazy(fresh)) else fresh


def _noting(calls: dict[int, Call]) -> Any:
    """Returns a hook that notes the first call of a module."""

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.setdefault(id(module), (args, kwargs))

    return note


def _settle(layer: Any, ran: nn.Module, call: Call | None) -> None:
    """Gives the weights of a lazy layer shapes: as its class does at its first call, or as its twin that ``ran`` has
    them.
    """
    if isinstance(layer, LazyModuleMixin) and call is not None:
        layer._infer_parameters(layer, *call)  # type: ignore[misc]  # it is no `_LazyProtocol` to mypy
    for ours, theirs in ((layer._parameters, ran._parameters), (layer._buffers, ran._buffers)):
        for name, t in ours.items():
            found = theirs.get(name)
            if t is not None and is_lazy(t) and found is not None and not is_lazy(found):
                t.materialize(found.shape, dtype=found.dtype)
                t.data.copy_(found)


def _words(path: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return (f"`{path}` (`{kind}`)" if path else f"the model (`{kind}`)") + " has weights without a shape yet"


def _lazy(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yields the modules with lazy weights or buffers, each with its path."""
    for path, m in _modules(module):
        kinds = {*map(type, m._parameters.values()), *map(type, m._buffers.values())}
        if not kinds <= _SHAPED and any(issubclass(kind, LAZY) for kind in kinds):
            yield path, m


_SHAPED = {Parameter, Tensor, NoneType}


def _modules(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yields all modules as ``named_modules`` does, and those in containers of Python, which torch does not know."""
    waiting: list[tuple[str, Any]] = [("", root)]
    seen: dict[int, Any] = {}
    while waiting:
        path, x = waiting.pop()
        if id(x) in seen:
            continue
        seen[id(x)] = x
        inside: list[tuple[str, Any]]
        if isinstance(x, nn.Module):
            yield path, x
            own = [(n, v) for n, v in vars(x).items() if type(v) not in LEAVES and n not in _TABLES]
            inside = [(f"{path}.{name}" if path else name, value) for name, value in [*x._modules.items(), *own]]
        else:
            inside = [(f"{path}[{key}]", value) for key, value in _items(x) if type(value) not in LEAVES]
        waiting += reversed(inside)


_TABLES = frozenset(vars(nn.Module()))
"""The attributes that torch gives every module."""


def _items(x: Any) -> Iterator[tuple[str, Any]]:
    """Yields what is in a container, without its own methods; nothing for any other object."""
    if isinstance(x, tuple):
        if LEAVES.issuperset(map(type, tuple.__iter__(x))):  # such as the kernel of a convolution
            return
        yield from ((str(i), item) for i, item in enumerate(tuple.__iter__(x)))
    elif isinstance(x, (dict, list)):
        holder = anatomy(type(x)).holder or HOLDERS[list]
        content = holder.read(x)
        keys = content[: len(content) // 2] if isinstance(x, dict) else range(len(content))
        yield from zip(map(repr, keys), content[-len(keys) :], strict=True) if keys else ()
