"""One run of a program, call by call: the values of its names, and the modules that its calls are in.

What a program calls is looked up in `cnnscope.sources.exported.functions`; any other call is a row of the graph, with
the shapes that the program states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

from cnnscope.errors import CnnscopeError
from cnnscope.sources.exported.batching import Batching
from cnnscope.sources.exported.document import Block, Call, Meta, Open, Ref, Word
from cnnscope.sources.exported.functions import arithmetic, aten, is_check
from cnnscope.sources.torch.constants import LARGEST
from cnnscope.sources.torch.rules import tensors, unsupported
from cnnscope.sources.torch.trace import Trace

NO_GRADIENTS = "torch.ops.higher_order.wrap_with_set_grad_enabled"
SIZE = "torch.ops.aten.sym_size.int"
_VIEW = "torch.ops.aten.view.default"
_CORE = frozenset({"torch.ops.aten.convolution.default", "torch.ops.aten.addmm.default"})
"""Functions of programs that were decomposed: there, a reshape became a view of what is contiguous at one batch."""


class ProgramError(Exception):
    """A program contradicts itself: a call reads what no call before it made, or has other results than stated."""


class Running:
    """One run: the values of its names so far. ``fixed`` are names that depend on no input."""

    def __init__(self, root: nn.Module, metas: Mapping[str, Meta], values: dict[str, Any], fixed: set[str]) -> None:
        self._root, self._metas, self._values, self._fixed = root, metas, values, fixed
        self._symbols: dict[str, int] = {}
        self._batching: Batching | None = None
        self._core = False

    def bind(self, given: Mapping[str, Any], calls: Sequence[Call]) -> None:
        """Learns from the inputs which extent each symbol is, and whether there are as many images as it was exported
        for.
        """
        self._core = any(call.target in _CORE for call in calls)
        for name, value in given.items():
            meta = self._metas.get(name)
            if not isinstance(value, Tensor) or meta is None:
                continue
            extents = zip(meta.shape, value.shape, strict=False)
            self._symbols.update({n.symbol: int(size) for n, size in extents if isinstance(n, Open)})
            exported = meta.shape[0] if meta.shape else None
            if self._batching is None and isinstance(exported, int) and exported and exported != value.shape[0]:
                self._batching = Batching(self._metas, calls, exported, int(value.shape[0]))

    def all(self, calls: Sequence[Call], depth: int) -> None:
        """Runs calls in order; those of one module together, by calling the module."""
        for scopes, group in groupby(calls, key=lambda call: call.scopes[depth : depth + 1]):
            if scopes:
                submodule(self._root, plain(scopes[0].path))(self, list(group), depth + 1)
                continue
            for call in group:
                self._one(call)

    def value(self, argument: Any) -> Any:
        """Returns the value of an argument."""
        match argument:
            case Ref(name=name):
                if name not in self._values:
                    raise ProgramError(f"`{name}` is read before it is made")
                return self._values[name]
            case Word(kind="device", name=name):
                return torch.device(name)
            case Word(name=name):
                return getattr(torch, name)
            case list():
                return [self.value(item) for item in argument]
        return argument

    def _one(self, call: Call) -> None:
        if is_check(call.target):
            return
        arguments = [(name, self.value(value)) for name, value in call.arguments if not isinstance(value, Block)]
        target = "torch.ops.aten.reshape.default" if self._core and call.target == _VIEW else call.target
        function, of_sizes = aten(target), arithmetic(target)
        if call.target == SIZE:
            (_, tensor), (_, axis) = arguments
            if not isinstance(tensor, Tensor) or not -tensor.dim() <= axis < tensor.dim():
                raise ProgramError(f"`{call.target}` of what has no axis {axis}")
            result: Any = tensor.shape[axis]
        elif function is not None:
            result = self._computed(call, function, arguments)
        elif of_sizes is not None:
            try:
                result = of_sizes(*(value for _, value in arguments))
            except (TypeError, ValueError, ArithmeticError, LookupError) as error:
                raise ProgramError(f"`{call.target}`: {error}") from None
        elif call.target == NO_GRADIENTS:
            result = self._inside(call, [value for _, value in arguments])
        else:
            result = self._unknown(call, [value for _, value in arguments])
        self._store(call, result)

    def _store(self, call: Call, result: Any) -> None:
        results = (result,) if len(call.results) == 1 else tuple(result) if isinstance(result, (list, tuple)) else ()
        counts = [(len(one) if isinstance(one, tuple) else None) for one in call.results]
        found = [(len(one) if isinstance(one, (list, tuple)) else None) for one in results]
        if call.results and counts != found:
            raise ProgramError(f"`{call.target}` has other results than the program says")
        fixed = all(name in self._fixed for name in _names([value for _, value in call.arguments]))
        for name, value in zip(call.results, results, strict=False):
            pairs = zip(name, value, strict=True) if isinstance(name, tuple) else [(name, value)]
            for one, item in pairs:
                if one is not None:
                    self._values[one] = item
                    if self._batching is not None:
                        self._batching.note(call, one, item)
        if fixed:
            self._fixed.update(name for part in call.results for name in (part if isinstance(part, tuple) else (part,))
                               if name is not None)  # fmt: skip

    def _computed(self, call: Call, function: Any, arguments: Sequence[tuple[str, Any]]) -> Any:
        """Returns the result of a function of ATen. One of constants alone that would be large gets no values."""
        schema = function._schema.arguments
        if function.name() == "aten::reshape":  # whose argument has another name than that of a view
            arguments = [(own.name, value) for own, (_, value) in zip(schema, arguments, strict=False)]
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, value in arguments:
            own = schema[len(args)] if len(args) < len(schema) and not kwargs else None
            if own is not None and own.name == name and not own.kwarg_only:
                args.append(value)
            else:
                kwargs[name] = value
        if self._batching is not None:
            args = [*self._batching.arguments(call, args)]
        if all(name in self._fixed for name in _names([value for _, value in call.arguments])):
            args, kwargs = self._bounded(function, args, kwargs)
        return function(*args, **kwargs)

    def _bounded(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Returns arguments without values where a result would be too large to be computed for real."""
        with _disable_current_modes():
            plain = [_without(a) for a in args], {name: _without(a) for name, a in kwargs.items()}
            try:
                size = sum(t.numel() for t in tensors((function(*plain[0], **plain[1]),), {}))
            except (RuntimeError, NotImplementedError):  # its size depends on values
                return args, kwargs
        return plain if size > LARGEST else (args, kwargs)

    def _inside(self, call: Call, values: Sequence[Any]) -> Any:
        """Runs the graph inside a call, whose values are the last ones."""
        block = next(value for _, value in call.arguments if isinstance(value, Block))
        outer = [value for _, value in call.arguments if not isinstance(value, Block)]
        start = len(values) - len(block.inputs)
        fixed = set(self._fixed)
        fixed.update(name for name, value in zip(block.inputs, outer[start:], strict=True)
                     if all(one in self._fixed for one in _names([value])))  # fmt: skip
        given = dict(zip(block.inputs, values[start:], strict=True))
        inner = Running(self._root, {**self._metas, **block.metas}, {**self._values, **given}, fixed)
        inner._symbols, inner._batching, inner._core = self._symbols, self._batching, self._core
        inner.all(block.calls, len(call.scopes))
        found = [inner.value(output) for output in block.outputs]
        return found[0] if len(call.results) == 1 and not isinstance(call.results[0], tuple) else found

    def _unknown(self, call: Call, values: Sequence[Any]) -> Any:
        """Returns tensors of the shapes that the program states for a call that is not computed; the trace marks it."""
        name = call.target.removeprefix("torch.ops.").replace(".", "::", 1).rpartition(".")[0] or call.target
        found = [[self._stated(name, one) for one in part] if isinstance(part, tuple) else self._stated(name, part)
                 for part in call.results]  # fmt: skip
        tracer = _get_current_dispatch_mode()
        if not isinstance(tracer, Trace):
            raise CnnscopeError.of("E449", f"the program calls `{name}`, which is not computed here")
        made = [t for part in found for t in (part if isinstance(part, list) else [part]) if t is not None]
        if made:
            unsupported(tracer, made, name, tensors(values, {}))
        return found[0] if len(found) == 1 else found

    def _stated(self, function: str, name: str | None) -> Tensor | None:
        if name is None:
            return None
        meta = self._metas.get(name)
        if meta is None:
            raise CnnscopeError.of("E449", f"the program calls `{function}`, whose result is no tensor")
        shape = [self._symbols.get(n.symbol, n.hint) if isinstance(n, Open) else n for n in meta.shape]
        known = [n for n in shape if n is not None]
        if len(known) < len(shape):
            raise CnnscopeError.of("E449", f"the program calls `{function}`, whose result has no known shape")
        with _disable_current_modes():
            return torch.empty(known, dtype=getattr(torch, meta.dtype), device="meta")


def _without(a: Any) -> Any:
    """Returns an argument without values."""
    if isinstance(a, Tensor):
        return torch.empty_strided(a.shape, a.stride(), dtype=a.dtype, device="meta")
    if isinstance(a, list):
        return [_without(item) for item in a]
    return torch.device("meta") if isinstance(a, torch.device) else a


def _names(values: Sequence[Any]) -> list[str]:
    """Returns the names of values among arguments."""
    found = []
    for value in values:
        if isinstance(value, Ref):
            found.append(value.name)
        elif isinstance(value, list):
            found += _names(value)
        elif isinstance(value, Block):
            found += [name for call in value.calls for name in _names([v for _, v in call.arguments])]
    return found


def plain(path: str) -> str:
    """Returns the path of a module without the number of its call."""
    return path.partition("@")[0]


def submodule(root: nn.Module, path: str) -> nn.Module:
    """Returns the module of a path, which is looked up among modules alone; KeyError if there is none."""
    found: nn.Module | None = root
    for name in path.split(".") if path else []:
        assert found is not None
        found = found._modules[name]
    assert found is not None
    return found
