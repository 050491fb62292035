"""PyTorch's databases of modules and operators: every sample has torch's shape, parameters and MACs.

By default two samples of some entries, drawn once for all; the slow tests are all samples of all entries.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from databases import Applied, module_samples, modules, operator_samples, operators
from oracles import Totals, expected, found, read

from cnnscope.analysis.summary import summarize

PARTS = 8

MARKED = {
    "nn.LinearCrossEntropyLoss", "nn.functional.linear_cross_entropy chunked",
    "nn.functional.linear_cross_entropy chunked_none",
}  # fmt: skip
"""Some of whose samples have a cost that is not known here: a total with them is a lower bound."""

WRONG_ON_META = {("nn.MultiLabelMarginLoss", (10,))}
"""torch's own kernel for shapes gives one number as a vector there, and as a scalar with values."""


def right(sample: Applied) -> Totals | None:
    """What torch says; None if it does not run the sample of its own database."""

    def arguments(batch: int, device: str) -> tuple[Any, ...]:
        return (torch.rand(batch, *sample.shape, device=device),)

    try:
        return expected(lambda: copy.deepcopy(sample), arguments)
    except (RuntimeError, IndexError, ValueError):
        return None


def faults(name: str, samples: Iterable[Applied]) -> Iterator[tuple[str, int, Any]]:
    for i, sample in enumerate(samples):
        expects = None if 0 in sample.shape or (name, sample.shape) in WRONG_ON_META else right(sample)
        if expects is not None:
            graph = read(sample, "x".join(map(str, sample.shape)) or "1")
            if found(graph) != expects:
                yield name, i, (found(graph), expects)
            if (unknown := summarize(graph).unsupported) and name not in MARKED:
                yield name, i, unknown


def some(names: Iterable[str], count: int) -> list[str]:
    return random.Random("databases").sample(sorted(names), count)


def check(names: Iterable[str], samples: Callable[[str], Iterator[Applied]], most: int | None = None) -> None:
    assert [fault for name in names for fault in faults(name, islice(samples(name), most))] == []


def test_some_modules() -> None:
    check(some(modules(), 25), module_samples, 2)


def test_some_operators() -> None:
    check(some(operators(), 25), operator_samples, 2)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_all_modules(part: int) -> None:
    check(sorted(modules())[part::PARTS], module_samples)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_all_operators(part: int) -> None:
    check(sorted(operators())[part::PARTS], operator_samples)


def test_the_databases_are_not_empty() -> None:
    assert (len(modules()) > 100, len(operators()) > 100) == (True, True)
