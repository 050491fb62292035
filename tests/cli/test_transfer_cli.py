"""``cnnscope transfer``: the plan, a run on the bundled digits, what it writes and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Run
from documents import valid
from PIL import Image

import cnnscope
from cnnscope import progress

ROOT = Path(cnnscope.__file__).parents[1]
DIGITS = str(ROOT / "specs" / "digits" / "digits.npz")


def test_the_plan_for_thirty_classes(run: Run) -> None:
    outcome = run("transfer", "alexnet", "--classes", "30", "--freeze", "conv*")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("""\
AlexNet (alexnet) for 30 classes

head fc8: linear 1000 is replaced by linear 30, 122,910 parameters; everything else is kept

batch 32                 feature extractor    fine-tuning  frozen conv*
new                                    fc8            fc8           fc8
trained                                  -       7 layers      2 layers
frozen                            7 layers              -      5 layers
parameters trained                 122,910     56,991,134    54,657,054
""")
    assert "MACs backward                      122,880  1,335,452,192    71,548,928\n" in outcome.out


def test_layer_by_layer(run: Run) -> None:
    lines = run("transfer", "alexnet", "--classes", "30", "-v", "-q").out.splitlines()
    assert lines[1].split() == ["conv1", "frozen", "trained"]
    assert lines[8].split() == ["fc8", "new", "new"]


def test_heads_of_training_alone_are_unused(run: Run) -> None:
    found = json.loads(run("transfer", "googlenet", "--classes", "5", "-f", "json").out)
    tuned = valid(found)["strategies"][1]
    parts = {layer["name"]: layer["part"] for layer in tuned["layers"]}
    whole = cnnscope.load("googlenet").summary().to_dict()["totals"]["params"] - 3 * 995 * 1025
    assert (tuned["frozen_params"], tuned["trained_params"] + tuned["unused_params"]) == (0, whole)
    assert parts["loss1.aux1.linear2"] == "unused"
    assert parts["logits.linear1"] == "new"


def test_a_run_on_the_digits(run: Run, tmp_path: Path) -> None:
    weights = tmp_path / "out.safetensors"
    words = ("transfer", "lenet5-digits", "--classes", "10", "--train", DIGITS, "--epochs", "3", "-o", str(weights))
    outcome = run(*words, "-f", "json")
    assert outcome.code == 0, outcome.err
    assert outcome.err.splitlines()[-1] == f"wrote {weights}; load it with `lenet5-digits --weights {weights}`"
    training = valid(json.loads(outcome.out))["training"]
    assert training["strategy"] == "feature extractor"
    assert training["features_cached"] is True
    assert (training["trained_on"], training["held_out"]) == (1437, 360)
    assert training["accuracy"]["value"] > 0.9
    assert training["accuracy"]["low"] < training["accuracy"]["value"] < training["accuracy"]["high"]
    assert training["chance"] < 0.15
    assert len(training["losses"]) == 3
    assert run("weights", "check", "lenet5-digits", str(weights)).code == 0

    loaded = cnnscope.load("lenet5-digits").trained(weights=weights, device="cpu")
    with np.load(DIGITS) as archive:
        test = archive["split"] == "test"
        images, labels = archive["images"][test], archive["labels"][test]
    pixels = [loaded.preprocess.pixels(Image.fromarray(image)) for image in images]
    with torch.no_grad():
        answers = loaded.logits(loaded.input(torch.from_numpy(np.stack(pixels)))).argmax(1).numpy()
    assert int((answers == labels).sum()) == training["correct"]

    again = tmp_path / "again.safetensors"
    run(*words[:-1], str(again), "-q")
    assert again.read_bytes() == weights.read_bytes()


def folder(root: Path, classes: int, count: int) -> Path:
    rng = np.random.default_rng(0)
    for label in range(classes):
        (root / f"class{label}").mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 60, (16, 16), dtype=np.uint8)
            pixels[:, 4 * label : 4 * label + 4] += 180
            Image.fromarray(pixels).save(root / f"class{label}" / f"{i}.png")
    return root


def test_fine_tuning_on_a_folder_and_where_its_weights_fit(run: Run, tmp_path: Path) -> None:
    data, weights = folder(tmp_path / "stripes", 3, 20), tmp_path / "stripes.safetensors"
    outcome = run("transfer", "lenet5", "--classes", "3", "--train", str(data), "--fine-tune", "--epochs", "8",
                  "--batch-size", "8", "-o", str(weights))  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "held out   100.0 % (12 of 12) right, 75.8 to 100.0 % with 95 % confidence" in outcome.out
    assert "always the most frequent class: 33.3 %" in outcome.out
    assert "note: the weights of `LeNet-5` are random: nothing is learned\n" in outcome.err
    call = f"cnnscope.load(cnnscope.load('lenet5').transfer(3).plan.graph).module(weights='{weights}')"
    assert outcome.err.endswith(f"wrote {weights}; load it in Python with `{call}`\n")
    module = eval(call, {"cnnscope": cnnscope})
    assert module(torch.zeros(1, 1, 32, 32)).shape == (1, 3)


def test_a_spec_with_classes_says_how_to_set_them(run: Run, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(
        "cnnscope: 1\nname: Net\ninput: {shape: [1, 16, 16]}\nparams: {classes: 10}\nlayers:\n"
        "  - conv: {out: 4, kernel: 3, norm: batch, act: relu}\n  - globalavgpool\n  - flatten\n  - linear: $classes\n"
    )
    data, weights = folder(tmp_path / "stripes", 3, 6), tmp_path / "w.pt"
    source = str(tmp_path / "net.yaml")
    outcome = run("transfer", source, "--classes", "3", "--train", str(data), "--freeze", "conv1", "--epochs", "1",
                  "-o", str(weights))  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.err.endswith(f"wrote {weights}; load it with `{source} --set classes=3 --weights {weights}`\n")
    assert run("weights", "check", source, str(weights), "--set", "classes=3").code == 0


def test_weights_are_checked_before_anything_else(run: Run) -> None:
    weights = ROOT / "specs" / "digits" / "lenet5-digits.safetensors"
    outcome = run("transfer", "alexnet", "--classes", "3", "--weights", str(weights))
    assert outcome.code == 2
    assert outcome.err.startswith("error[E425]: `lenet5-digits.safetensors` does not fit `AlexNet`")


WRONG = [
    (["--classes", "1"], "error[E495]: a classifier tells 2 classes or more apart, not 1\n"),
    (["--classes", "10", "--freeze", "c9"], "error[E494]: `--freeze c9` matches no layer\n"),
    (["--classes", "10", "--fine-tune", "--freeze", "c1"], "error[E498]: `--fine-tune` trains every layer, `--freeze` "
     "some\n  = help: say one of them\n"),
    (["--classes", "10", "--fine-tune"], "error[E498]: `--fine-tune` needs images\n"),
    (["--classes", "10", "-o", "x.safetensors"], "error[E498]: there are no weights to write to `x.safetensors`\n  = "
     "help: train with `--train PATH`\n"),
    (["--classes", "10", "--lr", "-1", "--train", DIGITS], "error[E498]: `--lr -1` is no learning rate\n"),
    (["--classes", "10", "--train", DIGITS, "-o", "nowhere/x.pt"], "error[E405]: cannot write `nowhere/x.pt`"),
    (["--classes", "10", "--train", "nowhere"], "error[E460]: there are no images at `nowhere`"),
    (["--classes", "30", "--train", DIGITS], f"error[E495]: `{DIGITS}` has 10 classes, not 30\n  = help: say "
     "`--classes 10`\n"),
    (["--classes", "10", "--head", "outpt"], "error[E205]: no layer is called `outpt`\n  = help: did you mean "
     "`output`?\n"),
    (["--classes", "10", "--train", DIGITS, "--lr", "1e30", "--fine-tune"], "error[E497]: the loss is not finite in "
     "epoch 1\n  = help: use a smaller `--lr` than 1e+30\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words).replace(DIGITS, "") for words, _ in WRONG])
def test_mistakes_say_why(run: Run, words: list[str], message: str) -> None:
    outcome = run("transfer", "lenet5-digits", *words, "--device", "cpu")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(message)


def test_a_number_that_is_a_name_is_no_count(run: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\ndef make():\n    return nn.Sequential("
        "nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))\n"
    )
    lines = run("transfer", f"{tmp_path / 'net.py'}:make", "--input", "1x8x8", "--classes", "2", "-q").out.splitlines()
    assert [line.split()[1:] for line in lines[1:4]] == [["layer", "3"] * 2, ["-", "layer", "0"], ["layer", "0", "-"]]
    assert not any(line.startswith("parameters unused") for line in lines)


def test_the_default_network_needs_no_name(run: Run) -> None:
    assert run("transfer", "--classes", "4").out.startswith("LeNet-5 on digits (lenet5-digits) for 4 classes\n")


def test_progress_is_a_bar_on_a_terminal_lines_elsewhere_and_nothing_when_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(quiet: bool) -> str:
        with progress.on_stderr(quiet) as shown:
            shown("reading images", 3, None)
            shown("epoch 1", 50, 200)
        out, err = capsys.readouterr()
        assert out == ""
        return err

    assert told(quiet=False) == told(quiet=True) == ""  # nothing took long
    monkeypatch.setattr(progress, "EVERY", 0.0)
    assert told(quiet=False) == "reading images: 3\nepoch 1: 25 %\n"
    assert told(quiet=True) == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "epoch 1" in told(quiet=False)
