"""Every ONNX operator cnnscope reads, against ONNX's own reference implementation.

`onnx.reference` runs the cases of `onnx_cases`: the output must have the shape the graph says, and an output row must
change exactly with the input rows in its exact receptive field.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from onnx_cases import CASES, WINDOWS, Case, ints, op, upconv, with_

from cnnscope.analysis.receptive_field.exact import exact
from cnnscope.analysis.summary import summarize


def run(case: Case, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    (y,) = ReferenceEvaluator(case.model()).run(["y"], {"x": x})
    return np.asarray(y)


def sample(case: Case) -> np.ndarray[Any, Any]:
    if case.dtype == TensorProto.INT64:
        return np.ones(case.shape, np.int64)
    return np.random.default_rng(0).uniform(0.1, 1, case.shape).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_shape_and_weights(name: str) -> None:
    case = CASES[name]
    graph = case.graph()
    assert graph.value(graph.outputs[0]).shape == run(case, sample(case)).shape
    summary = summarize(graph)
    assert (summary.totals.params, summary.totals.buffers) == (case.params, case.buffers)
    assert not summary.unsupported


@pytest.mark.parametrize("name", WINDOWS)
def test_an_output_row_reads_what_its_field_says(name: str) -> None:
    case = WINDOWS[name]
    graph = case.graph()
    output = graph.outputs[0]
    x = sample(case)
    y = run(case, x)
    assert y.ndim == 4
    depends: list[list[int]] = [[] for _ in range(y.shape[2])]
    for row, change in product(range(x.shape[2]), (50.0, -50.0)):
        changed = x.copy()
        changed[:, :, row] += change
        moved = np.abs(run(case, changed) - y).max(axis=(0, 1, 3)) > 1e-4
        for o in np.flatnonzero(moved):
            depends[o].append(row)
    answers = exact(graph, keep=[output])
    for o, rows in enumerate(depends):
        boxes = [answers.box(output, (o, column)) for column in range(y.shape[3])]
        found = [box[0] for box in boxes if box]
        expected = (min(rows), max(rows)) if rows else None
        assert (min(low for low, _ in found), max(high for _, high in found)) == expected if found else not rows, o


def test_what_the_reference_does_not_run() -> None:
    """By the specification: negative padding cuts, and an odd rest of `output_shape` is cut at the start."""
    cut = with_(op("Pad", "p"), constants={"p": ints(0, 0, -1, 0, 0, 0, 2, -1)}).graph()
    assert cut.value(cut.outputs[0]).shape == (1, 4, 10, 6)
    assert exact(cut).box(cut.outputs[0], (0, 0)) == ((1, 1), (0, 0))
    up = upconv(strides=[2, 2], output_shape=[18, 14]).graph()
    assert up.value(up.outputs[0]).shape == (1, 5, 18, 14)
    assert [exact(up).box(up.outputs[0], (o, 0)) for o in (0, 1)] == [((0, 0), (0, 0)), ((0, 1), (0, 0))]


def test_macs_of_products() -> None:
    """By hand: output elements times what each sums over; a transposed convolution by its inputs."""
    expected = {"conv": 6 * 7 * 5 * 4 * 9, "conv_groups": 6 * 9 * 7 * 2 * 9, "upconv_uneven": 4 * 9 * 7 * 5 * 9,
                "matmul": 4 * 9 * 7 * 5, "matmul_left": 4 * 3 * 7 * 9, "matmul_both": 4 * 9 * 9 * 7, "gemm": 30,
                "gemm_transposed": 30, "einsum": 9 * 7 * 5 * 4, "einsum_batch": 4 * 7 * 7 * 9,
                "weight_standardised": 6 * 9 * 7 * 4, "lstm": 6 * 20 * (3 + 5)}  # fmt: skip
    assert {name: summarize(CASES[name].graph()).totals.macs for name in expected} == expected
