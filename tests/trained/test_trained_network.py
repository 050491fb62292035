"""Networks with weights: where the weights come from, what can be captured, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.nn.build import Network
from cnnscope.nn.checkpoint import write_weights
from cnnscope.trained.images import Sample, open_images
from cnnscope.trained.loading import randomised
from cnnscope.trained.network import probabilities

SMALL = (3, 32, 32)


class Parts(nn.Module):
    """A little of everything: functional calls, a reused module, weights used outside a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.again = nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU()
        self.scale = nn.Parameter(torch.full((8, 1, 1), 1.5))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        x = x + self.act(self.again(x)) * self.scale
        result: Tensor = self.head(x.mean((2, 3)))
        return result


def refused(match: str, source: object, **options: object) -> None:
    with pytest.raises(CnnscopeError, match=match):
        cnnscope.load(source, **({"input": SMALL} if isinstance(source, nn.Module) else {})).trained(**options)


def test_the_digits_network_reads_digits() -> None:
    network = cnnscope.load("lenet5-digits").trained(device="cpu")
    assert network.data is not None
    samples = [sample for sample in open_images(network.data) if isinstance(sample, Sample)]
    pixels = torch.stack([torch.from_numpy(network.preprocess.pixels(sample.image)) for sample in samples])
    guesses = network.logits(network.input(pixels)).argmax(1)
    assert len(samples) == 360
    assert (guesses == torch.tensor([sample.label for sample in samples])).sum() == 349
    assert (network.trained, network.weights, network.notes) == (True, "lenet5-digits.safetensors", ())


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "convnext_tiny", "mnasnet0_5"])
def test_torchvision_networks_run_as_their_graph_bit_by_bit(name: str) -> None:
    model = cnnscope.load(f"torchvision:{name}", input=(3, 64, 64))
    network = model.trained(seed=3, device="cpu")
    assert isinstance(network.module, Network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        assert model.extras.make is not None
        original = model.extras.make().eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network.logits(x), original(x))
    assert network.notes == (f"the weights of `{name}` are random: nothing is learned",)
    assert (network.preprocess.mean, len(network.labels)) == ((0.485, 0.456, 0.406), 1000)


class Fourier(nn.Module):
    """Scores from the spectrum of its maps, for which there is no layer type."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.fft.fft2(self.conv(x)).real.mean((2, 3)))


def test_a_graph_that_cannot_be_built_runs_as_its_own_module() -> None:
    network = cnnscope.load(Fourier(), input=(3, 16, 16)).trained(device="cpu")
    assert not isinstance(network.module, Network)
    with network.capture(["conv"]) as found:
        assert network.logits(torch.rand(1, 3, 16, 16)).shape == (1, 5)
    assert found["conv"].shape == (1, 4, 14, 14)


def test_a_live_module_stays_as_it_is() -> None:
    live = Parts().train()
    before = {key: value.clone() for key, value in live.state_dict().items()}
    network = cnnscope.load(live, input=SMALL).trained(device="cpu", dtype="float64")
    assert live.training
    assert all(parameter.requires_grad for parameter in live.parameters())
    assert all(torch.equal(before[key], value) for key, value in live.state_dict().items())
    assert {value.dtype for value in live.parameters()} == {torch.float32}
    x = torch.rand(2, *SMALL)
    assert torch.allclose(network.logits(x.double()), live.eval()(x), atol=1e-6)
    assert (network.weights, network.trained) == ("as `Parts` has them", True)


def test_weights_of_a_file_replace_what_the_source_has(tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = Parts().eval()
    write_weights(other, tmp_path / "w.safetensors")
    network = cnnscope.load(Parts(), input=SMALL).trained(weights=tmp_path / "w.safetensors", device="cpu")
    x = torch.rand(2, *SMALL)
    assert torch.equal(network.logits(x), other(x))
    assert network.weights == "w.safetensors"


def test_every_layer_is_captured_as_hooks_on_the_original_see_it() -> None:
    live = Parts().eval()
    network = cnnscope.load(live, input=SMALL).trained(device="cpu")
    assert network.layer_names() == ("conv", "act", "again", "act#2", "mul", "add", "mean", "head")
    seen: dict[str, list[Tensor]] = {}
    for name in ("conv", "act", "again", "head"):
        live.get_submodule(name).register_forward_hook(lambda m, a, y, name=name: seen.setdefault(name, []).append(y))
    x = torch.rand(2, *SMALL)
    with network.capture(network.layer_names()) as found:
        network.logits(x)
        live(x)
        assert all(torch.equal(found[name], seen[name][0]) for name in seen)
        assert torch.equal(found["act#2"], seen["act"][1])
        assert torch.equal(found["add"], found["act"] + found["mul"])
        network.logits(x[:1])
        assert found["conv"].shape == (1, 8, 32, 32)
    network.logits(x)
    assert found["conv"].shape == (1, 8, 32, 32)  # nothing is taken outside


def test_onnx_files_run_with_the_weights_in_them(tmp_path: Path) -> None:
    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.square, self.head = nn.Conv2d(3, 8, 3), nn.Parameter(torch.randn(8, 8)), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.head(torch.relu(self.conv(x)).mean((2, 3)) @ self.square)
            return result

    live = Products().eval()
    x = torch.rand(2, *SMALL)
    torch.onnx.export(live, (x[:1],), tmp_path / "net.onnx", dynamo=True, verbose=False)
    network = cnnscope.load(tmp_path / "net.onnx").trained(device="cpu")
    assert torch.allclose(network.logits(x), live(x), atol=1e-6)
    assert (network.weights, network.trained) == ("in its file", True)
    (tmp_path / "net.onnx.data").unlink()  # where this exporter puts the weights
    with pytest.raises(CnnscopeError, match=r"E448: cannot read the weights in .*net\.onnx`"):
        cnnscope.load(tmp_path / "net.onnx").trained()


def test_random_weights_are_drawn_from_their_seed() -> None:
    model = cnnscope.load("lenet5")
    first, same, other = (model.trained(seed=seed, device="cpu") for seed in (1, 1, 2))
    assert first.weights_sha256 == same.weights_sha256 != other.weights_sha256
    again = randomised(cnnscope.load("lenet5-digits").trained(device="cpu"), seed=1)
    assert (again.weights_sha256, again.trained) == (first.weights_sha256, False)


def test_what_is_no_classifier_of_one_image_is_refused() -> None:
    refused(r"E452: `Siamese network` needs 2 inputs \(`left`, `right`\), not one image", "siamese")
    refused(r"E452: `M5 \(raw audio\)` reads 1x\d+ float32, not an image", "m5")
    refused("E453: `U-Net` returns .* an image, not class scores", "unet")
    refused("E450: `lenet5` has no published weights", "lenet5", weights="pretrained")
    refused("E420: there is no file `nowhere.pt`", "lenet5", weights="nowhere.pt")


def test_several_answers_are_refused() -> None:
    class Both(Parts):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x), x

    refused(r"E453: `Both` has 2 outputs \(`head`, `input`\), not class scores alone", Both())
    assert cnnscope.load("googlenet").trained(device="cpu").classes == 1000  # its other heads are for training


def test_numbers_that_are_not_finite_are_refused() -> None:
    broken = Parts()
    nn.init.constant_(broken.head.bias, torch.nan)
    network = cnnscope.load(broken, input=SMALL).trained(device="cpu")
    with pytest.raises(CnnscopeError, match="E453: `Parts` returns numbers that are not finite"):
        network.logits(torch.rand(1, *SMALL))


def test_unknown_layers_have_near_names() -> None:
    network = cnnscope.load("resnet18").trained(device="cpu")
    with pytest.raises(CnnscopeError, match="E205: `layer1` is a group") as caught, network.capture(["layer1"]):
        pass
    assert caught.value.diagnostics[0].hint is not None
    assert "`layer1.0.conv1`" in caught.value.diagnostics[0].hint
    with pytest.raises(CnnscopeError, match="E205: `ResNet-18` has no layer `con1`"), network.capture(["con1"]):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    refused("E451: there is no CUDA device here", "lenet5-digits", device="cuda")
    refused("E451: no device is called `gpu`", "lenet5-digits", device="gpu")
    refused("E451: networks do not run on `meta` here", "lenet5-digits", device="meta")


def test_scores_become_probabilities_once() -> None:
    scores = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    shares = scores.softmax(1)
    assert torch.allclose(probabilities(scores), shares)
    assert torch.equal(probabilities(shares), shares)
    mixed = torch.cat([scores[:2], shares[2:]])
    assert torch.allclose(probabilities(mixed), shares)
    assert torch.allclose(probabilities(torch.tensor([[2.0], [-1.0]])), torch.tensor([[0.880797], [0.268941]]))
    assert torch.equal(probabilities(torch.tensor([[0.25]])), torch.tensor([[0.25]]))
