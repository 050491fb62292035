"""What is refused or labelled: images of nothing, classes that are not there, scores that ignore the image."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from attributed import Plain, image, seeded
from torch import Tensor, nn

from cnnscope.attribution.contract import Method, baseline
from cnnscope.attribution.methods import METHODS
from cnnscope.attribution.run import attribute, completeness, parse_target
from cnnscope.errors import CnnscopeError


@pytest.fixture(scope="module")
def network() -> Plain:
    return Plain(seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))))


def refused(
    code: str, message: str, hint: str | None, network: Plain, x: Tensor, method: str, target: int, **options: Any
) -> None:
    with pytest.raises(CnnscopeError) as caught:
        attribute(network, x, method, target, **options)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message, diagnostic.hint) == (code, message, hint)


def test_bad_input_is_refused(network: Plain) -> None:
    x, near = image(2, 8, 8), "did you mean `saliency`?"
    refused("E481", "no method of attribution is called `salency`", near, network, x, "salency", 1)
    for target in (3, -1):
        message = f"there is no class {target}: the network has 3 classes"
        refused("E482", message, "classes count from 0 to 2", network, x, "saliency", target)
    refused("E483", "the image is constant: no pixel differs from another", "use another image", network,
            torch.ones_like(x), "saliency", 1)  # fmt: skip
    refused("E483", "the image has values that are not finite", None, network, x * torch.inf, "saliency", 1)
    near = "did you mean `zero`?"
    refused("E481", "no baseline is called `zeros`", near, network, x, "deeplift", 1, baseline="zeros")
    refused("E481", "without preprocessing it is unknown what black and white are",
            "use the baseline `zero`, `mean` or `blur`", network, x, "deeplift", 1, baseline="white")  # fmt: skip
    refused("E483", "the image is the baseline, so nothing differs from it", "use another `--baseline`", network, x,
            "integrated-gradients", 1, baseline=x)  # fmt: skip
    refused("E481", "`steps` is 0, not a number of at least 1", None, network, x, "smoothgrad", 1, steps=0)


@pytest.mark.parametrize("method", METHODS.names())
def test_a_score_without_the_image_is_refused_by_every_method(method: str) -> None:
    module = seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)))
    module[3].weight[1] = 0
    network = Plain(module)
    refused("E483", "the score of class 1 does not depend on the image",
            "check the weights: a layer of zeros cuts the network in two", network, image(2, 8, 8), method,
            1)  # fmt: skip
    assert attribute(network, image(2, 8, 8), method, 2).values.any()


def test_an_answer_that_is_not_finite_is_refused(network: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnscope.attribution.contract import Found

    broken = Method("Broken", "broken", True, lambda question: Found(question.x[0] * torch.nan), "nobody")
    monkeypatch.setattr(METHODS, "find", lambda name: broken)
    hint = "check the weights, or use `--dtype float64`"
    refused("E484", "`saliency` gives values that are not finite", hint, network, image(2, 8, 8), "saliency", 1)


def test_zero_everywhere_is_labelled() -> None:
    """Saturated at this image, not elsewhere: the gradient is 0, and that is what is said."""

    class Saturated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return x.sum((1, 2, 3)).clamp(max=1)[:, None] * self.weight

    x = image(1, 6, 6).abs() + 1
    found = attribute(Plain(seeded(Saturated)), x, "saliency", 1)
    assert not found.values.any()
    assert found.notes == ("zero everywhere: no pixel contributes",)


def test_completeness_is_relative_to_what_is_promised() -> None:
    raw = np.array([[[1.0, 2.0]]])
    assert completeness(raw, None) is None
    assert completeness(raw, 0.0) is None
    assert completeness(raw, 3.0) == 0
    assert completeness(raw, -2.0) == pytest.approx(2.5)


def test_classes_go_by_number_and_label() -> None:
    labels = ("cat", "dog", "house cat")
    assert [parse_target(text, labels, 3) for text in ("cat", "2", "house cat")] == [0, 2, 2]
    assert parse_target("7", ("zero", "7"), 9) == 1  # a label that is a number comes first
    assert parse_target("3", ("0", "3"), 2) == 1
    assert parse_target("1", (), 2) == 1
    for text, known, message, hint in (
        ("dgo", labels, "no class is called `dgo`", "did you mean `dog`?"),
        ("zebra", labels, "no class is called `zebra`", "the labels are cat, dog, house cat"),
        ("cat", (), "no class is called `cat`", "the network has no labels: give a number from 0 to 2"),
        ("3", labels, "there is no class 3: the network has 3 classes", "classes count from 0 to 2"),
        ("-1", labels, "there is no class -1: the network has 3 classes", "classes count from 0 to 2"),
        ("9" * 30, labels, f"there is no class {'9' * 30}: the network has 3 classes", "classes count from 0 to 2"),
    ):
        with pytest.raises(CnnscopeError) as caught:
            parse_target(text, known, 3)
        (diagnostic,) = caught.value.diagnostics
        assert (diagnostic.code, diagnostic.message, diagnostic.hint) == ("E482", message, hint)


def test_baselines() -> None:
    x = image(2, 9, 7)
    assert not baseline("zero", x).any()
    mean = baseline("mean", x)
    assert torch.equal(mean[..., :1, :1].expand_as(x), mean)
    torch.testing.assert_close(mean.mean((2, 3)), x.mean((2, 3)))
    blurred = baseline("blur", x)
    assert blurred.shape == x.shape
    assert 0 < blurred.std() < x.std()
    constant = torch.full_like(x, 3.0)
    torch.testing.assert_close(baseline("blur", constant), constant)


def test_black_and_white_are_pixels() -> None:
    from cnnscope.trained.preprocess import Preprocess

    preprocess = Preprocess.of((2 + 1, 4, 4), {"mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.5]})
    x = image(3, 4, 4)
    black, white = (baseline(name, x, preprocess)[0, :, 0, 0].tolist() for name in ("black", "white"))
    assert black == pytest.approx([-5, -2, -0.6])
    assert white == pytest.approx([5, 3, 1.4])


def test_every_file_is_a_method_with_a_source() -> None:
    assert {"saliency", "deeplift", "lrp", "grad-cam-pp"} <= set(METHODS.names())
    titles = set()
    for name in METHODS.names():
        method = METHODS.find(name)
        titles.add(method.title)
        assert method.source
        assert set(method.takes) <= {"baseline", "steps", "layer", "window", "seed"}
    assert len(titles) == len(METHODS.names())


def test_names_of_methods_cost_no_import() -> None:
    code = (
        "import sys; from cnnscope.attribution import methods; methods.METHODS.names(); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("method", ["occlusion", "feature-ablation"])
def test_a_window_larger_than_the_image_is_refused(method: str) -> None:
    x = torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    net = Plain(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)))
    with pytest.raises(CnnscopeError, match="`window` is 7, more than the image's 6 pixels"):
        attribute(net, x, method, 0, window=7)
    assert np.isfinite(attribute(net, x, method, 0, window=6).values).all()
