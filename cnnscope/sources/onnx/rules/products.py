"""ONNX operators that multiply matrices: `MatMul`, `Gemm`, `Einsum`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from cnnscope.ir.steps import Permute, Reshape
from cnnscope.ops.generic import Elementwise, View
from cnnscope.ops.product import Linear, MatMul
from cnnscope.sources.onnx.table import Call, UnreadableError, rule
from cnnscope.sources.onnx.values import Const, Operand, invalid


@rule("MatMul")
def _matmul(call: Call) -> list[Operand]:
    """A stored matrix on the right is a linear layer."""
    weight = call.constant(1)
    if weight is not None and len(weight.shape) == 2 and isinstance(call.operand(0), str):
        if call.shape(0)[-1:] != weight.shape[:1]:
            raise invalid(f"`MatMul` of {list(call.shape(0))} and {list(weight.shape)} does not fit")
        return [call.emit(Linear(weight.shape[1], bias=False), call.tensor(0), params={"weight": weight})]
    a, b = call.tensor(0), call.tensor(1)
    left, right = call.value(a).shape, call.value(b).shape
    if min(len(left), len(right)) < 2:
        raise UnreadableError("`MatMul` with a vector")
    if left[-1] != right[-2]:
        raise invalid(f"`MatMul` of {list(left)} and {list(right)} does not fit")
    return [call.emit(MatMul(), a, b, as_kind="tensor")]


@rule("Gemm")
def _gemm(call: Call) -> list[Operand]:
    """alpha A B + beta C: a linear layer where B and C are stored."""
    weight, bias = call.constant(1), call.constant(2)
    shape = call.shape(1)
    if len(shape) != 2 or len(call.shape(0)) != 2:
        raise invalid("`Gemm` needs two matrices")
    into, out = shape[::-1] if call.integer("transB", 0) else shape
    a = call.tensor(0)
    if call.integer("transA", 0):
        a = call.emit(View("transpose", (Permute((1, 0)),)), a, part="transpose")
    if call.value(a).shape[1] != into:
        raise invalid(f"`Gemm` of {list(call.value(a).shape)} and {list(shape)} does not fit")
    scaled = call.number("alpha", 1.0) != 1 or (call.has(2) and call.number("beta", 1.0) != 1)
    own = bias is not None and prod(bias.shape) == out
    last = not call.has(2) or (own and not scaled)
    if weight is not None:
        op = Linear(out, bias=own)
        y = call.emit(op, a, part="" if last else "linear", params={"weight": weight, "bias": bias if own else None})
    else:
        b = call.tensor(1)
        if call.integer("transB", 0):
            b = call.emit(View("transpose", (Permute((1, 0)),)), b, part="transposed")
        y, own, last = call.emit(MatMul(), a, b, part="product", as_kind="tensor"), False, False
    if scaled:
        y = call.emit(Elementwise("mul"), y, part="scale" if call.has(2) and not own else "")
    if call.has(2) and not own:
        given = call.operand(2)
        inputs, constants = ([y], [given]) if isinstance(given, Const) else ([y, given], [])
        return [call.emit(Elementwise("add"), *inputs, constants=constants)]
    return [y]


@rule("Einsum")
def _einsum(call: Call) -> list[Operand]:
    """Two operands: the letters of both and the result are a batch, those of both alone are summed over."""
    left, arrow, result = call.text("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or len(terms) != 2 or len(call.inputs) != 2 or not (left.replace(",", "") + result).isalpha():
        raise UnreadableError("an `Einsum` of other than two operands, or with `...`")
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms):
        if len(set(term)) != len(term) or len(term) != len(call.shape(index)) or set(result) - set(left):
            raise UnreadableError("an `Einsum` that repeats a letter")
        for letter, n in zip(term, call.shape(index), strict=True):
            if sizes.setdefault(letter, n) != n:
                raise invalid(f"the letter `{letter}` of `Einsum` stands for {sizes[letter]} and {n}")
    a, b = terms
    both, summed = [c for c in a if c in b and c in result], [c for c in a if c in b and c not in result]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    if set(rows + columns) - set(result):
        raise UnreadableError("an `Einsum` that sums over a letter of one operand")
    x = _matrix(call, 0, a, (both, rows, summed), sizes, "left")
    y = _matrix(call, 1, b, (both, summed, columns), sizes, "right")
    product = call.emit(MatMul(), x, y, part="product", as_kind="tensor")
    letters = both + rows + columns
    steps = (Reshape(tuple(sizes[c] for c in letters)), Permute(tuple(letters.index(c) for c in result)))
    return [call.emit(View("permute", steps), product)]


def _matrix(
    call: Call, index: int, term: str, groups: Sequence[Sequence[str]], sizes: dict[str, int], part: str
) -> str:
    """An operand as matrices: three axes, each of several letters."""
    order = tuple(term.index(c) for group in groups for c in group)
    shape = tuple(prod(sizes[c] for c in group) for group in groups)
    return call.emit(View("permute", (Permute(order), Reshape(shape))), call.tensor(index), part=part)
