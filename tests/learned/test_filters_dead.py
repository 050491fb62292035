"""Dead filters: planted ones are found, by the rule of the activation behind them, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.learned.filters.layer_filters import choose
from cnnscope.learned.filters.result import life
from cnnscope.trained.network import TrainedNetwork

SPEC = """\
cnnscope: 1
name: Net
input: {shape: [3, 12, 12]}
layers:
  - conv: {out: 4, kernel: 3, norm: batch, act: relu, name: a}
  - conv: {out: 4, kernel: 3, act: tanh, name: b}
  - conv: {out: 4, kernel: 3, name: c}
  - globalavgpool
  - flatten
  - linear: {out: 5, name: fc}
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(70):  # more than a batch
        Image.fromarray(generator.integers(0, 256, (14, 14, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def network(tmp_path: Path) -> TrainedNetwork:
    (tmp_path / "net.yaml").write_text(SPEC)
    return cnnscope.load(tmp_path / "net.yaml").trained(device="cpu")


def bias(network: TrainedNetwork, layer: str, filter: int, value: float) -> None:
    """Adds to what a filter answers, before its activation; a batch norm's shift where there is one."""
    state = network.module.state_dict()
    key = f"{layer}.norm.bias" if f"{layer}.norm.bias" in state else next(
        key for key in (f"{layer}.conv.bias", f"{layer}.bias") if key in state
    )  # fmt: skip
    state[key][filter] = value


def test_planted_dead_filters_are_found(network: TrainedNetwork, images: Path) -> None:
    bias(network, "a", 2, -1e3)  # relu: never above 0
    bias(network, "b", 1, -1e3)  # tanh: always -1
    bias(network, "b", 3, 1e3)
    found = life(network, choose(network.graph, ["a", "b", "c"]), images)
    assert found.dead == {"a": (False, False, True, False), "b": (False, True, False, True), "c": (False,) * 4}
    assert found.rules == {
        "a": "never above 0 after relu", "b": "never varies after tanh", "c": "never varies after the convolution",
    }  # fmt: skip
    assert (found.images, found.skipped) == (70, 1)


def test_behind_weights_that_diverged_it_is_not_known(network: TrainedNetwork, images: Path) -> None:
    bias(network, "a", 2, float("nan"))
    assert life(network, choose(network.graph, ["b"]), images).dead == {"b": None}


def test_one_image_that_wakes_it_is_enough(network: TrainedNetwork, images: Path) -> None:
    """A filter that only answers to a white image is dead until there is one."""
    state = network.module.state_dict()
    weight = state["a.conv.weight"]
    weight[0] = 1.0
    state["a.conv.bias"][0] = -26.9  # 27 white pixels give 27
    chosen = choose(network.graph, ["a"])
    assert life(network, chosen, images).dead["a"][0] is True  # type: ignore[index]  # it is known
    Image.new("RGB", (14, 14), "white").save(images / "zz.png")
    assert life(network, chosen, images).dead["a"][0] is False  # type: ignore[index]
    assert life(network, chosen, images, limit=70).dead["a"][0] is True  # type: ignore[index]  # not seen


def test_norm_and_activation_may_be_modules_of_their_own(images: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 3))
    with torch.no_grad():
        module[1].bias[1] = -1e3
    network = cnnscope.load(module, input=(3, 12, 12)).trained(device="cpu")
    found = life(network, choose(network.graph), images)
    assert list(found.dead.values()) == [(False, True, False, False)]
    assert list(found.rules.values()) == ["never above 0 after relu"]


def test_images_that_cannot_be_read_are_said(network: TrainedNetwork, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(CnnscopeError, match="E460: none of the images in"):
        life(network, choose(network.graph), tmp_path)
