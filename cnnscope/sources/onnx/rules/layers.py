"""ONNX operators for whole layers: matrix products, normalisation, `PRelu`, recurrence, attention."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Kind, Shape
from cnnscope.ir.steps import Permute, Reshape
from cnnscope.ops import merge, norm
from cnnscope.ops.activation import PReLU, ReLU
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Elementwise, View
from cnnscope.ops.product import Linear, MatMul, ScaledDotProduct
from cnnscope.ops.traced import broadcast
from cnnscope.sources.onnx.rules import OperatorCall, UnreadableError, rule
from cnnscope.sources.onnx.values import Const, Operand, invalid


@rule("MatMul")
def _matmul(call: OperatorCall) -> list[Operand]:
    """A stored matrix on the right makes it a linear layer."""
    weight = call.constant(1)
    if weight is not None and len(weight.shape) == 2 and isinstance(call.operand(0), str):
        if call.shape(0)[-1:] != weight.shape[:1]:
            raise _other_features(call, call.tensor(0), weight.shape[0])
        return [
            call.emit(Linear(weight.shape[1], bias=False), call.tensor(0), params={"weight": weight.permuted((1, 0))})
        ]
    a, b = call.tensor(0), call.tensor(1)
    left, right = call.value(a).shape, call.value(b).shape
    if not left or not right:
        raise invalid("`MatMul` of a single number")
    if left[-1] != right[max(len(right) - 2, 0)]:
        raise invalid(f"`MatMul` of {list(left)} and {list(right)} does not fit")
    vectors = [len(shape) == 1 for shape in (left, right)]
    if vectors[0]:
        a = call.emit(View("unsqueeze", (Reshape((1, *left)),)), a, part="row")
    if vectors[1]:
        b = call.emit(View("unsqueeze", (Reshape((*right, 1)),)), b, part="column")
    y = call.emit(MatMul(), a, b, part="product" if any(vectors) else "", as_kind="tensor")
    if not any(vectors):
        return [y]
    whole = call.value(y).shape
    kept = (*whole[:-2], *(n for n, gone in zip(whole[-2:], vectors, strict=True) if not gone))
    return [call.emit(View("squeeze", (Reshape(kept),)), y)]


def _other_features(call: OperatorCall, x: str, wanted: int) -> CnnscopeError:
    """The error for features that a stored weight does not take."""
    node = call.builder.nodes.get(x)
    given = "the input" if node is None else f"`{node.layer}`"
    what = f"its weight takes {wanted} features, but {given} gives {call.value(x).shape[-1]}"
    return CnnscopeError.of("E301", what)


@rule("Gemm")
def _gemm(call: OperatorCall) -> list[Operand]:
    """Computes alpha A B + beta C, a linear layer if B and C are stored."""
    weight, bias = call.constant(1), call.constant(2)
    shape = call.shape(1)
    if len(shape) != 2 or len(call.shape(0)) != 2:
        raise invalid("`Gemm` needs two matrices")
    into, out = shape[::-1] if call.integer("transB", 0) else shape
    a = call.tensor(0)
    if call.integer("transA", 0):
        a = call.emit(View("transpose", (Permute((1, 0)),)), a, part="transpose")
    if call.value(a).shape[1] != into:
        raise _other_features(call, a, into)
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    scaled = alpha != 1 or (call.has(2) and beta != 1)
    own = bias is not None and prod(bias.shape) == out and bias.shape[-1:] == (out,) and not scaled
    last = own or not (call.has(2) or scaled)
    if weight is not None:
        weight = weight if call.integer("transB", 0) else weight.permuted((1, 0))
        params = {"weight": weight, "bias": bias if own else None}
        y = call.emit(Linear(out, bias=own), a, part="" if last else "linear", params=params)
    else:
        b = call.tensor(1)
        if call.integer("transB", 0):
            b = call.emit(View("transpose", (Permute((1, 0)),)), b, part="transposed")
        y, own, last = call.emit(MatMul(), a, b, part="product", as_kind="tensor"), False, False
    if alpha != 1:
        y = call.emit_call(Elementwise("mul"), "mul", y, alpha, part="scale" if call.has(2) else "")
    if call.has(2) and not own:
        return [_added(call, y, call.operand(2), beta)]
    return [y]


def _added(call: OperatorCall, y: str, c: Operand, beta: float) -> str:
    """Returns y + beta c, broadcast to y."""
    named = {} if beta == 1 else {"alpha": beta}
    if isinstance(c, Const):
        return call.emit_call(Elementwise("add"), "add", y, c, named=named)
    shapes = [call.value(y).shape, call.value(c).shape]
    return call.emit_call(Elementwise.of("add", shapes[0], shapes, []), "add", y, c, named=named)


@rule("Einsum")
def _einsum(call: OperatorCall) -> list[Operand]:
    """Has two operands. Letters in both and in the result are a batch; letters in both alone are summed over."""
    a, b, result = _equation(call)
    sizes: dict[str, int] = {}
    for index, term in enumerate((a, b)):
        for letter, n in zip(term, call.shape(index), strict=True):
            if sizes.setdefault(letter, n) != n:
                raise invalid(f"the letter `{letter}` of `Einsum` stands for {sizes[letter]} and {n}")
    shared = [c for c in a if c in b]
    both, summed = [c for c in shared if c in result], [c for c in shared if c not in result]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    letters = both + rows + columns
    if set(letters) != set(result):
        raise UnreadableError("an `Einsum` that sums over a letter of one operand")
    x = _matrix(call, 0, a, (both, rows, summed), sizes, "left")
    y = _matrix(call, 1, b, (both, summed, columns), sizes, "right")
    product = call.emit(MatMul(), x, y, part="product", as_kind="tensor")
    steps = (Reshape(tuple(sizes[c] for c in letters)), Permute(tuple(letters.index(c) for c in result)))
    return [call.emit(View("permute", steps), product)]


def _equation(call: OperatorCall) -> tuple[str, str, str]:
    """Returns the letters of the two operands and of the result."""
    left, arrow, result = call.text("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or len(terms) != 2 or len(call.inputs) != 2 or not (left.replace(",", "") + result).isalpha():
        raise UnreadableError("an `Einsum` of other than two operands, or with `...`")
    ranks = [len(set(term)) for term in terms]
    if ranks != [len(call.shape(0)), len(call.shape(1))] or ranks != list(map(len, terms)) or set(result) - set(left):
        raise UnreadableError("an `Einsum` that repeats a letter")
    return terms[0], terms[1], result


def _matrix(
    call: OperatorCall, index: int, term: str, groups: Sequence[Sequence[str]], sizes: dict[str, int], part: str
) -> str:
    """Returns an operand as a batch of matrices: three axes, each made from several letters."""
    order = tuple(term.index(c) for group in groups for c in group)
    shape = tuple(prod(sizes[c] for c in group) for group in groups)
    return call.emit(View("permute", (Permute(order), Reshape(shape))), call.tensor(index), part=part)


# -- normalisation ---------------------------------------------------------------------------------------------------


def _eps(call: OperatorCall) -> dict[str, Any]:
    return {"eps": call.number("epsilon", 1e-5)}


@rule("BatchNormalization")
def _batchnorm(call: OperatorCall) -> list[Operand]:
    call.positions(0)
    roles = ("weight", "bias", "running_mean", "running_var")
    params = {role: call.constant(i) for i, role in enumerate(roles, start=1)}
    if None in params.values():
        raise UnreadableError("`BatchNormalization` with computed statistics")
    op = norm.BatchNorm.read(_eps(call) | {"momentum": round(1 - call.number("momentum", 0.9), 9)})
    return [call.emit(op, call.tensor(0), as_kind="flat" if len(call.shape(0)) == 2 else "map", params=params)]


@rule("LayerNormalization", "RMSNormalization")
def _layernorm(call: OperatorCall) -> list[Operand]:
    """Normalises over the last axes, from ``axis`` on."""
    rank, rms = len(call.shape(0)), call.type == "RMSNormalization"
    axis, scale, bias = call.integer("axis", -1), call.constant(1), call.constant(2)
    axes = -axis if axis < 0 else rank - axis
    if scale is None or (call.has(2) and bias is None) or (rms and axes != 1) or prod(call.shape(0)[-axes:]) != prod(
        scale.shape):  # fmt: skip
        raise UnreadableError(f"`{call.type}` of this kind")
    op: Op = norm.RMSNorm.read(_eps(call)) if rms else norm.LayerNorm.read(
        _eps(call) | {"axes": axes, "bias": bias is not None})  # fmt: skip
    kind: Kind = "flat" if rank == 2 else "tokens" if rms else "tensor"
    x = call.tensor(0)
    if kind == "tensor" and call.value(x).kind == "map":  # there the op would take the channels
        x = call.emit(View("view", (Reshape(call.shape(0)),)), x, part="axes")
    return [call.emit(op, x, as_kind=kind, params={"weight": scale, "bias": bias})]


@rule("InstanceNormalization")
def _instancenorm(call: OperatorCall) -> list[Operand]:
    params = {"weight": call.constant(1), "bias": call.constant(2)}
    if None in params.values():
        raise UnreadableError("`InstanceNormalization` with computed weights")
    call.positions()
    own = not _is_group_norm(call)
    op = norm.InstanceNorm.read(_eps(call) | {"affine": own})
    return [call.emit(op, call.tensor(0), as_kind="map", params=params if own else {})]


def _is_group_norm(call: OperatorCall) -> bool:
    """Returns whether this is the middle of a group norm as torch exports it: a reshaped tensor, times ones,
    plus zeros.
    """
    x, ones, zeros = call.operand(0), call.constant(1), call.constant(2)
    made = call.builder.nodes.get(x) if isinstance(x, str) else None
    if made is None or not isinstance(made.op, View) or ones is None or zeros is None:
        return False
    return (
        ones.value is not None and zeros.value is not None and bool((ones.value == 1).all() and not zeros.value.any())
    )


@rule("GroupNormalization")
def _groupnorm(call: OperatorCall) -> list[Operand]:
    """Has one weight per group in opset 18, one per channel from opset 21 on."""
    weight, bias = call.constant(1), call.constant(2)
    if weight is None or bias is None:
        raise UnreadableError("`GroupNormalization` with computed weights")
    call.positions()
    own = prod(weight.shape) == call.shape(0)[1]
    op = norm.GroupNorm.read(_eps(call) | {"groups": call.integer("num_groups"), "affine": own})
    if own:
        return [call.emit(op, call.tensor(0), as_kind="map", params={"weight": weight, "bias": bias})]
    y = call.emit(op, call.tensor(0), part="norm", as_kind="map")
    y = call.emit(Elementwise("mul"), y, part="scale", constants=[weight])
    return [call.emit(Elementwise("add"), y, constants=[bias])]


@rule("LRN")
def _lrn(call: OperatorCall) -> list[Operand]:
    call.positions()
    args = {"size": call.integer("size"), "alpha": call.number("alpha", 1e-4), "beta": call.number("beta", 0.75),
            "k": call.number("bias", 1.0)}  # fmt: skip
    lost = ("size",) if args["size"] % 2 == 0 else ()
    return [call.emit(norm.LRN.read(args), call.tensor(0), as_kind="map", lost=lost)]


@rule("PRelu")
def _prelu(call: OperatorCall) -> list[Operand]:
    slope, shape = call.constant(1), call.shape(0)
    channels = (shape[1], *(1,) * (len(shape) - 2)) if len(shape) > 1 else ()
    shared = slope is not None and prod(slope.shape) == 1
    if slope is not None and (shared or slope.shape in (channels, (1, *channels))):
        return [call.emit(PReLU(shared=shared), call.tensor(0), params={"weight": slope})]
    x, factor = call.tensor(0), call.operand(1)
    if not shared and broadcast([shape, call.shape(1)]) != shape:
        raise invalid(f"`PRelu` of {list(shape)} with slopes {list(call.shape(1))}")
    below = call.emit_call(Elementwise("clip"), "clamp", x, None, 0, part="below")
    below = call.emit_call(
        Elementwise.of("mul", shape, *_shapes(call, shape, factor)), "mul", below, factor, part="slope"
    )
    return [call.emit(merge.Add(), call.emit(ReLU(), x, part="above"), below)]


def _shapes(call: OperatorCall, shape: Shape, factor: Operand) -> tuple[list[Shape], list[Shape]]:
    """Returns the shapes of the inputs and of the constants of a product."""
    return ([shape], [factor.shape]) if isinstance(factor, Const) else ([shape, call.value(factor).shape], [])


# -- attention ---------------------------------------------------------------------------------------------------------


@rule("Attention")
def _attention(call: OperatorCall) -> list[Operand]:
    """The operator of opset 23, with separate heads: (N, heads, tokens, features)."""
    if any(len(call.shape(i)) != 4 for i in range(3)) or any(map(call.has, (4, 5))) or any(call.outputs[1:]):
        raise UnreadableError("`Attention` with joined heads or a cache")
    causal = bool(call.integer("is_causal", 0))
    q, k = call.shape(0), call.shape(1)
    mask = call.operand(3) if call.has(3) else None
    known = {
        "is_causal",
        "softcap",
        "scale",
        "q_num_heads",
        "kv_num_heads",
        "softmax_precision",
        "qk_matmul_output_mode",
    }
    lost = [name for name, value in call.attributes.items() if name not in known or (name == "softcap" and value)]
    lost += ["nonpad_kv_seqlen"] if call.has(6) else []
    if mask is not None and (causal or call.shape(3)[-1:] != k[2:3]):
        lost.append("attn_mask")
    operands = [*(call.tensor(i) for i in range(3)), mask, 0.0, causal]
    scale = {"scale": call.number("scale")} if "scale" in call.attributes else {}
    named = {**scale, **({"enable_gqa": True} if q[1] != k[1] else {})}
    function = "scaled_dot_product_attention"
    return [call.emit_call(ScaledDotProduct(mask is not None or causal), function, *operands, named=named, lost=lost)]
