"""Rules for sums and products over axes: reductions, matrix products, attention, recurrence, embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cnnscope.ir.steps import Reshape
from cnnscope.ops import pool
from cnnscope.ops.call import Call, Input
from cnnscope.ops.generic import Elementwise, Embedding, EmbeddingBag, Gather, Reduce, Renorm, Select, View
from cnnscope.ops.product import Bilinear, Distances, MatMul, ScaledDotProduct
from cnnscope.ops.recurrent import GRU, LSTM, RNN, Recurrent, StartedGRU, StartedLSTM, StartedRNN
from cnnscope.ops.traced import broadcast
from cnnscope.sources.torch.operands import ALL
from cnnscope.sources.torch.recording import dtype_name
from cnnscope.sources.torch.rules import Tracer, instead, records, tensors, unsupported
from cnnscope.sources.torch.rules.pointwise import elementwise

# -- reductions --------------------------------------------------------------------------------------------------------

_POOLS = {"mean": pool.GlobalAvgPool(), "amax": pool.GlobalMaxPool()}


def reduce(trace: Tracer, out: Any, fn: str, x: Tensor, axes: Any, keep: bool) -> None:
    """Records a reduction. A second output has indices or a second statistic."""
    if axes is None or (isinstance(axes, (list, tuple)) and not axes):
        along = tuple(range(x.dim()))
    else:
        along = tuple(sorted(axis % max(x.dim(), 1) for axis in ([axes] if isinstance(axes, int) else axes)))
    spatial = trace.value(x).kind == "map" and along == tuple(range(2, x.dim()))
    for result in tensors((out,), {}):
        if spatial and keep and fn in _POOLS and result.dtype == x.dtype:
            trace.emit(_POOLS[fn], [x], result)
        else:
            dtype = dtype_name(result) if result.dtype != x.dtype else None
            trace.emit(Reduce(fn, along, keep, dtype), [x], result, fn=fn)


def _reduction(fn: str, axis_at: int) -> Any:
    """Returns a rule for functions whose argument ``axis_at`` has the axes (``x`` is 0); the last says whether they are
    kept.
    """

    def rule(trace: Tracer, out: Any, x: Tensor, *rest: Any, **kwargs: Any) -> None:
        arguments = [x, *rest]
        if len(rest) == 1 and isinstance(rest[0], Tensor):  # max(x, y)
            elementwise(trace, out, fn, arguments)
            return
        axes = kwargs.get("dim", arguments[axis_at] if len(arguments) > axis_at else None)
        if isinstance(axes, (bool, float)):  # var(x, unbiased)
            axes = None
        keep = kwargs.get("keepdim", arguments[-1] if isinstance(arguments[-1], bool) and axes is not None else False)
        reduce(trace, out, fn, x, axes, keep)

    return rule


for _name in ("mean", "sum", "amax", "amin", "max", "min", "prod", "argmax", "argmin", "logsumexp", "any", "all",
              "std", "var", "std_mean", "var_mean", "median", "nanmedian", "mode", "aminmax", "nansum", "nanmean",
              "count_nonzero"):  # fmt: skip
    records(_name, carries=("dim", "keepdim", "dtype"))(_reduction(_name, 1))
records("_is_all_true", carries=("dim", "keepdim", "dtype"))(_reduction("all", 1))
records("_is_any_true", carries=("dim", "keepdim", "dtype"))(_reduction("any", 1))
for _name in ("norm", "linalg_vector_norm", "linalg_norm", "quantile", "renorm"):
    records(_name)(_reduction("norm" if "norm" in _name else _name, 2))


@records("_assert_async")
def check(trace: Tracer, out: Any, *args: Any) -> None:
    """An assertion about values computes nothing."""


# -- matrix products ---------------------------------------------------------------------------------------------------


@records("matmul", "mm", "bmm", "mv", "dot", "vdot")
def matmul(trace: Tracer, out: Tensor, a: Tensor, b: Tensor, *rest: Any, **kwargs: Any) -> None:
    """Multiplies. A vector on the left is a row, one on the right a column; their axes are missing in the result."""
    left = a if a.dim() > 1 else _shaped(trace, a, (1, a.shape[0]))
    right = b if b.dim() > 1 else _shaped(trace, b, (b.shape[0], 1))
    if left is a and right is b:
        trace.emit(MatMul(), [a, b], out)
        return
    shape = (*out.shape, *(1 for t in (a, b) if t.dim() == 1))
    if a.dim() == 1 and b.dim() > 1:
        shape = (*out.shape[:-1], 1, out.shape[-1])
    result = torch.empty(shape, dtype=out.dtype, device="meta")
    trace.emit(MatMul(), [left, right], result)
    trace.emit(View("squeeze", (Reshape(tuple(out.shape)),)), [result], out)


def _shaped(trace: Tracer, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    result = torch.empty(shape, dtype=x.dtype, device="meta")
    trace.emit(View("unsqueeze", (Reshape(shape),)), [x], result)
    return result


def _sum(trace: Tracer, out: Tensor, bias: Tensor, product: Tensor, beta: float, alpha: float) -> None:
    """Records beta * bias + alpha * product. A bias whose factor is 0 is not read."""
    if beta == 0:
        _scaled(trace, product, alpha, out)
        return
    product = product if alpha == 1 else _scaled(trace, product, alpha, torch.empty_like(product))
    bias = bias if beta == 1 else _scaled(trace, bias, beta, torch.empty_like(bias, device="meta"))
    shapes = (tuple(product.shape), tuple(bias.shape))
    trace.emit(Elementwise.of("add", tuple(out.shape), shapes, ()), [product, bias], out, fn="add")


def _scaled(trace: Tracer, x: Tensor, factor: float, out: Tensor) -> Tensor:
    trace.emit(Elementwise("mul", call=Call("mul", (Input(0), factor))), [x], out, fn="mul")
    return out


@records("addmm", "baddbmm", "addmv", carries=ALL)
def add_matmul(
    trace: Tracer, out: Tensor, bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1
) -> None:  # fmt: skip
    product = torch.empty(out.shape, dtype=out.dtype, device="meta")
    matmul(trace, product, a, b)
    _sum(trace, out, bias, product, beta, alpha)


@records("addbmm", carries=ALL)
def add_sum_of_matmuls(
    trace: Tracer, out: Tensor, bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1
) -> None:  # fmt: skip
    products = torch.empty((a.shape[0], a.shape[1], b.shape[2]), dtype=out.dtype, device="meta")
    total = torch.empty(products.shape[1:], dtype=out.dtype, device="meta")
    matmul(trace, products, a, b)
    reduce(trace, total, "sum", products, 0, False)
    _sum(trace, out, bias, total, beta, alpha)


@records("addr", carries=ALL)
def add_outer(
    trace: Tracer, out: Tensor, bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1
) -> None:  # fmt: skip
    product = torch.empty((a.shape[0], b.shape[0]), dtype=out.dtype, device="meta")
    outer(trace, product, a, b)
    _sum(trace, out, bias, product, beta, alpha)


@instead("bilinear")
def bilinear(trace: Tracer, func: Any, a: Tensor, b: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if not all(t is None or trace.key(t) for t in (weight, bias)):
        with trace:  # as a linear layer of all products
            products = (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(-2)
            return torch.nn.functional.linear(products, weight.flatten(1), bias)
    out: Tensor = trace.run(func, (a, b, weight, bias), {})
    trace.emit(Bilinear(weight.shape[0], bias is not None), [a, b], out, {"weight": weight, "bias": bias})
    return out


@records("_cdist_forward", carries=("compute_mode",))
def distances(trace: Tracer, out: Tensor, a: Tensor, b: Tensor, p: float, *mode: Any) -> None:
    trace.emit(Distances(p), [a, b], out, fn="cdist")


@instead("cdist", carries=("compute_mode",))
def all_distances(trace: Tracer, func: Any, a: Tensor, b: Tensor, p: float = 2.0, mode: int | None = None) -> Tensor:
    """For many rows torch has no meta kernel, and the matrix product that it takes is a matter of the kernel."""
    fits = min(a.dim(), b.dim()) > 1 and a.shape[-1] == b.shape[-1] and _fit(a.shape[:-2], b.shape[:-2])
    if trace.real or not fits:
        out: Tensor = trace.run(func, (a, b, p, mode), {})
    else:
        shape = (*broadcast((tuple(a.shape[:-2]), tuple(b.shape[:-2]))), a.shape[-2], b.shape[-2])
        out = a.new_empty(shape, device="meta")
    distances(trace, out, a, b, p)
    return out


def _fit(one: Sequence[int], other: Sequence[int]) -> bool:
    return all(n == m or 1 in (n, m) for n, m in zip(one[::-1], other[::-1], strict=False))


@records("outer", "ger")
def outer(trace: Tracer, out: Tensor, a: Tensor, b: Tensor) -> None:
    elementwise(trace, out, "outer", [_shaped(trace, a, (a.shape[0], 1)), b])


# -- attention ---------------------------------------------------------------------------------------------------------


@records(
    "scaled_dot_product_attention", "_scaled_dot_product_attention_math", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_fused_attention_overrideable",
)  # fmt: skip
def attention(trace: Tracer, out: Any, q: Tensor, k: Tensor, v: Tensor, *rest: Any, **kwargs: Any) -> None:
    first, *others = tensors((out,), {})
    mask = next(iter(tensors(rest, kwargs)), None)
    causal = any(a is True for a in rest) or kwargs.get("is_causal", False)
    inputs = [q, k, v, mask] if mask is not None and trace.tracked(mask) else [q, k, v]
    trace.emit(ScaledDotProduct(masked=mask is not None or causal), inputs, first, fn="attention")
    if others:
        unsupported(trace, others, "attention_statistics", inputs)


# -- recurrence and embedding ------------------------------------------------------------------------------------------


_RECURRENT: dict[str, type[Recurrent]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
_STARTED: dict[str, type[Recurrent]] = {"lstm": StartedLSTM, "gru": StartedGRU, "rnn": StartedRNN}
"""The same with first states that are not zero."""


@instead("lstm", "gru", "rnn_tanh", "rnn_relu", carries=ALL)
def recurrent(trace: Tracer, func: Any, x: Tensor, state: Any, *rest: Any) -> Any:
    states = [state] if isinstance(state, Tensor) else list(state)
    packed = not isinstance(rest[1], bool)
    kind, _, nonlinearity = func._schema.name.removeprefix("aten::").partition("_")
    if packed or not all(trace.key(w) for w in rest[0]):
        with trace:  # step by step, because the weights are computed, or sequences end at different steps
            return func.decompose(x, state, *rest)
    params, has_biases, layers, _, _, bidirectional, batch_first = rest
    hidden, out_features = params[0].shape[0] // _RECURRENT[kind].gates, params[1].shape[1]
    own: dict[str, Any] = {"nonlinearity": nonlinearity} if nonlinearity else {}
    if out_features != hidden:
        own = {"projection": out_features}
    first = [] if all(map(trace.is_zero, states)) else states
    op = (_STARTED if first else _RECURRENT)[kind](hidden, layers, bidirectional, has_biases, batch_first, **own)
    if trace.real:
        out, *last = func(x, state, *rest)
    else:  # without values torch, too, would go through it step by step
        out, *last = x.new_empty(op.output([trace.value(x)]).shape), *map(torch.empty_like, states)
    trace.emit(op, [x, *first], out, dict(zip(op.weights([trace.value(x)]), params, strict=True)), fn=kind)
    for index, final in enumerate(last, start=1):
        trace.emit(Select(tuple(final.shape), index=index, via="recurrence"), [out], final, fn="state")
    return (out, *last)


@records("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    trace: Tracer, out: Sequence[Tensor], weight: Tensor, indices: Tensor, offsets: Tensor, scale: bool = False,
    mode: int = 0, *rest: Any,
) -> None:  # fmt: skip
    first, *others = out
    weights = [t for t in rest if isinstance(t, Tensor) and trace.tracked(t)]
    read = [t for t in (indices, *weights) if trace.tracked(t)]
    if trace.key(weight) and read:
        op = EmbeddingBag(first.shape[0], weight.shape[0], weight.shape[1], ("sum", "mean", "max")[mode])
        trace.emit(op, read, first, {"weight": weight}, fn="embedding_bag")
    else:
        trace.emit(Gather(tuple(first.shape), fn="embedding_bag"), [weight, *read], first, fn="embedding_bag")
    for index, other in enumerate(others, start=1):
        trace.emit(Select(tuple(other.shape), index=index), [first], other, fn="bags")


@records("embedding_renorm")
def embedding_renorm(
    trace: Tracer, out: Tensor, weight: Tensor, indices: Tensor, max_norm: float, norm_type: float
) -> None:
    inputs = [t for t in (weight, indices) if trace.tracked(t)]
    op = Renorm(indices.numel(), fn="renorm")
    trace.emit(op, inputs, out, fn="renorm", lost=("max_norm", "norm_type"))


@records("embedding")
def embedding(trace: Tracer, out: Tensor, weight: Tensor, indices: Tensor, *rest: Any) -> None:
    if trace.key(weight):
        trace.emit(Embedding(weight.shape[0], weight.shape[1]), [indices], out, {"weight": weight})
    else:
        trace.emit(Gather(tuple(out.shape), fn="embedding"), [weight, indices], out)
