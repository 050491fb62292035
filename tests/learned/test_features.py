"""Feature maps against torch's own forward pass, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from featured_networks import made, padded, rectified, trained
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.learned import layers as feature_layers
from cnnscope.learned import maps as feature_maps
from cnnscope.learned.features.montage import draw
from cnnscope.learned.layers import choose
from cnnscope.learned.maps import LayerMaps, batches, maps_of
from cnnscope.render.sheet import scale
from cnnscope.render.style import PICTURES
from cnnscope.trained.images import open_images


@pytest.fixture(scope="module")
def digits() -> cnnscope.trained.network.TrainedNetwork:
    return cnnscope.load("lenet5-digits").trained(device="cpu")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, 32, 32), dtype=np.uint8)


def test_maps_are_those_of_torch(digits, pixels) -> None:
    state = digits.module.state_dict()
    x = torch.from_numpy(pixels[None]).float() / 255
    c1 = torch.tanh(F.conv2d(x, state["c1.conv.weight"], state["c1.conv.bias"]))
    s2 = F.avg_pool2d(c1, 2)
    c3 = torch.tanh(F.conv2d(s2, state["c3.conv.weight"], state["c3.conv.bias"]))
    found = maps_of(digits, choose(digits, ["c1", "s2", "c3", "f6"]), pixels)
    for name, expected in (("c1", c1), ("s2", s2), ("c3", c3)):
        np.testing.assert_allclose(found[name], expected[0].numpy(), atol=1e-6)
    assert found["f6"].shape == (84, 1, 1)


def test_one_layer_alone_runs_no_further_and_gives_the_same_bits(digits, pixels, monkeypatch) -> None:
    layers = choose(digits, ["c1", "c3", "output"])
    together = maps_of(digits, layers, pixels)
    monkeypatch.setattr(type(digits.module), "forward", lambda *_: pytest.fail("the whole network ran"))
    for layer in layers:
        assert np.array_equal(maps_of(digits, [layer], pixels)[layer.name], together[layer.name])


def test_the_default_is_the_first_convolutions_behind_their_activations(digits) -> None:
    assert [layer.name for layer in choose(digits)] == ["c1", "c3"]
    network = trained(made(rectified(), (1, 20, 20)), (1, 20, 20))
    assert [layer.name for layer in choose(network)] == ["1", "4"]


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 6, 3), nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x).permute(0, 2, 3, 1)).mean((1, 2)))


def test_channels_that_stand_last_are_found(pixels) -> None:
    network = trained(ChannelsLast(), (1, 32, 32))
    (layer,) = choose(network, ["norm"])
    assert (layer.channels, layer.size) == (6, (30, 30))
    module = network.module
    with torch.no_grad():
        x = torch.from_numpy(pixels[None]).float() / 255
        conv = F.conv2d(x, module.state_dict()["conv.weight"], module.state_dict()["conv.bias"])
        expected = F.layer_norm(conv.permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2)[0]
    np.testing.assert_allclose(maps_of(network, [layer], pixels)["norm"], expected.numpy(), atol=1e-5)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 6, 8, stride=8), nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x).flatten(2).transpose(1, 2)).mean(1))


def refused(call, code: str) -> str:
    with pytest.raises(CnnscopeError) as caught:
        call()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    return diagnostic.message


def test_layers_without_maps_are_refused(digits) -> None:
    network = trained(Tokens(), (1, 32, 32))
    message = "`norm` gives 16x6 numbers, neither feature maps nor a vector"
    assert refused(lambda: choose(network, ["norm"]), "E464") == message
    assert refused(lambda: choose(digits, ["c4"]), "E205") == "`LeNet-5 on digits` has no layer `c4`"
    (layer,) = choose(digits, ["c1"])
    message = "`c1` has 6 channels, and 6 is none of them"
    assert refused(lambda: feature_layers.check_channel(layer, 6), "E203") == message
    flat = trained(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), (1, 8, 8))
    assert refused(lambda: choose(flat), "E464") == f"`{flat.graph.name}` has no convolution with feature maps"


def test_activations_that_are_not_finite_are_refused(pixels) -> None:
    network = trained(made(padded(), (1, 32, 32)), (1, 32, 32))
    with torch.no_grad():
        network.module.get_parameter("0.bias")[2] = torch.nan
    message = "256 of 1,024 activations of `0` are not finite"
    assert refused(lambda: maps_of(network, choose(network, ["0"]), pixels), "E465") == message


def test_fewer_images_run_at_a_time_where_memory_does_not_suffice(digits, monkeypatch) -> None:
    layers, images = choose(digits, ["c1"]), open_images(digits.data)
    expected = np.concatenate([batch.maps["c1"] for batch in batches(digits, layers, images, 100)])
    sizes = []

    def scarce(*given):
        run = feature_maps.__dict__["_runner_of_the_test"](*given)

        def limited(x: Tensor) -> dict[str, Tensor]:
            sizes.append(len(x))
            if len(x) > 16:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return run(x)

        return limited

    monkeypatch.setattr(feature_maps, "_runner_of_the_test", feature_maps.runner, raising=False)
    monkeypatch.setattr(feature_maps, "runner", scarce)
    found = np.concatenate([batch.maps["c1"] for batch in batches(digits, layers, images, 100)])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert sizes == [64, 32, 16, 16, 16, 16, 16, 16, 4]


def test_all_maps_share_a_scale_that_says_where_zero_is() -> None:
    assert scale(-0.5, 2.0) == ("RdBu_r", -2.0, 2.0)
    assert scale(0.0, 2.0) == ("viridis", 0.0, 2.0)
    assert scale(0.0, 0.0) == ("viridis", 0.0, 1.0)


def test_maps_that_do_not_vary_are_counted(digits) -> None:
    (layer,) = choose(digits, ["c1"])
    maps = np.zeros((6, 28, 28), np.float32)
    maps[0, 0, 0] = -1.0
    shown = LayerMaps(layer, maps)
    assert (shown.still, shown.signed, shown.low, shown.high) == (5, True, -1.0, 0.0)
    (vector,) = choose(digits, ["output"])
    assert LayerMaps(vector, np.zeros((10, 1, 1), np.float32)).still is None


@pytest.mark.parametrize("form", PICTURES)
def test_pictures_are_the_same_on_a_second_run(digits, pixels, form: str) -> None:
    layers = choose(digits, ["c3", "c5", "output"])
    found = maps_of(digits, layers, pixels)
    shown = [LayerMaps(layer, found[layer.name]) for layer in layers]
    first, second = (draw(shown, pixels, "title", "caption", digits.labels, form) for _ in range(2))
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form])


def test_the_strongest_of_many_maps_are_shown(digits) -> None:
    from cnnscope.learned.features.montage import _panel
    from cnnscope.learned.layers import FeatureLayer

    maps = np.zeros((300, 4, 4), np.float32)
    maps[44:, 0, 0] = 1.0
    panel = _panel(LayerMaps(FeatureLayer("many", "conv", 300, (4, 4)), maps))
    assert panel.shown.tolist() == list(range(44, 300))
    assert panel.note == "0 to 1, 44 of 300 are the same all over, the 256 with the largest magnitudes shown"


def test_networks_without_class_scores_have_maps(tmp_path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))  # two maps, no scores
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    found = cnnscope.load(network, input="3x12x12").features(image=tmp_path / "x.png", layer="0,2")
    assert [layer.name for layer in found.report.document.layers] == ["0", "2"]
    with pytest.raises(CnnscopeError, match="E453"):
        cnnscope.load(network, input="3x12x12").trained()
