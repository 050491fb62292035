"""Sweeps: tests of many cases of one kind, of which some run by default and the rest as slow tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def sweep(cases: Iterable[str], by_default: Collection[str]) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`: those that are not in ``by_default`` are marked slow."""
    cases = list(cases)
    assert set(by_default) <= set(cases), sorted(set(by_default) - set(cases))
    return [case if case in by_default else pytest.param(case, marks=pytest.mark.slow) for case in cases]
