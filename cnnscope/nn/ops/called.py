"""Ops that keep the call they stand for, in torch: ATen's function with all its operands, and the expression for it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import BuiltinFunctionType
from typing import Any

import torch
from torch import Tensor, nn

from cnnscope.nn.code import Call as CallExpr
from cnnscope.nn.code import Expr, Index, Infix, Items, Lit, Raw
from cnnscope.nn.ops.base import Code, Inputs, Module, attributes, inline
from cnnscope.ops.call import Call, Held, Input, Literal, Operand, elements
from cnnscope.ops.traced import Called

SHORT = 16
"""The most elements that an expression writes out."""
_NARROW = (torch.float16, torch.bfloat16)


class Calling(nn.Module):
    """Calls one of ATen's functions. The weights and buffers among its operands are its own."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call
        self.function = getattr(torch.ops.aten, call.function)
        for role, held in call.held(buffer=False).items():
            self.register_parameter(role, nn.Parameter(torch.zeros(held.shape, dtype=getattr(torch, held.dtype))))
        for role, held in call.held(buffer=True).items():
            self.register_buffer(role, torch.zeros(held.shape, dtype=getattr(torch, held.dtype)))
        self.constants = {leaf: tensor_of(leaf) for leaf in call.leaves() if isinstance(leaf, Literal)}

    def forward(self, *x: Tensor) -> Tensor:
        operands = [self._value(operand, x) for operand in self.call.operands]
        named = {name: self._value(operand, x) for name, operand in self.call.named}
        result = self.function(*operands, **named)
        only: Tensor = result if self.call.item is None else result[self.call.item]
        return only

    def _value(self, operand: Operand, x: tuple[Tensor, ...]) -> Any:
        match operand:
            case Input(index):
                return x[index]
            case Held(role=role, seen=seen):
                own: Tensor = getattr(self, role)
                return own if seen is None else own.reshape(seen)
            case Literal():
                return _beside(self.constants[operand], x)
            case tuple():
                return [self._value(item, x) for item in operand]
            case str() if operand.startswith("torch."):
                return getattr(torch, operand.removeprefix("torch."))
        return operand

    def extra_repr(self) -> str:
        return self.call.function


def _beside(constant: Tensor, x: tuple[Tensor, ...]) -> Tensor:
    """The constant on the device of the inputs, and no more exact than they are in a network of half precision."""
    first = next((t for t in x if t.is_floating_point()), x[0] if x else constant)
    narrow = constant.is_floating_point() and constant.dim() > 0 and first.dtype in _NARROW
    return constant.to(first.device, first.dtype if narrow else constant.dtype)


def tensor_of(literal: Literal) -> Tensor:
    """The constant as a tensor on the CPU."""
    dtype = getattr(torch, literal.dtype)
    if not literal.data:
        return torch.empty(literal.shape, dtype=dtype, device="cpu")
    held = torch.frombuffer(bytearray(literal.data), dtype=dtype)
    return held[0].expand(literal.shape) if literal.is_uniform else held.reshape(literal.shape)


def called(op: Called) -> Module | None:
    """The call of an op, if it is known."""
    if op.call is None:
        return None
    call = _slim(op.call) if not getattr(op, "shape", ()) else op.call
    return Module(Calling, {"call": call}, code=_code(call))


def _is_long(leaf: Operand) -> bool:
    return isinstance(leaf, Literal) and (leaf.count > SHORT or elements(leaf) is None)


def _slim(call: Call) -> Call:
    """The call with constants of one number as such, where they do not stretch the result."""

    def slim(operand: Operand) -> Operand:
        if isinstance(operand, Literal) and operand.is_uniform:
            return Literal((1,) * len(operand.shape), operand.dtype, operand.data)
        return operand

    return Call(call.function, tuple(map(slim, call.operands)), call.named, call.item)


# -- as source ---------------------------------------------------------------------------------------------------------

_INFIX: Mapping[str, str] = {
    "add": "+", "sub": "-", "rsub": "-", "mul": "*", "div": "/", "true_divide": "/", "pow": "**", "lt": "<",
    "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
}  # fmt: skip


def _code(call: Call) -> Code:
    """The call as an expression; what it holds, and longer constants, are attributes of the class around it."""
    held = (
        leaf.role if isinstance(leaf, Held) else leaf
        for leaf in call.leaves()
        if isinstance(leaf, Held) or _is_long(leaf)
    )
    own: tuple[Any, ...] = tuple(dict.fromkeys(held))
    if not own:
        return inline(lambda inputs: _expression(call, inputs, {}))

    def write(inputs: Inputs) -> Expr:
        count = len(inputs) - len(own)
        return _expression(call, inputs[:count] or inputs, dict(zip(own, inputs[count:], strict=True)))

    return attributes(*own, write=write)


_Own = Mapping[str | Literal, Expr]


def _expression(call: Call, inputs: Inputs, own: _Own) -> Expr:
    operands = [_written(operand, inputs, own) for operand in call.operands]
    sign = _INFIX.get(call.function)
    plain = len(operands) == 2 and not call.named and isinstance(call.operands[0], Input)
    if sign and plain:
        return Infix(sign, tuple(operands[::-1] if call.function == "rsub" else operands))
    # functions of torch that are written in Python, such as `block_diag(*tensors)`, take other arguments than ATen's
    place = "torch" if isinstance(getattr(torch, call.function, None), BuiltinFunctionType) else "torch.ops.aten"
    named = tuple((name, _written(operand, inputs, own)) for name, operand in call.named)
    result = CallExpr(f"{place}.{call.function}", tuple(operands), named)
    return result if call.item is None else Index(result, str(call.item))


def _written(operand: Operand, inputs: Inputs, own: _Own) -> Expr:
    match operand:
        case Input(index):
            return inputs[index]
        case Held(role=role, seen=seen):
            return own[role] if seen is None else CallExpr("reshape", tuple(map(Lit, seen)), target=own[role])
        case Literal() if operand in own:
            return own[operand]
        case Literal():
            return _constant(operand, inputs)
        case tuple() if any(isinstance(item, (Input, Literal, Held, tuple)) for item in operand):
            return Items(tuple(_written(item, inputs, own) for item in operand))
        case str() if operand.startswith("torch."):
            return Raw(operand)
    return Lit(operand)


def _constant(literal: Literal, inputs: Inputs) -> Expr:
    """``x.new_tensor((1.0, 2.0), dtype=torch.float32)``."""
    tensor = tensor_of(literal).reshape(-1)
    dtype = (("dtype", Raw(f"torch.{literal.dtype}")),)
    values = tensor[:1].tolist() if literal.is_uniform else tensor.tolist()
    if literal.is_uniform or not prod(literal.shape):
        return CallExpr("new_full", (Lit(literal.shape), Lit(values[0] if values else 0)), dtype, inputs[0])
    made = CallExpr("new_tensor", (Lit(tuple(values)),), dtype, inputs[0])
    return made if len(literal.shape) == 1 else CallExpr("reshape", tuple(map(Lit, literal.shape)), target=made)
