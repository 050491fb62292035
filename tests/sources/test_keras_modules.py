"""Keras graphs as torch modules compute what Keras computes, with Keras' weights.

``data/make_keras.py`` wrote the weights, inputs and outputs with Keras 3.15.1 (on torch).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_keras_layers import APPLICATIONS

from cnnscope.ir import Graph, Node
from cnnscope.nn.build import build as build_module
from cnnscope.sources.keras import read_graph
from cnnscope.sources.keras.build import build
from cnnscope.sources.keras.config import read_network

Array = np.ndarray[Any, Any]
VALUES: dict[str, Array] = dict(np.load(Path(__file__).parent / "data" / "keras3_values.npz"))
MODELS = list(dict.fromkeys(key.partition("|")[0] for key in VALUES))
NORMS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def of(model: str, prefix: str) -> list[Array]:
    """``model|x0``, ``model|x1`` ..."""
    found = [key for key in VALUES if key.startswith(f"{model}|{prefix}") and key.count("|") == 1]
    return [VALUES[key] for key in sorted(found)]


def weight(node: Node, role: str, variables: dict[str, Array], shape: tuple[int, ...]) -> Array:
    """A Keras variable in torch's layout."""
    if node.op.category == "norm":
        return variables[NORMS[role]].reshape(shape)
    if role == "bias":
        return variables["bias"]
    if node.op.tag == "prelu":
        return variables["alpha"].reshape(-1)
    part = node.name.rpartition(".")[2]
    kernel = variables[f"{part}_kernel" if f"{part}_kernel" in variables else "kernel"]
    axes = range(kernel.ndim - 2)
    if node.op.tag == "linear":
        return kernel.T
    if node.op.tag == "upconv" or part == "depthwise" or kernel.shape[-1] * kernel.shape[-2] == shape[0]:
        turned = kernel.transpose(kernel.ndim - 1, kernel.ndim - 2, *axes)
        depthwise = kernel.transpose(kernel.ndim - 2, kernel.ndim - 1, *axes)
        return turned if node.op.tag == "upconv" else depthwise.reshape(shape)
    return kernel.transpose(kernel.ndim - 1, kernel.ndim - 2, *axes)


def state(graph: Graph, model: str) -> dict[str, torch.Tensor]:
    result = {}
    for node in graph.nodes:
        own = f"{model}|{node.layer.rpartition('.')[2].partition('#')[0]}|"
        variables = {key.removeprefix(own): value for key, value in VALUES.items() if key.startswith(own)}
        for role, key in node.params.items():
            result[key] = torch.tensor(np.ascontiguousarray(weight(node, role, variables, graph.params[key].shape)))
    return result


@pytest.mark.parametrize("model", MODELS)
def test_outputs_are_those_of_keras(model: str) -> None:
    graph = build(read_network(json.loads(str(VALUES[f"{model}|config"]))))
    module = build_module(graph).eval()
    module.load_state_dict(state(graph, model), strict=True)
    last = graph.layout == "HWC"
    feeds = [torch.tensor(x) for x in of(model, "x")]
    feeds = [
        x.movedim(-1, 1) if last and v.kind == "map" else x for x, v in zip(feeds, graph.inputs.values(), strict=True)
    ]
    with torch.no_grad():
        result = module(*feeds)
    outputs = list(result.values()) if isinstance(result, dict) else [result]
    for name, found, expected in zip(graph.outputs, outputs, of(model, "y"), strict=True):
        authored = found.movedim(1, -1) if last and graph.value(name).kind == "map" else found
        torch.testing.assert_close(authored, torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["InceptionV3", "MobileNetV2", "Xception"])
def test_the_module_has_the_weights_keras_has_and_no_more(name: str) -> None:
    """Batch norm has no counter, Inception's no scale either."""
    graph = read_graph(APPLICATIONS / f"{name}.keras")
    with torch.device("meta"):
        module = build_module(graph)
    assert {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()} == {
        key: param.shape for key, param in graph.params.items()
    }
