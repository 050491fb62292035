"""A network whose layers read masks of steps is counted, and never run as if it had none."""

from __future__ import annotations

from typing import Any

import pytest

from cnnscope.analysis.cost import known, node_costs
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.nn.build import build as build_module
from cnnscope.sources.keras.build import build
from cnnscope.sources.keras.config import read_network

LSTM = {"class_name": "LSTM", "config": {"name": "r", "units": 3}}
STEPS = {"class_name": "LSTM", "config": {"name": "r0", "units": 5, "return_sequences": True}}
TWICE = {"class_name": "Bidirectional", "config": {"name": "two", "layer": LSTM}}
MEAN = {"class_name": "GlobalAveragePooling1D", "config": {"name": "mean"}}
DENSE = {"class_name": "Dense", "config": {"name": "d", "units": 5}}
CONV = {"class_name": "Conv1D", "config": {"name": "c", "filters": 5, "kernel_size": 1}}


def masking(**config: Any) -> dict[str, Any]:
    return {"class_name": "Masking", "config": {"name": "m", **config}}


def embedding(**config: Any) -> dict[str, Any]:
    return {"class_name": "Embedding", "config": {"name": "e", "input_dim": 9, "output_dim": 5, **config}}


def chain(*layers: dict[str, Any]) -> Graph:
    words = layers[0]["class_name"] == "Embedding"
    shape, dtype = ([None, 6], "int32") if words else ([None, 6, 5], "float32")
    inputs = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": shape, "dtype": dtype}}
    config = {"name": "net", "layers": [inputs, *layers]}
    return build(read_network({"class_name": "Sequential", "config": config}))


def lost(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {node.layer: node.lost for node in graph.nodes if node.lost}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([masking(), LSTM], {"r": ("mask",)}),
        ([embedding(mask_zero=True), LSTM], {"r": ("mask",)}),
        ([masking(), DENSE, STEPS, TWICE], {"r0": ("mask",), "two": ("mask",)}),
        ([masking(), MEAN], {"mean": ("mask",)}),
        ([masking(mask_value=-1.0), DENSE], {"m": ("mask_value",)}),
        ([masking(), {"class_name": "Sequential", "config": {"name": "in", "layers": [
            {"class_name": "InputLayer", "config": {"name": "y", "batch_shape": [None, 6, 5]}}, LSTM]}}],
         {"in/r": ("mask",)}),
    ],
)  # fmt: skip
def test_a_mask_that_is_read_is_lost(layers: list[dict[str, Any]], expected: dict[str, tuple[str, ...]]) -> None:
    graph = chain(*layers)
    assert {name.replace(".", "/"): operands for name, operands in lost(graph).items()} == expected
    for operand in {operand for operands in expected.values() for operand in operands}:
        with pytest.raises(CnnscopeError, match=f"without its operand `{operand}`"):
            build_module(graph)


@pytest.mark.parametrize(
    "layers",
    [[embedding(), LSTM], [embedding(mask_zero=False), TWICE], [masking(), CONV, LSTM], [masking(), DENSE], [LSTM]],
)
def test_a_mask_that_nobody_reads_changes_nothing(layers: list[dict[str, Any]]) -> None:
    graph = chain(*layers)
    assert not lost(graph)
    if layers[0]["class_name"] != "Embedding":
        build_module(graph)


def test_costs_are_those_without_a_mask() -> None:
    with_mask, without = (known(node_costs(chain(*layers)).values()) for layers in ([masking(), LSTM], [LSTM]))
    assert (with_mask.params, with_mask.macs) == (without.params, without.macs)
