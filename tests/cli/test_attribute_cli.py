"""``attribute`` on the command line: a picture, arrays and a manifest, or an error and nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Run
from documents import validator
from PIL import Image

import cnnscope

DIGITS = Path(cnnscope.__file__).parents[1] / "specs" / "digits"
SOURCE = ("attribute", "lenet5-digits")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A palette image of another size than the network reads."""
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    y, x = np.mgrid[:40, :50]
    Image.fromarray((4 * x + y).astype(np.uint8)).convert("P").save(path)
    return path


def test_without_options_it_explains_a_bundled_digit(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnscope.cli.app import main

    del run
    monkeypatch.chdir(tmp_path)
    assert main(["attribute"]) == 0
    manifest = json.loads((tmp_path / "lenet-5-on-digits-attribution.json").read_text())
    assert manifest["picture"] == "lenet-5-on-digits-attribution.png"
    written = {path.name for path in tmp_path.iterdir()}
    arrays = [tile["array"] for tile in manifest["tiles"]]
    assert written == {*arrays, manifest["picture"], "lenet-5-on-digits-attribution.json"}
    assert len(arrays) == 8
    network = cnnscope.load("lenet5-digits").trained()
    for tile in manifest["tiles"]:
        values = np.load(tmp_path / tile["array"])
        assert values.shape == (1, *network.input_shape[1:])
        assert abs(values).max() == pytest.approx(abs(tile["extreme"]))
        assert tile["probability"] > 0.9
        assert tile["label"] == str(tile["target"])
    by_method = {tile["method"]: tile for tile in manifest["tiles"]}
    assert by_method["integrated-gradients"]["completeness"]["relative_error"] < 0.01
    assert by_method["deeplift"]["completeness"]["relative_error"] < 1e-4
    assert by_method["saliency"]["completeness"] is None
    assert (by_method["deeplift"]["baseline"], by_method["saliency"]["baseline"]) == ("zero", None)
    with Image.open(tmp_path / manifest["picture"]) as picture:
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_the_document_keeps_the_contract(run: Run, photo: Path, tmp_path: Path) -> None:
    outcome = run(*SOURCE, "--image", str(photo), "-m", "saliency", "-m", "deeplift", "--target", "7", "--baseline",
                  "white", "-f", "json", "-o", str(tmp_path / "out.svg"), "-q")  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    validator("attribution").validate(found)
    validator().validate(found)
    assert json.loads((tmp_path / "out.json").read_text()) == found
    assert [(tile["method"], tile["target"], tile["label"], tile["baseline"]) for tile in found["tiles"]] == [
        ("saliency", 7, "7", None), ("deeplift", 7, "7", "white"),
    ]  # fmt: skip
    assert found["image"] == "photo.png"
    assert (tmp_path / "out.svg").read_text().startswith("<?xml")


def test_checkpoints_make_a_row_each(run: Run, tmp_path: Path) -> None:
    files = [DIGITS / f"{name}.safetensors" for name in ("lenet5-digits", "lenet5-digits-augmented")]
    options = [word for file in files for word in ("--weights", str(file))]
    outcome = run(*SOURCE, *options, "-m", "saliency", "-o", str(tmp_path / "two.png"))
    assert outcome.code == 0
    assert outcome.err == f"wrote {tmp_path / 'two.png'}, 2 arrays and two.json\n"
    tiles = json.loads((tmp_path / "two.json").read_text())["tiles"]
    assert [tile["weights"] for tile in tiles] == [file.name for file in files]
    assert len({tile["weights_sha256"] for tile in tiles}) == 2
    assert len({tile["target"] for tile in tiles}) == 1
    with Image.open(tmp_path / "two.png") as picture:
        assert picture.height > picture.width


def test_a_table_without_a_picture(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    outcome = run(*SOURCE, "-m", "deeplift", "-m", "grad-cam", "-o", str(target))
    assert outcome.code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    heading, *lines = target.read_text().splitlines()
    assert heading == "method,weights,target,label,probability,baseline,extreme,relative_error,notes,array"
    assert [line.split(",")[0] for line in lines] == ["deeplift", "grad-cam"]
    assert "10x10 maps of c3, enlarged" in lines[1]


BAD = [
    ("-m salency", "error[E481]: no method of attribution is called `salency`\n  = help: did you mean `saliency`?\n"),
    ("--target nine", "error[E482]: no class is called `nine`\n  = help: the labels are 0, 1, 2, 3, 4, 5, 6, 7, 8, "
     "9\n"),
    ("--target 10", "error[E482]: there is no class 10: the network has 10 classes\n  = help: classes count from 0 to "
     "9\n"),
    ("--baseline grey -m deeplift", "error[E481]: no baseline is called `grey`\n  = help: there are zero, mean, blur, "
     "black, white\n"),
    ("--layer c9 -m grad-cam", "error[E205]: no layer is called `c9`\n  = help: the layers are c1, s2, c3, s4, c5, "
     "flatten1, f6, output, ...\n"),
    ("--layer f6 -m grad-cam", "error[E480]: `f6` gives 84 numbers, not feature maps\n  = help: name a convolution, or "
     "a layer after one: `--layer NAME`\n"),
    ("-o x.bmp", "error[E404]: `x.bmp` has no known suffix\n  = help: use .svg, .png, .pdf, .json, .csv, .tsv, .md, "
     ".txt, or say -f\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words for words, _ in BAD])
def test_mistakes_are_answered_and_nothing_is_written(run: Run, tmp_path: Path, words: str, message: str) -> None:
    place = () if "-o" in words else ("-o", str(tmp_path / "out.png"))
    outcome = run(*SOURCE, *words.split(), *place)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", message)
    assert list(tmp_path.iterdir()) == []


def test_images_of_nothing_are_refused(run: Run, tmp_path: Path) -> None:
    flat, text, out = tmp_path / "flat.png", tmp_path / "text.png", tmp_path / "out.png"
    Image.new("RGB", (32, 32), "white").save(flat)
    text.write_text("no image")
    outcome = run(*SOURCE, "--image", str(flat), "-o", str(out))
    assert (outcome.code, outcome.err) == (
        2, "error[E483]: the image is constant: no pixel differs from another\n  = help: use another image\n",
    )  # fmt: skip
    outcome = run(*SOURCE, "--image", str(text), "-o", str(out))
    assert outcome.err.startswith(f"error[E606]: cannot read the image `{text}`: it is no image of a known format")
    assert not out.exists()


def test_a_network_without_images_wants_one(run: Run) -> None:
    outcome = run("attribute", "lenet5", "-q")
    assert (outcome.code, outcome.err) == (
        2, "error[E483]: there is no image to look at: none comes with `lenet5`\n  = help: name one: `--image FILE`\n",
    )  # fmt: skip


MIXED = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.fc = nn.Conv2d(1, 4, 3), nn.LayerNorm([4, 6, 6]), nn.Linear(144, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))
"""


def test_methods_a_network_cannot_have_are_left_out_unless_named(run: Run, photo: Path, tmp_path: Path) -> None:
    model = tmp_path / "net.py"
    model.write_text(MIXED)
    words = ("attribute", f"{model}:Net", "--input", "1x8x8", "--image", str(photo))
    reason = "`lrp` cannot take the LayerNorm at `norm`: it has no rule that conserves relevance"
    outcome = run(*words, "-o", str(tmp_path / "out.png"))
    assert outcome.code == 0, outcome.err
    assert f"note: without lrp: {reason}\n" in outcome.err
    methods = [tile["method"] for tile in json.loads((tmp_path / "out.json").read_text())["tiles"]]
    assert "lrp" not in methods
    assert "deeplift" in methods
    outcome = run(*words, "-m", "lrp", "-o", str(tmp_path / "lrp.png"))
    assert outcome.code == 2
    assert outcome.err.endswith(f"error[E480]: {reason}\n  = help: `deeplift` and `integrated-gradients` can\n")
    assert not (tmp_path / "lrp.png").exists()


def test_the_picture_says_that_random_weights_have_learned_nothing(run: Run, tmp_path: Path) -> None:
    trained, fresh = tmp_path / "trained.svg", tmp_path / "fresh.svg"
    outcome = run("attribute", "-m", "saliency", "-o", str(trained))
    assert outcome.err == f"wrote {trained}, 1 array and trained.json\n"
    picture = Image.new("L", (28, 28))
    picture.putpixel((9, 9), 255)
    picture.save(tmp_path / "dot.png")
    outcome = run("attribute", "lenet5", "--image", str(tmp_path / "dot.png"), "-m", "saliency", "-o", str(fresh))
    assert outcome.code == 0, outcome.err
    assert "nothing is learned" in fresh.read_text()
    assert "nothing is learned" not in trained.read_text()
