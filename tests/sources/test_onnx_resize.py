"""`Resize` of ONNX files: shapes, numbers and the pixels that are read, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

import cnnscope
from cnnscope.ir import Node, Value
from cnnscope.ir.steps import Taps
from cnnscope.ops.base import Op
from cnnscope.ops.sampling import corners, half_pixel
from cnnscope.sources.onnx import read_graph

SIZE = (1, 2, 5, 7)
RULES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
SCALES = ([2, 2], [1.5, 1.5], [0.6, 0.8], [1, 0.4], [1.7, 0.9])


def resize(path: Path, mode: str, rule: str, scale: Sequence[float], opset: int = 19, **more: Any) -> Path:
    """Writes a network that resizes: by ``scale``, or to the sizes in it if they are whole and larger than 2."""
    to_size = min(scale) > 2
    numbers = np.array([*SIZE[:2], *scale], np.int64) if to_size else np.array([1, 1, *scale], np.float32)
    stored = [numpy_helper.from_array(numbers, "n"), numpy_helper.from_array(np.zeros(0, np.float32), "none")]
    inputs = ["x", "none", "none", "n"] if to_size else ["x", "none", "n"]
    node = helper.make_node("Resize", inputs, ["y"], mode=mode, coordinate_transformation_mode=rule, **more)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, ["n", *SIZE[1:]])],
        [helper.make_tensor_value_info("y", 1, None)], stored,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def check(path: Path, images: int = 2) -> None:
    x = np.random.default_rng(0).normal(size=(images, *SIZE[1:])).astype(np.float32)
    module, graph = cnnscope.load(str(path)).weighted().module, read_graph(path)
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_allclose(module(torch.from_numpy(x)), expected, atol=1e-5)
    node = graph.nodes[-1]
    assert node.output.shape == (1, *expected.shape[1:])
    moved = torch.from_numpy(x).requires_grad_()
    module(moved)[0, 0, -1, -2].backward()
    assert moved.grad is not None
    assert {tuple(place) for place in moved.grad[0, 0].nonzero().tolist()} == set(product(*read(node)))


def read(node: Node) -> list[set[int]]:
    """The rows and the columns that the last output but one of the last row reads, by the steps of the op."""
    assert isinstance(node.op, Op)
    found = [{SIZE[2] - 1}, {SIZE[3] - 2}]
    (steps,) = node.op.reads([Value(SIZE)]) or ()
    for step in steps:
        assert isinstance(step, Taps)
        o = step.size - (1 if step.axis == 2 else 2)
        places = [j + o // len(step.taps) * step.n for j in step.taps[o % len(step.taps)]]
        last = SIZE[step.axis] - 1
        inside = [j for j in places if 0 <= j <= last or step.border == "clamp"]
        found[step.axis - 2] = {min(max(j, 0), last) for j in inside}
    return found


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale", [*SCALES, [7, 3]], ids=str)
def test_interpolation_is_that_of_onnxruntime(rule: str, scale: Sequence[float], tmp_path: Path) -> None:
    images = 1 if scale == [7, 3] else 2  # sizes are those of one image
    check(resize(tmp_path / "linear.onnx", "linear", rule, scale), images)
    options: list[dict[str, float]] = [{}, {"cubic_coeff_a": -0.5}, {"exclude_outside": 1}]
    for more in options:
        check(resize(tmp_path / "cubic.onnx", "cubic", rule, scale, **more), images)


@pytest.mark.parametrize("rule", RULES)
def test_nearest_pixels_are_those_of_onnxruntime(rule: str, tmp_path: Path) -> None:
    for scale, images in ((SCALES[0], 2), (SCALES[1], 2), (SCALES[2], 2), ([7, 3], 1)):
        check(resize(tmp_path / "x.onnx", "nearest", rule, scale), images)
        check(resize(tmp_path / "x.onnx", "nearest", rule, scale, nearest_mode="ceil"), images)


def test_the_rule_of_tensorflow_that_newer_versions_lack(tmp_path: Path) -> None:
    for scale in ([2, 2], [1.5, 0.6]):
        check(resize(tmp_path / "x.onnx", "nearest", "tf_half_pixel_for_nn", scale, opset=11))


def test_two_rules_that_fall_together_for_a_size_are_torchs_corners(tmp_path: Path) -> None:
    (node,) = read_graph(resize(tmp_path / "x.onnx", "linear", "half_pixel_symmetric", [1.5, 1.5])).nodes
    assert corners(5, 7) == (Fraction(2, 3), Fraction(0), True)
    assert half_pixel(Fraction(2, 3)).shift != 0
    assert node.op.tag == "upsample"
    assert node.op.arguments()["align_corners"]
