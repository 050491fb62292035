"""`reads` against the gradient: an output element reads exactly the input elements it changes with."""

from __future__ import annotations

from math import prod

import pytest
import torch
from reads_reference import reached
from torch_reference import RUN, bound, random_weights, reference

from cnnscope.ir.steps import Step
from cnnscope.ops import REGISTRY, Case, Op
from cnnscope.ops.composite import Composite

MOST = 700
"""Input elements up to which the Jacobian of a case is taken."""

MORE: dict[str, tuple[Case, ...]] = {
    "conv": (
        Case(x=(2, 5, 6), args={"out": 2, "kernel": 3, "pad": "same", "stride": 2, "groups": 2}, shape=(2, 3, 3)),
        Case(x=(1, 6), args={"out": 1, "kernel": 3, "pad": 2, "pad_mode": "replicate"}, shape=(1, 8)),
        Case(x=(1, 6), args={"out": 1, "kernel": 3, "pad": {"left": 4, "right": 5}, "pad_mode": "reflect"},
             shape=(1, 13)),
    ),
    "avgpool": (
        Case(x=(1, 6, 6), args={"kernel": 3, "stride": 2, "pad": 1, "ceil": True}, shape=(1, 4, 4)),
        Case(x=(1, 7, 6), args={"kernel": 4, "stride": 3, "pad": "same", "count_pad": False}, shape=(1, 3, 2)),
    ),
    "maxpool": (
        Case(x=(1, 7, 6), args={"kernel": 4, "stride": 3, "pad": {"top": 2, "right": 1}}, shape=(1, 2, 2)),
        Case(x=(1, 9), args={"kernel": 3, "stride": 2, "dilation": 2, "pad": 1, "ceil": True}, shape=(1, 4)),
    ),
    "lppool": (Case(x=(1, 7, 7), args={"kernel": 3, "stride": 2, "ceil": True}, shape=(1, 3, 3)),),
    "blurpool": (
        Case(x=(1, 6, 6), args={"kernel": 4, "stride": 3, "pad": 1, "pad_mode": "circular"}, shape=(1, 2, 2)),
    ),
    "globalavgpool": (Case(x=(2, 3, 3), args={}, shape=(2, 1, 1)),),
    "globalmaxpool": (Case(x=(2, 3, 3), args={}, shape=(2, 1, 1)),),
    "linear": (Case(x=(5,), args={"out": 3}, shape=(3,), kind="flat"),
               Case(x=(3, 4), args={"out": 2}, shape=(3, 2), kind="tokens")),
    "batchnorm": (Case(x=(2, 4, 4), args={"track": False}, shape=(2, 4, 4)),),
    "layernorm": (Case(x=(4, 3, 3), args={}, shape=(4, 3, 3)), Case(x=(4, 5), args={}, shape=(4, 5), kind="tokens")),
    "groupnorm": (Case(x=(4, 3, 3), args={"groups": 2}, shape=(4, 3, 3)),),
    "lrn": (Case(x=(7, 2, 2), args={"size": 3}, shape=(7, 2, 2)),),
    "mul": (Case(x=((4, 3, 3), (4, 1, 1)), args={}, shape=(4, 3, 3)),),
    "add": (Case(x=((2, 3, 3), (2, 3, 3)), args={}, shape=(2, 3, 3)),),
    "concat": (Case(x=((1, 3, 3), (2, 3, 3)), args={}, shape=(3, 3, 3)),),
    "flatten": (Case(x=(2, 3, 3), args={}, shape=(18,)),),
    "crop": (Case(x=(1, 8, 7), args={"size": 4}, shape=(1, 4, 4)),),
    "shuffle": (Case(x=(6, 2, 2), args={"groups": 2}, shape=(6, 2, 2)),),
    "slice": (Case(x=(6, 3, 3), args={"start": 1, "step": 2}, shape=(3, 3, 3)),),
    "upsample": (
        Case(x=(1, 5, 4), args={"scale": 3, "mode": "bilinear"}, shape=(1, 15, 12)),
        Case(x=(1, 5, 4), args={"scale": 2, "mode": "bicubic"}, shape=(1, 10, 8)),
        Case(x=(1, 9), args={"size": 6, "mode": "bilinear"}, shape=(1, 6)),
        Case(x=(1, 4, 3), args={"size": [7, 5], "mode": "bicubic", "align_corners": True}, shape=(1, 7, 5)),
        Case(x=(1, 6), args={"size": 1, "mode": "bilinear", "align_corners": True}, shape=(1, 1)),
        Case(x=(1, 1), args={"size": 4, "mode": "bilinear", "align_corners": True}, shape=(1, 4)),
        Case(x=(1, 7, 7), args={"size": [4, 10]}, shape=(1, 4, 10)),
    ),
    "tokens": (Case(x=(3, 2, 2), args={}, shape=(4, 3)),),
    "classtoken": (Case(x=(3, 4), args={}, shape=(4, 4), kind="tokens"),),
    "position": (Case(x=(3, 4), args={}, shape=(3, 4), kind="tokens"),),
    "token": (Case(x=(3, 4), args={"index": 1}, shape=(4,), kind="tokens"),),
    "tokenmean": (Case(x=(3, 4), args={}, shape=(4,), kind="tokens"),),
    "layerscale": (Case(x=(3, 2, 2), args={}, shape=(3, 2, 2)),),
}  # fmt: skip

CASES = [
    pytest.param(op, case, id=f"{tag}-{i}")
    for tag, op in REGISTRY.items()
    if not issubclass(op, Composite) and tag in RUN
    for i, case in enumerate((*op.cases, *MORE.get(tag, ())))
    if sum(value.numel for value in case.inputs()) <= MOST
]


def dependence(op: Op, ready: Op, case: Case) -> list[torch.Tensor]:
    """Per input a matrix (output elements, input elements), true where the one changes with the other."""
    x = case.inputs()
    torch.manual_seed(0)
    weights = random_weights(ready, x)
    inputs = [0.1 + 0.8 * torch.rand(value.shape, dtype=torch.float64) for value in x]
    if "maxpool" in op.tag:  # a maximum has a gradient for one input only, but any input may be it
        probes = torch.eye(x[0].numel, dtype=torch.float64).reshape(-1, *x[0].shape[1:])
        return [reference(op, weights, [probes], case.kind).flatten(1).T > 0]
    jacobians = torch.autograd.functional.jacobian(
        lambda *tensors: reference(op, weights, list(tensors), case.kind).flatten(), tuple(inputs)
    )
    return [jacobian.flatten(1) != 0 for jacobian in jacobians]


@pytest.mark.parametrize(("op", "case"), CASES)
def test_reads_are_the_inputs_with_a_gradient(op: type[Op], case: Case) -> None:
    read, ready, x = bound(op, case)
    output = ready.infer(x)
    reads = ready.reads(x)
    assert reads is not None
    assert len(reads) == len(x)
    for value, steps, depends in zip(x, reads, dependence(read, ready, case), strict=True):
        claimed = claims(value.shape, steps, output.shape)
        assert torch.equal(claimed, depends)


def claims(x: tuple[int, ...], steps: tuple[Step, ...], y: tuple[int, ...]) -> torch.Tensor:
    """What `reads` says, in the form of `dependence`."""
    return torch.tensor([[bool(mask >> i & 1) for i in range(prod(x))] for mask in reached(x, steps, y)])
