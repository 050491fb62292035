"""``features`` on the command line: files, documents, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Run
from documents import valid
from PIL import Image
from safetensors.torch import load_file, save_file

import cnnscope

WEIGHTS = Path(cnnscope.__file__).parents[1] / "specs/digits/lenet5-digits.safetensors"


@pytest.fixture
def here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_any_option_it_draws_the_maps_of_a_digit(run: Run, here: Path) -> None:
    outcome = run("features", "-q")
    assert (outcome.code, outcome.err) == (0, "")
    name = "lenet-5-on-digits-features"
    names = {f"{name}{ending}" for ending in (".png", ".json", ".c1.npy", ".c3.npy", ".pixels.npy")}
    assert {file.name for file in here.iterdir()} == names
    assert np.load(here / f"{name}.c3.npy").shape == (16, 10, 10)
    manifest = json.loads((here / f"{name}.json").read_text())
    valid(manifest)
    assert manifest["picture"] == f"{name}.png"
    assert [layer["output_shape"] for layer in manifest["layers"]] == [[6, 28, 28], [16, 10, 10]]
    assert manifest["layers"][0]["max"] == pytest.approx(float(np.load(here / f"{name}.c1.npy").max()))
    with Image.open(here / f"{name}.png") as picture:
        assert picture.size[0] == 1440


def test_files_are_announced_as_json(run: Run, here: Path) -> None:
    outcome = run("features", "--layer", "output", "-o", "x.svg", "-f", "json", "-q")
    document = json.loads(outcome.out)
    valid(document)
    assert [Path(file["path"]).name for file in document["files"]] == [
        "x.svg",
        "x.json",
        "x.output.npy",
        "x.pixels.npy",
    ]
    assert all((here / file["path"]).stat().st_size == file["bytes"] for file in document["files"])


def test_a_page_has_all_there_is_of_a_channel(run: Run, here: Path) -> None:
    words = ("features", "--channel", "c3:8", "--limit", "100", "--steps", "8", "-o", "x.png")
    outcome = run(*words)
    assert outcome.code == 0
    assert "note: alive on 100 images (dead: never varies after tanh); activations " in outcome.err
    assert "note: deconvolution and guided backpropagation, made for ReLU, act on Tanh here\n" in outcome.err
    document = json.loads((here / "x.json").read_text())
    valid(document)
    channel = document["channel"]
    assert (channel["layer"], channel["channel"], channel["data"]["images"]) == ("c3", 8, 100)
    assert channel["kernel"]["nearest_kernel"] == "Sobel y"
    assert channel["projections"] == ["deconvolution", "guided backpropagation"]
    assert (channel["missing"], len(channel["patches"])) == ([], 9)
    maxima = np.load(here / "x.maxima.npy")
    assert [patch["activation"] for patch in channel["patches"]] == sorted(map(float, maxima), reverse=True)[:9]
    assert np.load(here / "x.patches.npy").shape == (9, 1, 32, 32)
    assert np.load(here / "x.maximised.npy").shape == (1, 32, 32)
    content = {file.name: file.read_bytes() for file in here.iterdir()}
    run(*words)
    assert {file.name: file.read_bytes() for file in here.iterdir()} == content


def test_figures_alone_need_no_picture(run: Run, here: Path) -> None:
    assert run("features", "--layer", "c1", "-o", "x.csv", "-q").code == 0
    lines = (here / "x.csv").read_text().splitlines()
    assert lines[0] == "layer,op,shape,min,max,unvarying"
    assert lines[1].startswith('c1,"conv 5x5 6, tanh",6x28x28,-')
    assert run("features", "--channel", "c1:2", "--limit", "20", "--steps", "2", "-o", "y.txt", "-q").code == 0
    assert (
        (here / "y.txt")
        .read_text()
        .startswith("LeNet-5 on digits (lenet5-digits), channel 2 of layer c1 (conv 5x5 6, tanh)\n")
    )
    assert {file.name for file in here.iterdir()} == {"x.csv", "y.txt"}


def test_an_image_and_images_of_ones_own(run: Run, here: Path) -> None:
    folder = here / "data" / "ships"
    folder.mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(
            folder / f"{i}.png"
        )
    (folder / "broken.png").write_bytes(b"")
    words = ("--channel", "s4:1", "--data", "data", "--image", "data/ships/1.png", "--steps", "2", "-o", "x.pdf")
    outcome = run("features", *words)
    assert outcome.code == 0
    assert "note: no kernel: s4 is avgpool 2x2 /2, which has no filters\n" in outcome.err
    channel = json.loads((here / "x.json").read_text())["channel"]
    assert (channel["data"]["images"], channel["data"]["skipped"]) == (3, 1)
    assert {patch["label"] for patch in channel["patches"]} == {"ships"}
    assert np.load(here / "x.map.npy").shape == (5, 5)


def test_without_images_a_page_shows_what_there_is(run: Run, here: Path) -> None:
    outcome = run("features", "lenet5", "--channel", "c1:0", "--steps", "2", "-o", "x.png")
    assert outcome.code == 0
    missing = "no patches, no distribution, unknown whether it is dead: there are no images, name some with `--data`"
    assert f"note: {missing}\n" in outcome.err
    document = json.loads((here / "x.json").read_text())
    valid(document)
    assert (document["channel"]["data"], document["channel"]["missing"]) == (None, [missing])
    assert document["model"]["trained"] is False
    names = {"x.png", "x.json", "x.kernel.npy", "x.maximised.npy"}
    assert {file.name for file in here.iterdir()} == names


MISTAKES = [
    ("--layer c9", "error[E205]: `LeNet-5 on digits` has no layer `c9`\n  = help: the layers are `c1`, `s2`, `c3`, "
     "`s4`, `c5`, `flatten1`, `f6`, `output`\n"),
    ("--layer outptu", "error[E205]: `LeNet-5 on digits` has no layer `outptu`\n  = help: did you mean `output`?\n"),
    ("--channel c3:16", "error[E203]: `c3` has 16 channels, and 16 is none of them\n  = help: channels count from 0\n"),
    ("--channel c3", "error[E409]: `c3` names no channel\n  = help: write LAYER:C, as `--channel c3:5`\n"),
    ("--channel c3:-1", "error[E409]: `c3:-1` names no channel\n  = help: write LAYER:C, as `--channel c3:5`\n"),
    ("--channel c3:1 --layer c1", "error[E409]: `--channel` makes a page about one channel, `--layer` shows maps\n"
     "  = help: ask for one at a time\n"),
    ("--image nowhere.png", "error[E606]: cannot read the image `nowhere.png`: no such file or directory\n"
     "  = help: use a PNG or JPEG file\n"),
    ("--channel c3:1 --data nowhere", "error[E460]: there are no images at `nowhere`: no such file or folder\n"),
    ("-o x.bmp", "error[E404]: `x.bmp` has no known suffix\n  = help: use .svg, .png, .pdf, .json, .csv, .tsv, .md, "
     ".txt, or say -f\n"),
    ("--layer c1 -o nowhere/x.png", "error[E405]: cannot write `nowhere/x.png`: no such file or directory\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_mistakes_leave_no_file(run: Run, here: Path, words: str, message: str) -> None:
    outcome = run("features", *words.split(), "-q")
    assert (outcome.code, outcome.out, outcome.err) == (2, "", message)
    assert list(here.iterdir()) == []


def test_a_network_without_images_asks_for_one(run: Run, here: Path) -> None:
    outcome = run("features", "lenet5", "-q")
    assert outcome.code == 2
    assert outcome.err == (
        "error[E607]: there is no image to look at: `lenet5` comes with none\n"
        "  = help: name one: `--image FILE`, or a set of them: `--data PATH`\n"
    )


def test_weights_that_are_not_finite_leave_no_file(run: Run, here: Path) -> None:
    state = load_file(WEIGHTS)
    state["c3.conv.bias"][4] = torch.nan
    save_file(state, here / "nan.safetensors")
    for words in (("--layer", "c3"), ("--channel", "c3:1")):
        outcome = run("features", "--weights", "nan.safetensors", *words, "-q")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("error[E465]: ")
        hint = "check the weights and preprocessing, or use `--dtype float32`"
        assert outcome.err.endswith(f" of `c3` are not finite\n  = help: {hint}\n")
    assert [file.name for file in here.iterdir()] == ["nan.safetensors"]


def test_torchvision_networks_have_pages_too(run: Run, here: Path) -> None:
    (here / "data").mkdir()
    for i in range(4):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(
            here / f"data/{i}.png"
        )
    words = ("torchvision:squeezenet1_1", "--input", "3x32x32", "--data", "data", "--steps", "2", "-o", "x.png")
    assert run("features", *words, "--channel", "features.1:5").code == 0
    channel = json.loads((here / "x.json").read_text())["channel"]
    assert (channel["kernel"]["layer"], channel["notes"], len(channel["patches"])) == ("features.0", [], 4)
    assert np.load(here / "x.kernel.npy").shape == (3, 3, 3)
