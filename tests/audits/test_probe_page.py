"""The page on adding to audits: its code runs, and does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cnnscope.audits.controls.evidence import Evidence
from cnnscope.audits.outcomes import Outcomes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-probe.md"


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    torch.manual_seed(0)
    scope: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 4
    for block in blocks:
        exec(block, scope)
    return scope


def test_the_transform(names: dict[str, Any]) -> None:
    assert names["moved"].shape == (1, 2, 3, 32, 32)
    assert names["protocol"].index(names["protocol"].chains[0]) == (-1, 2, 3, 4)


def test_the_metric(names: dict[str, Any]) -> None:
    assert names["flipped"].shape == (8,)
    assert 0 < names["flipped"].mean() <= 1


def test_the_control(names: dict[str, Any]) -> None:
    def evidence(confidence: float) -> Evidence:
        found, n = names["found"], 8
        outcomes = Outcomes(
            transforms=names["protocol"].records, name=("",) * n, key=("",) * n, label=np.full(n, -1, np.int32),
            shard=np.zeros(n, np.int32), top1_clean=found.top1_clean,
            confidence_clean=np.full(n, confidence, np.float16), top1=found.top1, confidence=found.confidence,
            clean_class_probability=found.clean_class_probability, js=found.js, layers=found.layers,
            distance=found.distance, spread=found.spread,
        )  # fmt: skip
        return Evidence(names["network"], names["pixels"], ("",) * n, outcomes, names["protocol"])

    assert names["confident"](evidence(0.9)).passed
    assert not names["confident"](evidence(0.1)).passed


def test_every_file_it_names_is_there() -> None:
    root = PAGE.parents[1]
    for name in re.findall(r"`((?:cnnscope|tests|benchmarks)/[\w/.]+)`", PAGE.read_text(encoding="utf-8")):
        assert (root / name).exists(), name
