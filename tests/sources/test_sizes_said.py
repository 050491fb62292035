"""Sizes that specs and ONNX files are said to fit: those that a search by brute force finds."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import cnnscope
from cnnscope.errors import CnnscopeError

JOINED = """
- conv: {out: 8, kernel: 3, pad: half}
- maxpool: 2
- maxpool: 2
- upsample: 4
- add: {from: [conv1, upsample1]}
"""
LARGE = """
- conv: {out: 8, kernel: 7, pad: 0}
- maxpool: 4
- conv: {out: 8, kernel: 5, pad: 0}
"""


def spec(folder: Path, layers: str) -> Path:
    path = folder / "net.yaml"
    path.write_text(f"cnnscope: 1\nname: n\ninput: {{shape: [3, 64, 64]}}\nlayers:{layers}")
    return path


def classifier(folder: Path, features: int) -> Path:
    kernel = helper.make_tensor("k", TensorProto.FLOAT, (8, 3, 3, 3), [0.0] * 216)
    weight = helper.make_tensor("w", TensorProto.FLOAT, (features, 4), [0.0] * 4 * features)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], name="conv"),
        helper.make_node("Flatten", ["a"], ["b"], name="flatten"),
        helper.make_node("MatMul", ["b", "w"], ["y"], name="fc"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, "h", "w"))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, [kernel, weight])), folder / "m.onnx")
    return folder / "m.onnx"


def refusal(path: Path, n: int) -> tuple[str, str]:
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(path, input=(3, n, n))
    return caught.value.diagnostics[-1].message, caught.value.diagnostics[-1].hint or ""


def fitting(path: Path) -> list[int]:
    found = []
    for n in range(1, 40):
        try:
            cnnscope.load(path, input=(3, n, n))
            found.append(n)
        except CnnscopeError:
            pass
    return found


@pytest.mark.parametrize("n", [9, 10, 15])
def test_the_nearest_sizes_at_which_maps_meet_are_said(tmp_path: Path, n: int) -> None:
    path = spec(tmp_path, JOINED)
    sizes = fitting(path)
    below, above = max(m for m in sizes if m < n), min(m for m in sizes if m > n)
    _, hint = refusal(path, n)
    assert hint == f"the nearest that fit: `--input 3x{below}x{below}` and `--input 3x{above}x{above}`"


def test_the_smallest_size_for_a_kernel_is_said(tmp_path: Path) -> None:
    path = spec(tmp_path, LARGE)
    least = min(fitting(path))
    _, hint = refusal(path, 12)
    assert hint == f"`--input 3x{least}x{least}` runs, 3x{least - 1}x{least - 1} does not"


@pytest.mark.parametrize("n", [6, 13])
def test_the_size_for_a_stored_weight_is_said_with_both_numbers(tmp_path: Path, n: int) -> None:
    path = classifier(tmp_path, 8 * 7 * 7)
    message, hint = refusal(path, n)
    assert message == f"layer `fc`: its weight takes 392 features, but `flatten` gives {8 * (n - 2) ** 2}"
    (said,) = map(int, re.findall(r"--input 3x(\d+)x", hint))
    assert [said] == fitting(path)


def test_where_no_size_fits_it_is_said_how_many_were_tried(tmp_path: Path) -> None:
    path = classifier(tmp_path, 100)
    _, hint = refusal(path, 12)
    assert fitting(path) == []
    assert re.fullmatch(r"\d+ other sizes were tried, and none fits", hint)


def test_layers_that_trained_weights_do_not_fit_are_below_the_table_and_in_json() -> None:
    report = cnnscope.params("alexnet", input=96)
    (remark,) = report.to_dict()["remarks"]
    assert remark.startswith("weights trained at the declared size do not fit `fc6`: ")
    assert remark in str(report)
    assert "remarks" not in cnnscope.params("alexnet").to_dict()
