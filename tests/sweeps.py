"""Sweeps: tests of many cases of one kind, of which some run by default and the rest as slow tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

from cnnscope.sources import zoo

DEEPER = {"densenet201", "resnet101", "resnet152", "vgg13", "vgg19"}
"""Networks of the zoo that have the blocks of a shallower one there, only more of them."""


def sweep(cases: Iterable[str], by_default: Collection[str]) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`: those that are not in ``by_default`` are marked slow."""
    cases = list(cases)
    assert set(by_default) <= set(cases), sorted(set(by_default) - set(cases))
    return [case if case in by_default else pytest.param(case, marks=pytest.mark.slow) for case in cases]


def zoo_sweep() -> list[Any]:
    """All of the zoo, the deeper variants as slow tests."""
    return sweep(zoo.names(), set(zoo.names()) - DEEPER)
