"""`cnnscope equivariance`: what it prints, its formats and its refusals."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from commands import Run
from documents import valid

import cnnscope
from cnnscope.errors import CnnscopeError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FLAT = "cnnscope: 1\nname: flat\ninput: {shape: [7]}\nlayers:\n  - linear: 3\n"
PANORAMA = """\
cnnscope: 1
name: panorama
input: {shape: [3, 16, 16]}
layers:
  - pad: {pad: {left: 1, right: 1}, pad_mode: circular}
  - conv: {out: 4, kernel: 3, pad: [1, 0], name: c1}
  - globalavgpool
"""


def test_sentences_and_layers(run: Run) -> None:
    outcome = run("equivariance", str(EXAMPLES / "circular.yaml"))
    assert (outcome.code, outcome.err) == (0, "")
    text = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert text[2:4] == [
        "circular shifts by multiples of 4 px: exact, the output does not change",
        "other circular shifts: not guaranteed, broken first by pool1: stride 2",
    ]
    assert "conv1 16x32x32 1 exact 87.9 % weights weights -" in text
    assert "output 10 - exact - weights weights -" in text


def test_quiet_has_the_table_alone(run: Run) -> None:
    loud, quiet = (run("equivariance", "lenet5", *words).out for words in ((), ("-q",)))
    assert "interior: positions whose" in loud
    assert "interior: positions whose" not in quiet
    assert "circular shifts" not in quiet
    assert "c1" in quiet


def test_axes_that_differ_have_sentences_of_their_own(run: Run) -> None:
    out = run("equivariance", "-", stdin=PANORAMA).out
    assert "circular shifts along y: not guaranteed, broken first by c1: zero padding\n" in out
    assert "circular shifts along x: exact, the output does not change\n" in out


def test_maps_move_as_the_image_does(run: Run) -> None:
    blur = "blurpool: {stride: 1, pad_mode: circular}"
    spec = f"cnnscope: 1\nname: blur\ninput: {{shape: [3, 8, 8]}}\nlayers:\n  - {blur}\n"
    assert "circular shifts: exact, the output moves as the image does\n" in run("equivariance", "-", stdin=spec).out


def test_json_has_every_layer(run: Run) -> None:
    found = json.loads(run("equivariance", "resnet18", "-f", "json").out)
    valid(found)
    assert found["predictions"][0] == {
        "transform": "circular shifts", "claim": "not_guaranteed", "layer": "conv1", "reason": "zero padding",
        "multiples_px": None,
    }  # fmt: skip
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["conv1"]["interior"] == [[2, 110], [2, 110]]
    assert [shift["unit_px"] for shift in layers["layer4.1.add"]["shifts"]] == [32, 32]
    assert layers["layer4.1.add"]["interior"] is None
    assert (found["image"], found["invariant"], found["unsupported"]) == ([224, 224], True, [])


def test_records_and_files(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert run("equivariance", "lenet5", "-o", str(path)).err == f"wrote {path}\n"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["name"] for row in rows][:2] == ["c1", "s2"]
    assert rows[0]["reason"] == "c1: 32 positions become 28"
    assert rows[1]["unit_px"] == "2 2"


def test_sound_has_one_axis(run: Run) -> None:
    found = json.loads(run("equivariance", "m5", "-f", "json").out)
    assert [p["transform"] for p in found["predictions"]] == ["circular shifts", "left-right flips"]
    assert found["layers"][0]["quarter_turns"]["reason"] == "it has one axis"
    table = run("equivariance", "m5", "-q").out.splitlines()
    at = table[2].index("turns")
    assert {line[at : at + 5].strip() for line in table[3:]} == {"-"}


def test_without_an_image_it_is_refused(run: Run) -> None:
    outcome = run("equivariance", "-", stdin=FLAT)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error[E308]: `flat` takes no image, so there is nothing to shift, flip or turn\n"


def test_from_python() -> None:
    report = cnnscope.equivariance("lenet5")
    assert report.to_dict()["image"] == [32, 32]
    assert str(cnnscope.load("lenet5").equivariance()) == str(report)
    with pytest.raises(CnnscopeError, match="no model"):
        cnnscope.equivariance("lenet55")
