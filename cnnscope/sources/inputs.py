"""Inputs of networks as people write them: ``3x224x224``, ``left=3x64x64``, ``ids=128:int64``, ``t=scalar:int64``,
``batch.image=3x64x64``, ``n=4``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import DTYPE_BYTES, Shape
from cnnscope.ir.declared import fitted
from cnnscope.ops.arguments import MAX_INT

_WRITTEN = re.compile(r"(?:(?P<name>[^=]*)=)?(?P<shape>[^:=]*)(?::(?P<dtype>.*))?")


@dataclass(frozen=True, slots=True)
class InputSize:
    """The shape of one input without batch. It has a name if the network has several inputs, and a dtype if
    that matters.

    A name may lead into an argument: ``batch.image`` is an entry of a dict, ``[0]`` the first of a list. ``plain`` has
    what is passed instead of a new tensor: a number, a text, or the tensor of an example. ``n=4`` may be either, a
    number or a vector; it has both.
    """

    shape: Shape
    name: str | None = None
    dtype: str | None = None
    plain: tuple[Any, ...] = ()

    def __str__(self) -> str:
        """The size as it is written on the command line."""
        name = "" if self.name is None else f"{self.name}="
        number = self.plain[0] is None or isinstance(self.plain[0], (int, float, str)) if self.plain else False
        size = str(self.plain[0]) if number else "x".join(map(str, self.shape)) or "scalar"
        return f"{name}{size}{f':{self.dtype}' if self.dtype else ''}"

    @classmethod
    def parse(cls, text: str) -> InputSize:
        """Reads ``[NAME=]3x224x224[:DTYPE]`` or ``NAME=VALUE``; raises E403 for anything else."""
        match = _WRITTEN.fullmatch(text)
        scalar = match is not None and match["shape"] == ("" if match["name"] and match["dtype"] else "scalar")
        scalar = scalar or (match is not None and match["shape"] == "scalar")
        extents = [] if scalar or not match else re.split("[x,]", match["shape"])
        plain = _plain(match["shape"]) if match and match["name"] and match["dtype"] is None and not scalar else ()
        if match and plain and not re.fullmatch("[0-9]{1,19}", match["shape"]):
            return cls((), match["name"], None, plain)
        if (
            not match
            or not (extents or scalar)
            or not all(re.fullmatch("[0-9]{1,19}", n) and 0 < int(n) <= MAX_INT for n in extents)
        ):
            raise CnnscopeError.of(
                "E403", f"`{text}` is not an input size", hint="write 3x224x224, left=3x64x64 or ids=128:int64"
            )
        name, dtype = match["name"], match["dtype"]
        if name == "":
            raise CnnscopeError.of("E403", f"`{text}` names no input before `=`", hint="write left=3x64x64")
        if dtype is not None and dtype not in DTYPE_BYTES:
            hint = did_you_mean(dtype, DTYPE_BYTES) or f"known dtypes: {', '.join(DTYPE_BYTES)}"
            raise CnnscopeError.of("E403", f"unknown dtype `{dtype}` of input `{text}`", hint=hint)
        return cls(tuple(map(int, extents)), name, dtype, plain)


def _plain(text: str) -> tuple[Any, ...]:
    """Returns the number, truth value, `None` or quoted text that is written; nothing for anything else."""
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    try:
        value = words[text.lower()] if text.lower() in words else ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    return (value,) if value is None or isinstance(value, (bool, int, float, str)) else ()


def only_sizes(inputs: Iterable[InputSize], what: str) -> None:
    """Raises E403 unless every input is a size: only code takes numbers, texts and examples."""
    for size in inputs:
        if size.plain and not size.shape:
            raise CnnscopeError.of("E403", f"`{size}` is no size, and {what} takes tensors only")


def fit(given: tuple[InputSize, ...], declared: tuple[InputSize, ...]) -> tuple[InputSize, ...]:
    """Returns the sizes of an image network: those it declares, or the given ones; E403 if they are another's."""
    if len(given) != 1 or len(declared) != 1:
        return given or declared
    return (replace(given[0], shape=fitted(declared[0].shape, given[0].shape, 0)),)


def parse_inputs(texts: Iterable[str]) -> tuple[InputSize, ...]:
    """Returns several sizes; raises E403 if two are for the same input, or if one of several has no name."""
    sizes = tuple(InputSize.parse(text) for text in texts)
    names = [size.name for size in sizes]
    if len(sizes) > 1 and None in names:
        raise CnnscopeError.of("E403", "of several input sizes each needs a name", hint="write left=3x64x64")
    for name in names:
        if names.count(name) > 1:
            raise CnnscopeError.of("E403", f"input `{name}` is given two sizes")
    return sizes
