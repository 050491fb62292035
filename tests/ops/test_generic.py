"""The ops of traces one by one: shapes, costs and batch axes by hand. What they read is in ``test_traced_reads``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from reads_reference import follow

from cnnscope.ir import Shape, Value
from cnnscope.ir.steps import Expand, Permute, Place, Reshape, Spread, Step, Taps, Whole
from cnnscope.nn.ops import module_of
from cnnscope.ops import REGISTRY, Op
from cnnscope.ops.affine import Affine
from cnnscope.ops.carried import Carried
from cnnscope.ops.generic import (
    Constant,
    Elementwise,
    Embedding,
    EmbeddingBag,
    Gather,
    Join,
    Movement,
    Overwrite,
    Parameter,
    Reduce,
    Renorm,
    Scan,
    Select,
    Unsupported,
    View,
)  # fmt: skip
from cnnscope.ops.product import Bilinear, ComputedConv, ComputedLinear, Distances, MatMul, ScaledDotProduct
from cnnscope.ops.recurrent import GRU, LSTM
from cnnscope.ops.resample import Resample, Stretch
from cnnscope.ops.spectral import Fourier
from cnnscope.ops.traced import TRACED, Traced, broadcast, moved
from cnnscope.ops.unrolled import Cell, Unrolled

MAP = Value((1, 4, 6, 5))
ROWS = Value((1, 7, 8), kind="tensor")
HEADS = Value((1, 2, 5, 3), kind="tensor")
KEYS = Value((1, 2, 9, 3), kind="tensor")
VALUES = Value((1, 2, 9, 4), kind="tensor")
WEIGHT = Value((8, 4, 3, 3), batch_axis=None, kind="tensor")

Figures = tuple[Op, tuple[Value, ...], Shape, int | None, int | None]
CASES: dict[str, Figures] = {
    "elementwise": (Elementwise("sin"), (MAP,), MAP.shape, 0, 120),
    "elementwise, broadcast": (Elementwise("add"), (MAP, Value((4, 1, 5))), MAP.shape, 0, 120),
    "elementwise, stretched": (Elementwise("add", shape=(3, 1, 1, 1)), (MAP,), (3, 4, 6, 5), 0, 360),
    "affine": (Affine((0.5,), (1.0,)), (MAP,), MAP.shape, 0, 240),
    "affine, by channel": (Affine((1.0, 2.0, 3.0, 4.0)), (MAP,), MAP.shape, 0, 120),
    "movement": (Movement("roll", (Taps(2, 6, 1, ((1,),), "wrap"),)), (MAP,), MAP.shape, 0, 0),
    "view": (View("flatten", (Reshape((1, 4, 30)),)), (MAP,), (1, 4, 30), 0, 0),
    "join": (Join(1), (MAP, Value((1, 2, 6, 5))), (1, 6, 6, 5), 0, 0),
    "overwrite": (Overwrite((Taps(1, 4, 1, ((-1,),)),)), (MAP, Value((1, 2, 6, 5))), MAP.shape, 0, 0),
    "reduce": (Reduce("sum", (2, 3)), (MAP,), (1, 4), 0, 120),
    "reduce, kept": (Reduce("amax", (1,), keep=True), (MAP,), (1, 1, 6, 5), 0, 120),
    "scan": (Scan("cumsum", (1,), cost=2), (MAP,), MAP.shape, 0, 240),
    "constant": (Constant((2, 3)), (), (2, 3), 0, 0),
    "parameter": (Parameter((2, 3)), (), (2, 3), 0, 0),
    "embedding": (Embedding(50, 6), (Value((1, 9), "int64"),), (1, 9, 6), 0, 0),
    "renorm": (Renorm(9), (Value((50, 6), batch_axis=None),), (50, 6), 0, 3 * 9 * 6),
    "embedding bag": (EmbeddingBag(1, 50, 6), (Value((9,), "int64", None),), (1, 6), 0, 54),
    "fourier": (Fourier("rfft", (2,), (4,)), (Value((1, 4, 8, 5)),), (1, 4, 4, 5), 0, 160 * 5 // 2 * 3),
    "fourier, back": (
        Fourier("irfft", (2,), (8,), "float32"), (Value((1, 4, 5, 5), "complex64"),), (1, 4, 8, 5), 0, 160 * 5 // 2 * 3
    ),
    "fourier, over the batch": (Fourier("rfft", (0,), (2,)), (MAP,), (2, 4, 6, 5), 0, 0),
    "bilinear": (Bilinear(6), (Value((1, 4)), Value((1, 3))), (1, 6), 6 * 4 * 3, 4 * 3 + 6),
    "distances": (Distances(), (HEADS, KEYS), (1, 2, 5, 9), 0, 3 * 2 * 5 * 9 * 3),
    "gather": (Gather((1, 3), fn="index"), (ROWS,), (1, 3), 0, 0),
    "select": (Select((2, 1, 4)), (ROWS,), (2, 1, 4), 0, 0),
    "unsupported": (Unsupported((1, 3), fn="fft"), (ROWS,), (1, 3), None, None),
    "matmul": (MatMul(), (HEADS, Value((1, 2, 3, 9), kind="tensor")), (1, 2, 5, 9), 2 * 5 * 9 * 3, 0),
    "matmul, broadcast": (MatMul(), (ROWS, Value((3, 1, 8, 2), batch_axis=None)), (3, 1, 7, 2), 3 * 7 * 2 * 8, 0),
    "sdpa": (ScaledDotProduct(), (HEADS, KEYS, VALUES), (1, 2, 5, 4), 2 * 5 * 9 * 7, 2 * 5 * 9 * 6),
    "sdpa, masked": (ScaledDotProduct(masked=True), (HEADS, KEYS, VALUES), (1, 2, 5, 4), 630, 630),
    "recurrent": (LSTM(5), (ROWS,), (1, 7, 5), 7 * 20 * 13, 7 * (20 * 3 + 5 * 9)),
    "recurrent, deep": (
        GRU(5, layers=2, bidirectional=True, bias=False), (ROWS,), (1, 7, 10),
        7 * 2 * (15 * 13 + 15 * 15), 7 * 4 * (15 + 5 * 8),
    ),
    "recurrence": (Unrolled("gru", 5), (ROWS,), (1, 7, 5), 7 * 15 * 13, 7 * 5 * (3 * 3 + 8)),
    "recurrence, with states": (
        Unrolled("lstm", 5, bias=False, cell_too=True), (ROWS, Value((1, 5)), Value((1, 5))), (1, 7, 10),
        7 * 20 * 13, 7 * 5 * (4 + 9),
    ),
    "recurrence, convolutional": (
        Unrolled("lstm", 3, kernel=(3, 3), stride=(2, 2), pad=((0, 1), (1, 1)), dilation=(1, 1)),
        (Value((1, 4, 2, 6, 5)),), (1, 4, 3, 3, 3), 4 * 9 * 12 * (2 * 9 + 3 * 9), 4 * 9 * 3 * (4 * 2 + 9),
    ),
    "resample": (
        Resample("linear", (Stretch(2, 9, (2, 3), (0, 1)), Stretch(3, 10, (1, 2), (-1, 4)))), (MAP,), (1, 4, 9, 10),
        0, 2 * 2 * 2 * 4 * 90,
    ),
    "carried": (Carried((1, 4)), (MAP,), MAP.shape, 0, 0),
    "computed conv": (
        ComputedConv(out=8, kernel=(3, 3), stride=(1, 1), pad=((0, 0), (0, 0)), dilation=(1, 1)), (MAP, WEIGHT),
        (1, 8, 4, 3), 8 * 12 * 36, 8 * 12,
    ),
    "computed linear": (ComputedLinear(3, bias=False), (ROWS, Value((3, 8))), (1, 7, 3), 7 * 3 * 8, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_costs(name: str) -> None:
    op, x, shape, macs, elementwise = CASES[name]
    assert (op.output(x).shape, op.macs(x), op.elementwise(x)) == (shape, macs, elementwise)
    reads = op.reads(x)
    assert reads is None or len(reads) == len(x)
    assert op.label()
    assert json.dumps(op.arguments())
    assert op.__doc__


def test_every_traced_op_has_a_case_and_none_is_in_the_spec_language() -> None:
    assert {type(op) for op, *_ in CASES.values()} >= set(TRACED.values())
    assert not TRACED.keys() & REGISTRY.keys()
    assert (ComputedConv.tag, ComputedConv.category, REGISTRY["conv"].__name__) == ("conv", "conv", "Conv")


def test_two_traced_ops_cannot_share_a_tag() -> None:
    with pytest.raises(TypeError, match="two ops are tagged 'view'"):
        type("Another", (Traced,), {"__module__": __name__}, tag="view")
    with pytest.raises(TypeError, match="two ops are tagged 'conv'"):
        type("Another", (Traced,), {"__module__": __name__}, tag="conv")


@pytest.mark.parametrize("shapes", [((3, 1), (4,)), ((1,), (2, 1, 5), (3, 1)), ((), (2,)), ((0,), (1,)), ((2, 3),)])
def test_broadcast_is_torchs(shapes: tuple[Shape, ...]) -> None:
    assert broadcast(shapes) == torch.broadcast_shapes(*shapes)


@pytest.mark.parametrize(
    ("before", "batch", "steps", "after", "expected"),
    [
        ((1, 4, 6, 5), 0, (Reshape((1, 4, 30)),), (1, 4, 30), 0),
        ((1, 4, 6, 5), 0, (Reshape((4, 30)),), (4, 30), None),
        ((1, 4, 6), 0, (Permute((1, 0, 2)),), (4, 1, 6), 1),
        ((7, 1, 8), 1, (Reshape((7, 2, 4)),), (7, 2, 4), None),
        ((7, 1, 8), 1, (Reshape((7, 1, 2, 4)),), (7, 1, 2, 4), 1),
        ((7, 1, 8), 1, (Reshape((1, 7, 1, 8)),), (1, 7, 1, 8), 2),
        ((1, 1, 8), 0, (Reshape((1, 2, 4)),), (1, 2, 4), 0),
        ((4, 7, 7, 3), None, (Reshape((1, 2, 2, 7, 7, 3)),), (1, 2, 2, 7, 7, 3), 0),
        ((1, 4, 6), 0, (Whole((1,), "dense", keep=False),), (1, 6), 0),
        ((5, 1, 6), 1, (Whole((0,), "dense", keep=False),), (1, 6), 0),
        ((5, 1, 6), 1, (Whole((1,), "dense", keep=False),), (5, 6), None),
        ((1, 1, 6), 0, (Expand((2, 1, 4, 6)),), (2, 1, 4, 6), 1),
        ((1, 6), 0, (Expand((3, 6)),), (3, 6), None),
        ((1, 6), 0, (Place(0, 0, 2),), (2, 6), None),
        ((1, 6), 0, (Spread((1,), "attention"),), (1, 6), 0),
    ],
)
def test_the_batch_axis_through_movement(
    before: Shape, batch: int | None, steps: tuple[Step, ...], after: Shape, expected: int | None
) -> None:
    value = moved(Value(before, batch_axis=batch, kind="tensor"), steps)
    assert (value.shape, value.batch_axis) == (after, expected)


def test_a_map_stays_one_while_its_axes_stay_in_place() -> None:
    assert moved(MAP, (Taps(2, 3, 2, ((0,),)),)).kind == "map"
    assert moved(MAP, (Permute((0, 2, 3, 1)),)).kind == "tensor"
    assert moved(MAP, (Reshape((1, 120)),)).kind == "flat"


def test_views_take_no_memory_and_copies_do() -> None:
    assert View("slice", ()).is_view
    assert not Movement("roll", ()).is_view


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_recurrence_reads_what_its_gradient_does(cell: Cell) -> None:
    """Step t depends on the inputs up to t, and every step on the states before the first."""
    torch.manual_seed(0)
    op = Unrolled(cell, 2, reset_after=False)
    x, states = torch.rand(1, 3, 4), [torch.rand(1, 2)]
    values = [Value(tuple(tensor.shape), kind="tensor") for tensor in (x, *states)]
    module = module_of(op, values)
    gradients = torch.autograd.functional.jacobian(module, (x, *states))
    reads = op.reads(values)
    assert reads is not None
    for tensor, gradient, steps in zip((x, *states), gradients, reads, strict=True):
        bits = [1 << i for i in range(tensor.numel())]
        found = np.array(bits, dtype=object).reshape(tuple(tensor.shape))
        for step in steps:
            found = follow(step, found)
        rows = gradient.reshape(-1, tensor.numel())
        wanted = [sum(1 << int(i) for i in row.nonzero().flatten()) for row in rows]
        assert np.broadcast_to(found, op.output(values).shape).ravel().tolist() == wanted
