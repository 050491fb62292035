"""Tensors that a class has itself, as source: parameters, buffers and constants, with the numbers that are known."""

from __future__ import annotations

from base64 import b85decode, b85encode
from zlib import compress, decompress

import torch
from torch import Tensor

from cnnscope.ir import Param
from cnnscope.nn.code import Call, Expr, Lit, Raw
from cnnscope.nn.ops.called import SHORT, tensor_of
from cnnscope.ops.call import Literal, elements

LONGEST = 2**15
"""The most characters of compressed numbers in a file."""


def unpacked(text: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Numbers that are written as compressed text."""
    data = bytearray(decompress(b85decode(text)))
    return torch.frombuffer(data, dtype=dtype).reshape(shape)


def attribute_of(param: Param) -> Expr | None:
    """A weight, zero at first, or a buffer with its numbers, if they are known; None if those are too many to write."""
    dtype = (("dtype", Raw(f"torch.{param.dtype}")),) if param.dtype != "float32" else ()
    empty = Call("torch.zeros", (_sizes(param.shape),), dtype)
    if not param.buffer:
        return Call("nn.Parameter", (empty,))
    numbers = empty if param.data is None else values(Literal(param.shape, param.dtype, param.data))
    return None if numbers is None else _buffer(numbers, persistent=param.persistent)


def constant(literal: Literal) -> Expr | None:
    """A constant as a buffer that no state dict has; None if its numbers are too many to write."""
    numbers = values(literal)
    return None if numbers is None else _buffer(numbers, persistent=False)


def values(literal: Literal) -> Expr | None:
    """The numbers of a constant as an expression; None if they are too many to write."""
    dtype, shape = Raw(f"torch.{literal.dtype}"), literal.shape
    short = elements(literal) is not None and literal.count <= SHORT
    if literal.is_uniform and short:
        return Call("torch.full", (_sizes(shape), Lit(tensor_of(literal).flatten()[0].item())), (("dtype", dtype),))
    if short:
        flat = Call("torch.tensor", (Lit(tuple(tensor_of(literal).flatten().tolist())),), (("dtype", dtype),))
        return flat if len(shape) == 1 else Call("reshape", (_sizes(shape),), target=flat)
    text = b85encode(compress(literal.data, 9)).decode()
    return Call("unpacked", (Lit(text, "numbers"), dtype, _sizes(shape))) if len(text) <= LONGEST else None


def _sizes(shape: tuple[int, ...]) -> Expr:
    return Call("", tuple(Lit(n, "size") for n in shape)) if len(shape) != 1 else Raw(f"({shape[0]},)")


def _buffer(numbers: Expr, *, persistent: bool) -> Expr:
    return Call("nn.Buffer", (numbers,), (("persistent", Lit(persistent, "persistent", True)),))
