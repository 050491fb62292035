"""Composite layers, expanded by the spec loader: the cases' figures, and the numbers against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cnnscope.analysis.cost import node_costs, total
from cnnscope.ir import Graph, Value
from cnnscope.nn.build import build
from cnnscope.ops import REGISTRY, Case, Op
from cnnscope.ops.composite import Composite
from cnnscope.spec import load

CASES = [
    pytest.param(op, case, id=f"{tag}-{i}")
    for tag, op in REGISTRY.items()
    if issubclass(op, Composite)
    for i, case in enumerate(op.cases)
]


def loaded(shape: tuple[int, ...], *layers: dict[str, Any], **rest: Any) -> Graph:
    from json import dumps

    document = {"cnnscope": 1, "name": "test", "input": {"shape": list(shape)}, **rest, "layers": list(layers)}
    return load("test.yaml", text=dumps(document)).graph


@pytest.mark.parametrize(("op", "case"), CASES)
def test_figures(op: type[Op], case: Case) -> None:
    graph = loaded(case.x, {op.tag: dict(case.args)})  # type: ignore[arg-type]  # one input
    cost = total(node_costs(graph).values())
    assert graph.value(graph.outputs[0]).features == case.shape
    assert (cost.params, cost.macs) == (case.params, case.macs)


def test_se_scales_channels_by_a_gate_of_their_means() -> None:
    graph = loaded((8, 5, 5), {"se": {"squeeze": 3, "act": "silu", "gate": "hardsigmoid"}})
    network = build(graph).eval()
    reduce_weight, reduce_bias, expand_weight, expand_bias = network.state_dict().values()
    x = torch.randn(2, 8, 5, 5)
    hidden = F.silu(x.mean((2, 3)) @ reduce_weight.flatten(1).T + reduce_bias)
    gate = F.hardsigmoid(hidden @ expand_weight.flatten(1).T + expand_bias)
    torch.testing.assert_close(network(x), x * gate[:, :, None, None])


def test_sepconv_is_a_depthwise_and_a_pointwise_convolution() -> None:
    arguments = {"out": 5, "kernel": 3, "stride": 2, "pad": "same", "dilation": 1, "norm": "batch", "act": "relu"}
    network = build(loaded((4, 9, 9), {"sepconv": arguments})).eval()
    depthwise, pointwise, bias, *_ = network.state_dict().values()
    x = torch.randn(2, 4, 9, 9)
    y: Tensor = F.conv2d(F.conv2d(x, depthwise, None, 2, 1, groups=4), pointwise, bias)
    torch.testing.assert_close(network(x), F.relu(y / (1 + 1e-5) ** 0.5))


@pytest.mark.parametrize("tag", ["se", "sepconv"])
def test_defaults_for_plain_layers_stay_outside(tag: str) -> None:
    """``defaults`` are about the layers the author wrote."""
    arguments = {"out": 5, "kernel": 3} if tag == "sepconv" else {}
    defaults = {"conv": {"norm": "batch", "bias": False}, "depthwise": {"act": "relu"}, "mul": {"act": "tanh"}}
    plain, with_defaults = (loaded((4, 9, 9), {tag: arguments}, **extra) for extra in ({}, {"defaults": defaults}))
    assert [node.op for node in plain.nodes] == [node.op for node in with_defaults.nodes]


def test_a_composite_is_no_op_of_a_graph() -> None:
    op = REGISTRY["se"].read({})
    with pytest.raises(TypeError, match="`se` must be replaced by its layers"):
        op.infer((Value((1, 4, 9, 9)),))
