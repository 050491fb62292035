"""A layer of an unknown class may have parameters: every total of them is a lower bound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cnnscope
from cnnscope.analysis.summary import summarize


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    inputs = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 8]}}
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [inputs, *layers]}}


def dense(name: str) -> dict[str, Any]:
    config = {"name": name, "units": 8}
    return {"class_name": "Dense", "config": config, "build_config": {"input_shape": [None, 8]}}


MINE = {"class_name": "MyBlock", "registered_name": "mine>MyBlock", "config": {"name": "b"}}


def load(tmp_path: Path, *layers: dict[str, Any]) -> cnnscope.Model:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(sequential(*layers)))
    return cnnscope.load(path)


def test_parameters_are_a_lower_bound(tmp_path: Path) -> None:
    model = load(tmp_path, dense("a"), MINE, dense("c"))
    assert summarize(model.graph).uncounted == ("b",)
    assert ">= 144 parameters" in repr(model)
    assert ">= 144" in str(model.params())
    assert model.summary().to_dict()["totals"]["params_lower_bound"] is True


@pytest.mark.parametrize("layers", [[dense("a")], [dense("a"), {"class_name": "ReLU", "config": {"name": "r"}}]])
def test_parameters_are_exact_where_all_layers_are_known(tmp_path: Path, layers: list[dict[str, Any]]) -> None:
    model = load(tmp_path, *layers)
    assert not summarize(model.graph).uncounted
    assert ">=" not in str(model.params())
    assert "params_lower_bound" not in model.summary().to_dict()["totals"]
