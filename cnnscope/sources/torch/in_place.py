"""Calls that make a tensor of the model another one: results stored in ``out``, changed shapes, replaced data.

Each is recorded as the plain function followed by a change of what the tensor stands for. The tensor that it was
before goes on as a stand-in, so that its views still have a base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from cnnscope.ir.steps import Reshape, Step, Taps
from cnnscope.ops.generic import View
from cnnscope.sources.torch.constants import Constants
from cnnscope.sources.torch.rules import Lowering, Tracer, tensors, unsupported


class Run(Tracer, Protocol):
    """The part of the run, `cnnscope.sources.torch.trace.Trace`, that these calls see."""

    constants: Constants

    def takes_a_copy(self, function: str) -> Exception: ...
    def keep(self, t: Tensor, function: str) -> None: ...
    def store(self, target: Tensor, result: Tensor) -> None: ...
    def stand_in(self, t: Tensor) -> Tensor: ...
    def forget(self, t: Tensor) -> None: ...
    def owner(self, t: Tensor) -> Tensor | None: ...


def stored(run: Run, func: Any, rule: Lowering, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Returns the result of a call with ``out=``: runs the function without it, then stores what it returns."""
    given = {name: a for name, a in kwargs.items() if name not in rule.results}
    targets = [kwargs[name] for name in rule.results]
    with run:
        found = func._overloadpacket(*args, **given)
    for target, result in zip(tensors(targets, {}), tensors((found,), {}), strict=True):
        _store(run, rule.name, target, result)
    if not func._schema.returns:
        return None
    return targets[0] if len(targets) == 1 else tuple(targets)


def _store(run: Run, function: str, target: Tensor, result: Tensor) -> None:
    if target.shape != result.shape:
        run.keep(target, function)
        target.resize_(result.shape)
        run.forget(target)
    if target.dtype == result.dtype and run.tracked(result):
        if run.real:
            target.copy_(result)
        run.store(target, result)
    else:
        with run:
            target.copy_(result)


def reshaped(run: Run, func: Any, rule: Lowering, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Returns the first argument after a call that changes its shape or what memory it shows (``transpose_``)."""
    x: Tensor = args[0]
    if rule.name == "detach":
        return x
    run.keep(x, rule.name)
    if rule.name == "set":
        _set(run, func, x, args, kwargs)
    elif run.tracked(x):
        before = run.stand_in(x)
        func(x, *args[1:], **kwargs)
        if rule.name in ("resize", "resize_as"):
            after = _resized(run, rule.name, before, tuple(x.shape))
        else:
            with run:
                after = getattr(torch.ops.aten, rule.name)(before, *args[1:], **kwargs)
        run.same(x, after)
    else:
        before = run.stand_in(x)
        func(x, *args[1:], **kwargs)
        run.constants.reshaped(x, before, rule, args[1:], kwargs)
    run.forget(x)
    return x


def _resized(run: Run, name: str, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Returns the first elements of ``x`` in a new shape. If there are too few, the others have no defined value."""
    out = torch.empty(shape, dtype=x.dtype, device=x.device)
    flat: tuple[Step, ...] = (Reshape((x.numel(),)), Taps.picked(0, range(out.numel())), Reshape(shape))
    if out.numel() <= x.numel() and x.is_contiguous():
        run.emit(View("resize", flat if out.numel() < x.numel() else (Reshape(shape),)), [x], out, fn="resize")
    else:
        unsupported(run, out, name, [x])
    return out


def _set(run: Run, func: Any, x: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    given = args[1] if len(args) > 1 else None
    source = given if isinstance(given, Tensor) else None
    if source is not None and source.device != x.device:
        raise run.takes_a_copy("set")
    run.stand_in(x)
    func(x, *args[1:], **kwargs)
    source = run.owner(x) if source is None else source
    if source is None or not run.tracked(source):
        return
    if (x.shape, x.stride(), x.storage_offset()) == (source.shape, source.stride(), source.storage_offset()):
        run.same(x, source)
    else:
        unsupported(run, x, "set_", [source])


def replaced(run: Run, t: Tensor, other: Tensor, assign: Any) -> None:
    """Records ``t.data = other``, which ``assign`` does. Views of ``t`` go on to show what it was."""
    run.keep(t, "data")
    if t.device != other.device:
        raise run.takes_a_copy("data")
    run.stand_in(t)
    assign(t, other)
    run.forget(t)
    if run.tracked(other):
        run.same(t, other)
