"""Finds the tensors in what a module returns, in whatever containers they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from types import FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

from cnnscope.errors import CnnscopeError
from cnnscope.sources.torch.objects import LEAVES, MISSING, anatomy, read_slot
from cnnscope.user_code import a

_WITHOUT = (nn.Module, type, ModuleType, FunctionType, MethodType)
"""Objects whose tensors are no output, though an output may refer to them."""
_LAZY: tuple[type, ...] = (
    GeneratorType, map, filter, zip, enumerate, reversed, type(iter([])), type(iter(())), type({}.values()),
    type({}.items()), type(OrderedDict().values()), type(OrderedDict().items()),
)  # fmt: skip
"""Outputs that are computed when they are read."""
MOST = 2**16
"""The most items that are read of them."""
_END = object()


def tensors_of(output: Any) -> list[Tensor]:
    """Returns the tensors of an output in order, each once. Only objects of built-in types are asked for their
    content (`cnnscope.sources.torch.objects`); what is computed when it is read is read here.
    """
    found: dict[int, Tensor] = {}
    seen: dict[int, object] = {}
    waiting: list[Iterator[Any]] = [iter((output,))]
    while waiting:
        x: Any = next(waiting[-1], _END)
        if x is _END:
            waiting.pop()
        elif issubclass(type(x), Tensor):
            found.setdefault(id(x), x)
        elif type(x) not in LEAVES and not issubclass(type(x), _WITHOUT) and id(x) not in seen:
            seen[id(x)] = x
            waiting.append(iter(_inside(x)))
    return list(found.values())


def _inside(x: Any) -> Iterable[Any]:
    if issubclass(type(x), _LAZY):
        items = list(islice(x, MOST + 1))
        if len(items) > MOST:
            raise CnnscopeError.of("E438", f"the output, {a(type(x).__name__)}, has no end: it has over {MOST} items")
        return items
    how = anatomy(type(x))
    inside: list[Any] = []
    if how.holder is not None:
        content = how.holder.read(x)
        inside += content[len(content) // 2 :] if issubclass(type(x), dict) else content
    elif how.fixed is not None:
        inside += how.fixed(x)
    if how.attributes is not None:
        inside += dict.values(how.attributes(x))
    return inside + [value for slot in how.slots if (value := read_slot(slot, x)) is not MISSING]
