"""Keras layers that mix features or rearrange tensors: dense, attention, embedding, reshaping, joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Kind
from cnnscope.ir.steps import Expand
from cnnscope.ops.activation import Tanh
from cnnscope.ops.affine import Affine
from cnnscope.ops.base import Op
from cnnscope.ops.call import Input
from cnnscope.ops.generic import Elementwise, Embedding, Movement
from cnnscope.ops.merge import Add, Concat, Mul, Sub, different_sizes
from cnnscope.ops.movement import Flatten, ReshapeOp
from cnnscope.ops.product import Linear
from cnnscope.sources.keras import aten
from cnnscope.sources.keras.row import LayerRow, Tensor
from cnnscope.sources.keras.rules import Arguments, Settings, calls, layer
from cnnscope.sources.keras.rules.pointwise import activate, affine
from cnnscope.sources.keras.stored import Stored, same, transposed


@layer("Dense")
def _dense(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Works on the author's last axis, whatever the rank."""
    op = Linear.read({"out": s.get("units"), "bias": s.get("use_bias", True)})
    if x.rank < 2:
        raise CnnscopeError.of("E301", "it needs features but gets one number an image")
    return activate(row, row.add(op, row.authored(x)), s.get("activation"))


@layer("Embedding")
def _embedding(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return _embedding_of(row, s, x)


def _embedding_of(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    size, dim = s.integer("input_dim", minimum=1), s.integer("output_dim", minimum=1)
    return row.add(Embedding(size, dim), x, kind="tokens" if x.rank == 2 else None)


@calls("ReversibleEmbedding")
def _reversible(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """An embedding that is also called in reverse, from vectors to scores of all indices, with its own weights or with
    others.
    """
    x = call.tensor()
    if call.get(1, "reverse") is not True:
        return [_embedding_of(row, s, x)]
    tied = s.flag("tie_weights", True)
    stored = {"weight": Stored("embeddings", same) if tied else Stored("reverse_embeddings", transposed)}
    op = Linear(s.integer("input_dim", minimum=1), bias=False)
    y = row.add(op, row.authored(x), part="embedding" if tied else "reverse", stored=stored)
    cap = s.number("logit_soft_cap", 0.0)
    return [row.add(Affine((cap,)), row.add(Tanh(), row.add(Affine((1 / cap,)), y)))] if cap else [y]


# -- arrangement -----------------------------------------------------------------------------------------------------


@layer("Flatten")
def _flatten(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Flattens in the author's order with channels fastest. Keras moves the channels last even if they are first."""
    if x.rank == 1:
        return reshape(row, x, (1,))
    order = tuple(range(x.rank)) if row.channels_last or x.rank < 3 else (0, *range(2, x.rank), 1)
    return row.add(Flatten(), ordered(row, x, order))


def ordered(row: LayerRow, x: Tensor, order: tuple[int, ...]) -> Tensor:
    """Returns ``x`` with its elements as if its axes were in ``order``; without a view if only axes of size 1
    would move.
    """
    shape = x.shape
    if [a for a in x.axes if shape[a] > 1] == [a for a in order if shape[a] > 1]:
        return x
    return row.store(x, order, "tensor")


@layer("Reshape")
def _reshape(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return reshape(row, x, s.integers("target_shape"))


def reshape(row: LayerRow, x: Tensor, target: Sequence[int]) -> Tensor:
    """Returns the author's elements with another shape, without the batch. One -1 is computed."""
    x = ordered(row, x, tuple(range(x.rank)))
    if not target:
        raise CnnscopeError.of("E301", f"{list(x.shape[1:])} cannot be reshaped to a single number")
    rank = len(target) + 1
    return row.add(ReshapeOp.read({"shape": target}), x, axes=tuple(range(rank)), kind=_kind(rank))


def _kind(rank: int) -> Kind:
    return "flat" if rank == 2 else "tokens" if rank == 3 else "tensor"


@layer("Permute")
def _permute(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return transpose(row, x, [0, *s.integers("dims")])


def transpose(row: LayerRow, x: Tensor, order: Sequence[int]) -> Tensor:
    """Returns ``x`` with its axes renamed: the author's axis i of the result is axis ``order[i]`` of ``x``."""
    if sorted(order) != list(range(x.rank)) or order[0] != 0:
        raise CnnscopeError.of("E301", f"{list(order)} is no reordering of the axes of {list(x.shape[1:])}")
    return relabelled(row, x, tuple(order.index(axis) for axis in x.axes))


def relabelled(row: LayerRow, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Returns ``x`` with its stored axes renamed to ``axes``, arranged as a tensor of its rank."""
    x = replace(x, axes=axes)
    return x if x.rank > 3 else row.authored(x)


@layer("RepeatVector")
def _repeat(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    vector = reshape(row, x, (1, x.shape[-1]))
    repeat = Movement("repeat", (Expand((1, s.integer("n", minimum=1), x.shape[-1])),))
    return row.add(repeat, vector, kind="tokens")


# -- joins -----------------------------------------------------------------------------------------------------------


def aligned(row: LayerRow, xs: Sequence[Tensor]) -> list[Tensor]:
    """Returns all tensors in the arrangement of the first with the highest rank. Lower ranks get axes of size 1 after
    the batch.
    """
    if not xs:
        raise CnnscopeError.of("E443", "it is called without a tensor")
    first = max(xs, key=lambda x: x.rank)
    raised = [x if x.rank == first.rank else _raised(row, x, first.rank) for x in xs]
    return [row.store(x, first.axes, first.value.kind) for x in raised]


def _raised(row: LayerRow, x: Tensor, rank: int) -> Tensor:
    return reshape(row, x, (*(1,) * (rank - x.rank), *x.shape[1:]))


def combine(row: LayerRow, fn: str, xs: Sequence[Tensor]) -> Tensor:
    """Adds ``fn`` of tensors, element by element and broadcast; raises E303 if their sizes do not fit."""
    xs = aligned(row, xs)
    sizes = [{n for n in extents if n != 1} for extents in zip(*(x.value.shape for x in xs), strict=True)]
    if any(len(size) > 1 for size in sizes):
        raise different_sizes([x.value for x in xs])
    alike = all(x.value.shape == xs[0].value.shape for x in xs)
    if fn == "multiply" and len(xs) > 1:
        return row.add(Mul(), *xs)
    if alike and fn in _JOINS and (fn == "add" or len(xs) == 2):
        return row.add(_JOINS[fn](), *xs)
    result = xs[0]
    for x in xs[1:]:
        result = row.add(Elementwise(fn, call=aten.binary(fn, (Input(0), Input(1)))), result, x)
    return result


_JOINS: dict[str, type[Op]] = {"add": Add, "subtract": Sub}


@calls("Add", "Subtract", "Multiply", "Maximum", "Minimum")
def _merge(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    return [combine(row, s.layer.kind.lower(), call.tensors())]


@calls("Average")
def _average(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    return [row.add(Affine((1 / len(call.tensors()),)), combine(row, "add", call.tensors()))]


@calls("Concatenate")
def _concatenate(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    return [concatenate(row, call.tensors(), s.integer("axis", -1))]


def concatenate(row: LayerRow, xs: Sequence[Tensor], axis: int) -> Tensor:
    """Concatenates along the author's axis."""
    if len({x.rank for x in xs}) > 1:
        raise different_sizes([x.value for x in xs])
    xs = aligned(row, xs)
    return row.add(Concat(xs[0].axis(axis)), *xs)


@calls("CustomScaleLayer")
def _scaled_sum(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Computes x + scale * y: the residual of InceptionResNetV2, a class of `keras.applications`."""
    x, y = call.tensors()
    return [combine(row, "add", [x, affine(row, y, s.number("scale", 1.0), 0.0)])]
