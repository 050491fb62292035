"""``filters`` on the command line: the default, tables and documents, the atlas with what is beside it, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from documents import valid
from PIL import Image
from safetensors.torch import load_file, save_file

from cnnscope.sources import zoo

WEIGHTS = zoo.folder() / "digits" / "lenet5-digits.safetensors"


def document(run: Run, *words: str) -> Any:
    outcome = run("filters", *words, "-q", "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    return valid(json.loads(outcome.out))


def test_alone_it_shows_the_first_layer_of_the_trained_digits(run: Run) -> None:
    outcome = run("filters")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "LeNet-5 on digits (lenet5-digits), c1: 6 filters of 1x5x5"
    assert lines[2].split() == ["filter", "norm", "angle", "p", "octaves", "nearest", "kernel", "|cos|", "p", "twin",
                                "|cos|", "p", "dead"]  # fmt: skip
    assert sorted(int(line.split()[0]) for line in lines[3:9]) == list(range(6))
    assert "weights lenet5-digits.safetensors" in lines
    assert "dead on 360 images: never varies after tanh" in lines


def test_the_document_has_every_figure_and_its_chance(run: Run) -> None:
    found = document(run, "--layer", "c1", "--layer", "c3", "--sort", "redundancy")
    assert [layer["shape"] for layer in found["layers"]] == [[6, 1, 5, 5], [16, 6, 5, 5]]
    stored = load_file(WEIGHTS)
    for layer in found["layers"]:
        weights = next(t for key, t in stored.items() if key.startswith(layer["name"]) and t.ndim == 4).numpy()
        assert layer["largest_weight"] == pytest.approx(float(np.abs(weights).max()))
        cosines = [one["redundancy"] for one in layer["filters"]]
        assert cosines == sorted(cosines, reverse=True)
        for one in layer["filters"]:
            assert one["norm"] == pytest.approx(float(np.linalg.norm(weights[one["filter"]])), rel=1e-5)
            pair = weights[one["filter"]].ravel(), weights[one["twin"]].ravel()
            cosine = abs(float(pair[0] @ pair[1])) / float(np.linalg.norm(pair[0]) * np.linalg.norm(pair[1]))
            assert one["redundancy"] == pytest.approx(cosine, abs=1e-4)
    assert found["model"]["trained"] is True
    assert found["data"] == {"images": 360, "skipped": 0}


def test_random_weights_resemble_nothing_more_than_chance(run: Run) -> None:
    (layer,) = document(run, "lenet5", "--layer", "c5", "--seed", "3")["layers"]
    found = sum(one["similarity_p"] < 0.05 for one in layer["filters"])
    assert found <= 14  # 120 filters, 6 expected; more than 14 once in a thousand times
    assert layer["dead"] is None


def test_several_layers_make_one_table(run: Run) -> None:
    outcome = run("filters", "lenet5", "--layer", "c3", "--layer", "c1", "-q")
    headings = [line for line in outcome.out.splitlines() if "filters of" in line]
    assert [line.split()[0] for line in headings] == ["c3:", "c1:"]
    records = run("filters", "lenet5", "--layer", "c3", "--layer", "c1", "-q", "-f", "csv").out.splitlines()
    assert len(records) == 1 + 16 + 6


def test_the_atlas_has_its_arrays_and_its_figures_beside_it(run: Run, tmp_path: Path) -> None:
    outcome = run("filters", "--layer", "c1", "--layer", "c3", "-q", "-o", str(tmp_path / "x.png"), "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    names = [Path(file["path"]).name for file in json.loads(outcome.out)["files"]]
    assert names == ["x.png", "x.json", "x.c3.npy", "x.c1.npy"]
    manifest = json.loads((tmp_path / "x.json").read_text())
    valid(manifest)
    assert manifest["arrays"] == {"c1": "x.c1.npy", "c3": "x.c3.npy"}
    stored = next(t for key, t in load_file(WEIGHTS).items() if key.startswith("c3") and t.ndim == 4)
    np.testing.assert_array_equal(np.load(tmp_path / "x.c3.npy"), stored.numpy())
    with Image.open(tmp_path / "x.png") as image:
        assert image.width == 1440


def test_pictures_are_the_same_twice(run: Run, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        assert run("filters", "-q", "-o", str(tmp_path / name)).code == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_dead_filters_need_images(run: Run, tmp_path: Path) -> None:
    Image.new("L", (32, 32)).save(tmp_path / "black.png")
    (layer,) = document(run, "--data", str(tmp_path))["layers"]
    assert layer["dead"] == 6  # one plain image: no filter varies
    assert "dead" not in run("filters", "lenet5", "-q").out


def test_weights_that_diverged_write_nothing(run: Run, tmp_path: Path) -> None:
    state = load_file(WEIGHTS)
    key = next(key for key, tensor in state.items() if key.startswith("c1") and tensor.ndim == 4)
    state[key][0, 0, 0, 0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    outcome = run("filters", "--weights", str(tmp_path / "nan.safetensors"), "-q", "-o", str(tmp_path / "x.png"))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error[E486]: 1 of the 150 weights of `c1` is not finite\n"
        "  = help: its training diverged, or the file is damaged\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nan.safetensors"]


FAILURES = [
    (["--layer", "cc1"], "error[E205]: `LeNet-5 on digits` has no layer `cc1`\n  = help: did you mean `c1`?\n"),
    (["--layer", "f6"], "error[E485]: `f6` has no filters, it is `linear`\n  = help: layers with filters: `c1`, `c3`, "
     "`c5`\n"),
    (["--layer", "s2"], "error[E485]: `s2` has no filters, it is `avgpool`\n  = help: layers with filters: `c1`, `c3`, "
     "`c5`\n"),
    (["--data", "nowhere"], "error[E460]: there are no images at `nowhere`: no such file or folder\n"),
    (["--weights", "blocks.yaml"], "error[E420]: "),
    (["-o", "x.bmp"], "error[E404]: `x.bmp` has no known suffix\n"),
    (["--sort", "size"], "error[E400]: invalid value for `--sort`: `size` is not one of `norm`, `orientation`, "
     "`redundancy`\n"),
    (["mlp", "-q"], "error[E485]: `MLP` has no filters: none of its layers is a convolution\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), FAILURES, ids=[" ".join(words) for words, _ in FAILURES])
def test_bad_input_is_answered(run: Run, words: list[str], message: str) -> None:
    outcome = run("filters", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(message)


def test_networks_that_are_no_classifiers_have_filters_too(run: Run) -> None:
    outcome = run("filters", "unet", "--layer", "level2.double1.conv1", "-f", "json")
    assert outcome.code == 0
    assert outcome.err.startswith("note: the weights of `U-Net` are random: nothing is learned\n")
    assert len(json.loads(outcome.out)["layers"][0]["filters"]) == 128


FACTORY = """\
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
"""


def test_code_of_the_users_is_announced_once_and_one_filter_is_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FACTORY)
    Image.new("L", (8, 8), 200).save(tmp_path / "a.png")
    outcome = run("filters", f"{tmp_path / 'net.py'}:make", "--input", "1x8x8", "--data", str(tmp_path))
    assert (outcome.code, outcome.err.count("note: ran the code of")) == (0, 1)
    assert outcome.out.splitlines()[0].endswith("0: 1 filter of 1x3x3")
    assert "dead on 1 image: never above 0 after relu" in outcome.out


def test_a_folder_that_is_not_there_is_found_out_before_working(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "x.png"
    outcome = run("filters", "--weights", "nowhere.pt", "-o", str(path))
    assert (outcome.code, outcome.err) == (2, f"error[E405]: cannot write `{path}`: no such file or directory\n")
