"""Keras' layers of attention: between heads with projections, and plain (dot product or additive)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Kind, Shape
from cnnscope.ir.steps import Expand, Reshape
from cnnscope.ops.activation import Sigmoid, Softmax, Tanh
from cnnscope.ops.affine import Affine
from cnnscope.ops.call import LARGEST, Call, Input, Literal, Operand
from cnnscope.ops.generic import Elementwise, Movement, Parameter, Reduce, View
from cnnscope.ops.merge import Add, Mul
from cnnscope.ops.movement import PermuteOp, ReshapeOp
from cnnscope.ops.product import Linear, MatMul, ScaledDotProduct
from cnnscope.sources.keras.row import LayerRow, Tensor
from cnnscope.sources.keras.rules import Arguments, Settings, calls
from cnnscope.sources.keras.rules.tensors import reshape
from cnnscope.sources.keras.stored import Array, Stored, flat

_MASKS = ("query_mask", "value_mask", "key_mask", "mask")


@calls("MultiHeadAttention")
def _multi_head(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Has a dense layer each for queries, keys and values, attention in every head, and a dense layer over the joined
    heads.
    """
    size, heads = s.integer("key_dim", minimum=1), s.integer("num_heads", minimum=1)
    depth = s.integer("value_dim", size, minimum=1)
    out = s.integers("output_shape") if s.get("output_shape") is not None else None
    return _heads(row, s, call, (heads, heads), (size, depth), out)


@calls("GroupQueryAttention", "GroupedQueryAttention")
def _grouped(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """As `MultiHeadAttention`, with fewer heads of keys and values, each of which serves several of the queries."""
    size = s.integer("head_dim", minimum=1)
    heads, groups = s.integer("num_query_heads", minimum=1), s.integer("num_key_value_heads", minimum=1)
    if heads % groups:
        raise CnnscopeError.of("E443", f"{groups} heads of keys do not divide {heads} heads of queries")
    return _heads(row, s, call, (heads, groups), (size, size), None)


def _heads(
    row: LayerRow, s: Settings, call: Arguments, heads: tuple[int, int], sizes: tuple[int, int], out: list[int] | None
) -> list[Tensor]:
    """``heads`` are those of queries and of keys; ``sizes`` the numbers of features of a key and of a value."""
    query, value = call.get(0, "query"), call.get(1, "value")
    key = call.get(2, "key") or value
    if not all(isinstance(x, Tensor) and x.rank >= 3 for x in (query, key, value)):
        raise CnnscopeError.of("E443", "attention needs a query and a value with tokens and features")
    bias, rank = s.flag("use_bias", True), query.rank
    axes = sorted(
        {axis + rank if axis < 0 else axis for axis in s.integers("attention_axes", list(range(1, rank - 1)))}
    )
    if not set(axes) <= set(range(1, rank - 1)) or value.rank != rank:
        raise CnnscopeError.of("E445", f"attention over the axes {axes} of {list(query.shape)} is not read yet")
    gate = None
    named = (("query", query, heads[0], sizes[0]), ("key", key, heads[1], sizes[0]))
    q, k = (_split(row, _project(row, Linear(n * d, bias), x, part), n, d, axes) for part, x, n, d in named)
    if s.flag("use_gate", False):
        gate = row.add(Sigmoid(), _project(row, Linear(heads[0] * sizes[1], bias), query, "gate"))
    v = _split(row, _project(row, Linear(heads[1] * sizes[1], bias), value, "value"), heads[1], sizes[1], axes)
    scored = call.kwargs.get("return_attention_scores") is True
    if scored and rank > 3:
        raise CnnscopeError.of("E445", "scores of attention over several axes are not read yet as an output")
    mixed, scores = _mixed(row, s, call, (q, k, v), scored)
    joined = _join(row, mixed, query.shape, axes, heads[0], sizes[1])
    if gate is not None:
        joined = row.add(Mul(), joined, gate)
    sides = out or [query.shape[-1]]
    y = _project(row, Linear(prod(sides), bias), joined, "output")
    if len(sides) > 1:
        y = reshape(row, y, (*query.shape[1:-1], *sides))
    return [y, *scores]


def _project(row: LayerRow, op: Linear, x: Tensor, part: str) -> Tensor:
    """Adds a dense layer of attention, whose kernel in Keras is (in, heads, size), that of the output (heads, size,
    out)."""

    def turn(array: Array) -> Array:
        joined = array.shape[0] * array.shape[1] if part == "output" else array.shape[0]
        return array.reshape(joined, -1).T

    home = f"{part}_dense"
    stored = {"weight": Stored("kernel", turn, home), "bias": Stored("bias", flat, home)}
    return row.add(op, row.authored(x), part=part, stored=stored)


def _split(row: LayerRow, x: Tensor, heads: int, size: int, axes: Sequence[int]) -> Tensor:
    """(positions, heads * size) -> (heads, positions, size); positions outside of ``axes`` come before the heads."""
    positions = x.shape[1:-1]
    y = row.add(ReshapeOp((*positions, heads, size)), x, axes=tuple(range(x.rank + 1)), kind="tensor")
    others = [axis for axis in range(1, x.rank - 1) if axis not in axes]
    y = row.add(PermuteOp((*others, x.rank - 1, *axes, x.rank)), y)
    if x.rank == 3:
        return y
    apart = [prod(x.shape[axis] for axis in others)] if others else []
    shape = (*apart, heads, prod(x.shape[axis] for axis in axes), size)
    return row.add(ReshapeOp(shape), y, axes=tuple(range(len(shape) + 1)), kind="tensor")


def _join(row: LayerRow, x: Tensor, like: Shape, axes: Sequence[int], heads: int, size: int) -> Tensor:
    """Undoes `_split` for a tensor with the positions of the query, whose shape is ``like``."""
    rank = len(like)
    others = [axis for axis in range(1, rank - 1) if axis not in axes]
    if rank > 3:
        shape = (*(like[axis] for axis in others), heads, *(like[axis] for axis in axes), size)
        x = row.add(ReshapeOp(shape), x, axes=tuple(range(rank + 1)), kind="tensor")
    there = [*others, rank - 1, *axes, rank]
    x = row.add(PermuteOp(tuple(there.index(axis) + 1 for axis in range(1, rank + 1))), x)
    kind: Kind = "tokens" if rank == 3 else "tensor"
    return row.add(ReshapeOp((*like[1:-1], heads * size)), x, axes=tuple(range(rank)), kind=kind)


def _mixed(
    row: LayerRow, s: Settings, call: Arguments, qkv: tuple[Tensor, Tensor, Tensor], scored: bool
) -> tuple[Tensor, list[Tensor]]:
    """Returns the values mixed by attention, and the weights of it if they are an output."""
    q, k, v = qkv
    lost = [name for name in _MASKS if call.kwargs.get(name) is not None]
    given = call.kwargs.get("attention_mask")
    window = None if s.get("sliding_window") is None else s.integer("sliding_window", minimum=1)
    causal = call.kwargs.get("use_causal_mask") is True
    mask = _mask(q.shape[-2], k.shape[-2], causal, window)
    if given is not None and not (isinstance(given, Tensor) and given.rank == 3 and q.rank == 4 and mask is None):
        lost.append("attention_mask")
        given = None
    if mask is not None and mask.size > LARGEST and (window or scored):
        lost.append("sliding_window" if window else "use_causal_mask")
        mask = None
    if scored or lost:
        return _explicitly(row, qkv, mask, given, lost, scored)
    allowed: Operand = None
    xs = [q, k, v]
    if given is not None:
        cast = row.add(Movement("cast", (), dtype="bool"), reshape(row, given, (1, *given.shape[1:])))
        xs, allowed = [*xs, cast], Input(3)
    elif window and mask is not None:
        allowed = Literal(mask.shape, "bool", mask.tobytes())
    shared = () if q.shape[-3] == k.shape[-3] else (("enable_gqa", True),)
    operands: tuple[Operand, ...] = (Input(0), Input(1), Input(2))
    if causal or allowed is not None:
        operands = (*operands, allowed, 0.0, causal and allowed is None)
    op = ScaledDotProduct(causal or allowed is not None, call=Call("scaled_dot_product_attention", operands, shared))
    return row.add(op, *xs), []


def _mask(queries: int, keys: int, causal: bool, window: int | None) -> Array | None:
    """Returns which query sees which key, if not every one does."""
    if not causal and window is None:
        return None
    apart = np.arange(queries)[:, None] - np.arange(keys)
    seen = apart >= 0 if causal else np.ones_like(apart, dtype=bool)
    return seen if window is None else seen & (np.abs(apart) < window)


def _explicitly(
    row: LayerRow, qkv: tuple[Tensor, Tensor, Tensor], mask: Array | None, given: Tensor | None, lost: list[str],
    scored: bool,
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """Attention as products and a softmax, so that its weights are a tensor."""
    q, k, v = qkv
    k, v = (_repeated(row, x, q.shape[-3]) for x in (k, v))
    scaled = row.add(Affine((1 / sqrt(q.shape[-1]),)), q)
    scores = row.add(MatMul(), scaled, _flipped(row, k), lost=(*lost, *(["attention_mask"] if given else [])))
    weights = row.add(Softmax(scores.rank - 1), _masked(row, scores, mask))
    return row.add(MatMul(), weights, v), [weights] if scored else []


def _flipped(row: LayerRow, x: Tensor) -> Tensor:
    """(..., a, b) -> (..., b, a)."""
    order = (*range(1, x.rank - 2), x.rank - 1, x.rank - 2)
    return row.add(PermuteOp(order), x, kind="tensor")


def _repeated(row: LayerRow, x: Tensor, heads: int) -> Tensor:
    """Repeats every head for the queries that it serves."""
    own = x.shape[-3]
    if own == heads:
        return x
    front, back = x.shape[:-2], x.shape[-2:]
    steps = (Reshape((*front, 1, *back)), Expand((*front, heads // own, *back)),
             Reshape((*x.shape[:-3], heads, *back)))  # fmt: skip
    return row.add(View("repeat", steps), x, part="repeat")


def _masked(row: LayerRow, scores: Tensor, mask: Array | None) -> Tensor:
    if mask is None:
        return scores
    if mask.size > LARGEST:
        return row.add(Elementwise("add"), scores, lost=("use_causal_mask",))
    values = np.where(mask, 0.0, -1e9).astype(np.float32)
    literal = Literal(mask.shape, "float32", values.tobytes())
    op = Elementwise("add", varies=(scores.rank - 2, scores.rank - 1), call=Call("add", (Input(0), literal)))
    return row.add(op, scores, part="mask")


# -- without projections ---------------------------------------------------------------------------------------------


@calls("Attention")
def _attention(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Scores are products of queries and keys, or (``concat``) sums of tanh of their sums, times learned numbers."""
    query, key, _ = _given(row, call)
    scale = "scale" if s.flag("use_scale", False) else None
    if s.get("score_mode", "dot") == "dot":
        scores = row.add(MatMul(), query, _flipped(row, key))
        return _weighted(row, call, _times(row, scores, scale) if scale else scores)
    summed = _sums(row, query, key)
    hidden = row.add(Tanh(), _times(row, summed, scale) if scale else summed)
    total = row.add(Reduce("sum", (hidden.rank - 1,)), hidden)
    return _weighted(row, call, _times(row, total, "concat_score_weight"))


@calls("AdditiveAttention")
def _additive(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Scores are sums of tanh of queries and keys, weighted with one number for each feature. Source: Bahdanau et al.
    2015."""
    query, key, _ = _given(row, call)
    hidden = row.add(Tanh(), _sums(row, query, key))
    if s.flag("use_scale", True):
        hidden = _times(row, hidden, "scale", (query.shape[-1],))
    return _weighted(row, call, row.add(Reduce("sum", (hidden.rank - 1,)), hidden))


def _given(row: LayerRow, call: Arguments) -> tuple[Tensor, Tensor, Tensor]:
    listed = call.args and isinstance(call.args[0], list)
    xs = list(call.args[0]) if listed else call.tensors()[:3]
    if len(xs) not in (2, 3) or not all(isinstance(x, Tensor) and x.rank >= 3 for x in xs):
        raise CnnscopeError.of("E443", "attention needs a list of a query, a value and perhaps a key")
    query, value, key = (row.authored(x) for x in (*xs, xs[1])[:3])
    return query, key, value


def _times(row: LayerRow, x: Tensor, name: str, shape: Shape = ()) -> Tensor:
    """Multiplies with a learned number, or one for each feature."""
    whole = (*(1,) * (x.rank - 1), *(shape or (1,)))
    stored = {"value": Stored(name, lambda array: array.reshape(whole))}
    factor = row.add(Parameter(whole), part=name, stored=stored)
    return row.add(Elementwise("mul"), x, factor)


def _sums(row: LayerRow, query: Tensor, key: Tensor) -> Tensor:
    """(..., t, d), (..., s, d) -> (..., t, s, d)."""
    a, b = query.shape[1:], key.shape[1:]
    first = reshape(row, query, (*a[:-1], 1, a[-1]))
    second = reshape(row, key, (*b[:-2], 1, *b[-2:]))
    return row.add(Add(), *(row.authored(x) for x in (first, second)))


def _weighted(row: LayerRow, call: Arguments, scores: Tensor) -> list[Tensor]:
    _, _, value = _given(row, call)
    causal = call.kwargs.get("use_causal_mask") is True
    scores = _masked(row, scores, _mask(scores.shape[-2], scores.shape[-1], causal, None))
    weights = row.add(Softmax(scores.rank - 1), scores)
    kind: Kind = "tokens" if value.rank == 3 else "tensor"
    mixed = row.add(MatMul(), weights, value, kind=kind)
    return [mixed, weights] if call.kwargs.get("return_attention_scores") is True else [mixed]
