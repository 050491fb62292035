"""Every op's cases against torch, through a table of reference functions that shares nothing with the ops."""

from __future__ import annotations

import json
from math import prod

import pytest
import torch
from torch_reference import RUN, bound, random_weights, reference

from cnnscope.nn.ops import module_of, torch_op
from cnnscope.ops import CATEGORIES, REGISTRY, Case, Op
from cnnscope.ops.composite import Composite

PLAIN = {tag: op for tag, op in REGISTRY.items() if not issubclass(op, Composite) and tag in RUN}
CASES = [pytest.param(op, case, id=f"{tag}-{i}") for tag, op in PLAIN.items() for i, case in enumerate(op.cases)]
SMALL = 100_000
"""Elements up to which a case is computed as well as counted."""


@pytest.mark.parametrize("tag", REGISTRY)
def test_every_op_is_documented_and_has_cases(tag: str) -> None:
    op = REGISTRY[tag]
    assert op.cases
    assert op.category in CATEGORIES
    assert op.__doc__
    assert any(word in op.__doc__ for word in ("Source", "formula is the definition", " = "))


@pytest.mark.parametrize(("op", "case"), CASES)
def test_shape_and_params_are_as_stated(op: type[Op], case: Case) -> None:
    _, ready, x = bound(op, case)
    assert ready.infer(x).features == case.shape
    assert sum(prod(shape) for shape in ready.weights(x).values()) == case.params
    assert ready.macs(x) == case.macs
    assert ready.elementwise(x) >= 0


@pytest.mark.parametrize(("op", "case"), CASES)
def test_shape_and_macs_agree_with_torch(op: type[Op], case: Case) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    read, ready, x = bound(op, case)
    if op.tag in ("pixelshuffle", "shuffle") and len(x[0].shape) != 4:
        pytest.skip("the reference indexes by value, which needs more than shapes; computed below")
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        inputs = [torch.empty(value.shape, dtype=torch.float64) for value in x]
        result = reference(read, random_weights(ready, x, "meta"), inputs, case.kind)
    assert tuple(result.shape) == (1, *case.shape)
    assert counter.get_total_flops() == 2 * case.macs


@pytest.mark.parametrize(("op", "case"), CASES)
def test_module_computes_what_torch_does(op: type[Op], case: Case) -> None:
    read, ready, x = bound(op, case)
    if case.kind == "tensor" or sum(value.numel for value in x) > SMALL:
        pytest.skip("a tensor is what traces meet and is not built, a large case is only counted")
    torch.manual_seed(0)
    weights = random_weights(ready, x)
    inputs = [torch.randn(value.shape, dtype=torch.float64) for value in x]
    if op.tag == "lppool":  # roots of negative sums are not numbers
        inputs = [tensor.abs() for tensor in inputs]
    module = module_of(ready, x).double().eval()
    module.load_state_dict(weights, strict=True)
    with torch.no_grad():
        torch.testing.assert_close(module(*inputs), reference(read, weights, inputs, case.kind))


def test_every_op_that_can_be_a_node_of_a_spec_has_a_module_and_a_reference() -> None:
    expand = {"se", "sepconv", "depthwise"}
    assert {tag for tag, op in REGISTRY.items() if torch_op(op)} == PLAIN.keys() - expand
    written = {tag for tag, op in REGISTRY.items() if op.__module__ != "cnnscope.ops.generic"}
    assert written == RUN.keys() | expand


@pytest.mark.parametrize("tag", REGISTRY)
def test_arguments_read_back_as_the_same_op(tag: str) -> None:
    """`arguments` is what goes into JSON and into an expanded spec."""
    for case in REGISTRY[tag].cases:
        read = REGISTRY[tag].read(case.args, ndim := len(case.inputs()[0].spatial) or None)
        ready = read if isinstance(read, Composite) else read.bind(case.inputs())
        for op in (read, ready):
            assert REGISTRY[op.tag].read(json.loads(json.dumps(op.arguments())), ndim) == op
            assert 0 < len(op.label()) <= 24
