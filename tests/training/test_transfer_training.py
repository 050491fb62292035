"""Training a new head: against a loop written by hand, and what must not change in it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.trained.network import TrainedNetwork
from cnnscope.training.model import Images, prepare, read_images
from cnnscope.training.plan import Plan, plan
from cnnscope.training.train import Settings, cacheable, fit, summarise, train

DIGITS = Path(cnnscope.__file__).parents[1] / "specs" / "digits" / "digits.npz"
SHORT = Settings(epochs=2, learning_rate=0.01, batch_size=32, seed=3)


def silent(what: str, done: int, total: int | None) -> None:
    """No progress."""


@cache
def lenet() -> TrainedNetwork:
    return cnnscope.load("lenet5-digits").trained(device="cpu")


@cache
def digits(count: int = 200) -> Images:
    found = read_images(DIGITS, lenet().preprocess, 10, 0, silent)
    return replace(found, pixels=found.pixels[:count], labels=found.labels[:count])


def planned(network: TrainedNetwork, classes: int, *freeze: str) -> Plan:
    return plan(network.graph, classes, freeze=freeze)


# -- the loop ----------------------------------------------------------------------------------------------------------


def lenet_by_hand(state: dict[str, Tensor]) -> nn.Sequential:
    """LeNet-5 up to its head, written as plain torch."""
    body = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(), nn.Linear(120, 84), nn.Tanh(),
    )  # fmt: skip
    for place, layer in ((0, "c1.conv"), (3, "c3.conv"), (6, "c5.conv"), (9, "f6.linear")):
        body[place].load_state_dict({role: state[f"{layer}.{role}"] for role in ("weight", "bias")})
    return body.requires_grad_(False)


def test_a_feature_extractor_is_the_head_trained_alone_step_by_step() -> None:
    network, images = lenet(), digits()
    found = planned(network, 10)
    model, losses, correct = train(network, found, found.strategies[0], images, SHORT, silent)
    assert cacheable(model, found)

    state = {key: tensor.clone() for key, tensor in network.module.state_dict().items()}
    body, head = lenet_by_hand(state), nn.Linear(84, 10)
    start = prepare(network, found, found.strategies[0], SHORT.seed).state()
    head.load_state_dict({role: start[f"output.{role}"] for role in ("weight", "bias")})
    assert not torch.equal(start["output.weight"], state["output.weight"])  # a new head, though of the old size
    optimizer = torch.optim.AdamW(head.parameters(), lr=SHORT.learning_rate)
    generator = torch.Generator().manual_seed(SHORT.seed)
    x = images.pixels.float() / 255  # the spec states mean 0 and deviation 1
    means = []
    for _ in range(SHORT.epochs):
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).split(SHORT.batch_size):
            optimizer.zero_grad()
            loss = F.cross_entropy(head(body(x[rows])), images.labels[rows])
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        means.append(total / len(x))
    trained = model.state()
    torch.testing.assert_close(trained["output.weight"], head.weight.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(trained["output.bias"], head.bias.detach(), atol=1e-5, rtol=1e-4)
    assert losses == pytest.approx(means, rel=1e-4)
    with torch.no_grad():
        right = head(body(images.held_pixels.float() / 255)).argmax(1) == images.held_labels
    assert abs(correct - int(right.sum())) <= 1


def test_cached_features_change_nothing() -> None:
    network, images = lenet(), digits()
    found = planned(network, 10)
    cached, _, _ = train(network, found, found.strategies[0], images, SHORT, silent)
    other = prepare(network, found, found.strategies[0], SHORT.seed)
    fit(other, network.input(images.pixels), images.labels, SHORT, silent, cached=False)
    for key, tensor in other.state().items():
        torch.testing.assert_close(cached.state()[key], tensor, atol=1e-5, rtol=1e-4)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    network, images, found = lenet(), digits(64), planned(lenet(), 10, "c1")
    first, again, other = (
        train(network, found, found.strategies[2], images, replace(SHORT, epochs=1, seed=seed), silent)[0].state()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])


@pytest.mark.parametrize("strategy", [0, 1, 2])
def test_frozen_weights_are_bit_identical_afterwards_and_trained_ones_are_not(strategy: int) -> None:
    network, images, found = lenet(), digits(64), planned(lenet(), 10, "c1", "c3")
    chosen = found.strategies[strategy]
    before = {key: tensor.clone() for key, tensor in network.module.state_dict().items()}
    after = train(network, found, chosen, images, replace(SHORT, epochs=1), silent)[0].state()
    for key, param in chosen.graph.params.items():
        assert torch.equal(before[key], after[key]) is not param.trainable, key
    assert all(torch.equal(before[key], tensor) for key, tensor in network.module.state_dict().items())


# -- modes -------------------------------------------------------------------------------------------------------------

NORMED = """\
cnnscope: 1
name: Normed
input: {shape: [1, 8, 8]}
layers:
  - conv: {out: 4, kernel: 3, norm: batch, act: relu, name: a}
  - dropout: {p: 0.5, name: early}
  - conv: {out: 4, kernel: 3, norm: batch, act: relu, name: b}
  - dropout: {p: 0.5, name: late}
  - flatten
  - linear: {out: 3, act: none, name: fc}
  - softmax
"""


def normed(tmp_path: Path) -> TrainedNetwork:
    (tmp_path / "normed.yaml").write_text(NORMED)
    return cnnscope.load(tmp_path / "normed.yaml").trained(device="cpu")


def blobs(count: int = 60, classes: int = 3) -> Images:
    """Squares in another corner for each class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    pixels = torch.randint(0, 100, (count, 1, 8, 8), generator=generator)
    for i, label in enumerate(labels.tolist()):
        pixels[i, 0, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 150
    data = pixels.to(torch.uint8)
    return Images(data[: count // 2], labels[: count // 2], data[count // 2 :], labels[count // 2 :], "halves", 0, "0")


def test_a_frozen_batch_norm_keeps_its_statistics_and_a_trained_one_does_not(tmp_path: Path) -> None:
    network = normed(tmp_path)
    found = planned(network, 3, "a")
    model, _, _ = train(network, found, found.strategies[2], blobs(), SHORT, silent)
    before, after = network.module.state_dict(), model.state()
    for key in before:
        if key.startswith("a."):
            assert torch.equal(before[key], after[key]), key
    assert not torch.equal(before["b.norm.running_mean"], after["b.norm.running_mean"])
    assert int(after["b.norm.num_batches_tracked"]) == SHORT.epochs  # 30 images are one batch


def test_layers_are_in_training_mode_only_where_something_is_trained(tmp_path: Path) -> None:
    network = normed(tmp_path)
    found = planned(network, 3, "a")
    features, everything, part = (prepare(network, found, strategy, 0).module for strategy in found.strategies)

    def modes(module: nn.Module) -> list[bool]:
        return [module.get_submodule(name).training for name in ("a.norm", "early", "b.norm", "late")]

    assert modes(features) == [False, False, False, False]
    assert modes(everything) == [True, True, True, True]
    assert modes(part) == [False, False, True, True]


def test_a_softmax_at_the_end_is_left_to_the_loss_and_the_weights_still_fit(tmp_path: Path) -> None:
    network, images = normed(tmp_path), blobs()
    found = planned(network, 3)
    settings = Settings(epochs=60, learning_rate=0.02, batch_size=16)
    model, losses, correct = train(network, found, found.strategies[1], images, settings, silent)
    assert losses[-1] < 0.2  # through a second softmax it could not fall below log(1 + 2 / e) = 0.55
    assert correct > len(images.held_labels) * 0.8
    assert model.state().keys() == found.graph.params.keys()


def test_a_single_image_left_over_joins_the_batch_before_it(tmp_path: Path) -> None:
    network, images = normed(tmp_path), blobs(66)
    images = replace(images, pixels=images.pixels[:33], labels=images.labels[:33])
    found = planned(network, 3)
    model, _, _ = train(network, found, found.strategies[1], images, replace(SHORT, epochs=1, batch_size=16), silent)
    assert int(model.state()["a.norm.num_batches_tracked"]) == 2


# -- networks that stay their own module -------------------------------------------------------------------------------


class Fourier(nn.Module):
    """A function in it that no graph of ours can run."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(144, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.fft.fft2(self.conv(x)).abs()
        result: Tensor = self.fc(self.drop(y.flatten(1)))
        return result


def test_an_original_module_gets_its_head_in_place() -> None:
    module = Fourier()
    network = cnnscope.load(module, input=(1, 8, 8)).trained(device="cpu")
    assert isinstance(network.module, Fourier)
    found = planned(network, 3)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    model, _, _ = train(network, found, found.strategies[0], blobs(), SHORT, silent)
    assert model.state()["fc.weight"].shape == (3, 144)
    assert torch.equal(model.state()["conv.weight"], before["conv.weight"])
    assert cacheable(model, found)
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())
    whole, _, _ = train(network, found, found.strategies[1], blobs(), SHORT, silent)
    assert not torch.equal(whole.state()["conv.weight"], before["conv.weight"])


# -- data --------------------------------------------------------------------------------------------------------------


def folder(root: Path, counts: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(root / name / f"{i}.png")
    return root


def test_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    network = normed(tmp_path)
    path = folder(tmp_path / "data", {"cat": 20, "dog": 10, "eel": 3})
    found = read_images(path, network.preprocess, 3, 0, silent)
    assert found.held_labels.bincount().tolist() == [4, 2, 1]
    assert found.labels.bincount().tolist() == [16, 8, 2]
    seen = {tensor.numpy().tobytes() for tensor in (*found.pixels, *found.held_pixels)}
    assert len(seen) == 33  # every image once
    assert found.split == "7 of 33 images held out, 20 % of each class, seed 0"
    again, other = (read_images(path, network.preprocess, 3, seed, silent) for seed in (0, 1))
    assert torch.equal(found.held_pixels, again.held_pixels)
    assert not torch.equal(found.held_pixels, other.held_pixels)


def test_data_with_a_split_of_its_own_keeps_it() -> None:
    found = read_images(DIGITS, lenet().preprocess, 10, 0, silent)
    with np.load(DIGITS) as archive:
        split, labels = archive["split"], archive["labels"]
    assert found.labels.tolist() == labels[split == "train"].tolist()
    assert found.held_labels.tolist() == labels[split == "test"].tolist()
    assert found.split == "the data's own: 1,437 images `train`, 360 `test`"


def test_files_that_are_no_images_are_counted(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", {"cat": 4, "dog": 4, "eel": 4})
    (path / "cat" / "broken.png").write_text("no image")
    assert read_images(path, normed(tmp_path).preprocess, 3, 0, silent).skipped == 1


@pytest.mark.parametrize(
    ("counts", "code", "message"),
    [
        ({"cat": 4, "dog": 4}, "E495", "`{path}` has 2 classes, not 3"),
        ({"cat": 4, "dog": 4, "eel": 1}, "E496", "class `eel` of `{path}` has 1 image"),
        ({"cat": 4, "dog": 4, "eel": 0}, "E496", "class `eel` of `{path}` has no images"),
    ],
)
def test_data_that_cannot_be_trained_on_says_why(
    tmp_path: Path, counts: dict[str, int], code: str, message: str
) -> None:
    path = folder(tmp_path / "data", counts)
    with pytest.raises(CnnscopeError) as caught:
        read_images(path, normed(tmp_path).preprocess, 3, 0, silent)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == (code, message.format(path=path))


def test_images_without_labels_say_so(tmp_path: Path) -> None:
    folder(tmp_path / "data", {".": 3})
    with pytest.raises(CnnscopeError, match=r"E496: `0.png` of `.*data` has no label"):
        read_images(tmp_path / "data", normed(tmp_path).preprocess, 3, 0, silent)


def test_a_loss_that_runs_away_is_an_error(tmp_path: Path) -> None:
    network = normed(tmp_path)
    found = planned(network, 3)
    settings = Settings(epochs=5, learning_rate=1e30)
    with pytest.raises(CnnscopeError) as caught:
        train(network, found, found.strategies[1], blobs(), settings, silent)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E497"
    assert diagnostic.message == "the loss is not finite in epoch 2"
    assert diagnostic.hint == "use a smaller `--lr` than 1e+30"


# -- the score ---------------------------------------------------------------------------------------------------------


def test_the_interval_and_chance_are_what_the_formulas_say() -> None:
    network, images = lenet(), digits()
    strategy = planned(network, 10).strategies[0]
    run = summarise(network, strategy, "x", images, SHORT, [1.0, 0.5], 180, cached=True)
    n, p, z = len(images.held_labels), 180 / len(images.held_labels), 1.959963985
    for bound in (run.accuracy.low, run.accuracy.high):  # the p0 at which the score test just rejects (Wilson 1927)
        assert abs(p - bound) / sqrt(bound * (1 - bound) / n) == pytest.approx(z, rel=1e-6)
    assert run.accuracy.low < p < run.accuracy.high
    counts = np.bincount(images.held_labels.numpy())
    assert run.chance == counts.max() / counts.sum()
