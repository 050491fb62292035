"""``cnnscope ablate``: its table, its records, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from commands import Run

import cnnscope

LECTURE = ("ablate", "alexnet", "--remove", "conv3,conv4", "--remove", "fc7", "--remove", "fc6,fc7",
           "--remove", "conv3,conv4,fc6,fc7")  # fmt: skip


def test_the_lectures_table(run: Run) -> None:
    outcome = run(*LECTURE, "-q")
    assert (outcome.code, outcome.err) == (0, "")
    assert (
        outcome.out
        == """\
removed                 layers      params   change         MACs   change       RF  output
nothing                     16  60,965,224           724,406,816           195x195    1000
conv3, conv4                14  59,268,712   -2.8 %  437,826,080  -39.6 %  131x131    1000
fc7                         15  44,183,912  -27.5 %  707,629,600   -2.3 %  195x195    1000
fc6, fc7                    14  11,551,080  -81.1 %  675,000,864   -6.8 %  195x195    1000
conv3, conv4, fc6, fc7      12   9,854,568  -83.8 %  388,420,128  -46.4 %  131x131    1000
"""
    )


def test_the_document_has_the_intact_model_first(run: Run) -> None:
    found = json.loads(run(*LECTURE, "-f", "json").out)
    assert [variant["removed"] for variant in found["variants"]] == [
        [], ["conv3", "conv4"], ["fc7"], ["fc6", "fc7"], ["conv3", "conv4", "fc6", "fc7"],
    ]  # fmt: skip
    intact = json.loads(run("summary", "alexnet", "-f", "json").out)["totals"]
    assert {key: found["variants"][0][key] for key in ("params", "macs", "layers")} == {
        key: intact[key] for key in ("params", "macs", "layers")
    }
    assert found["variants"][0]["delta"] == {"params": 0, "macs": 0}
    assert found["variants"][2]["delta"]["params"] == -(4096 * 4096 + 4096)
    assert found["variants"][2]["outputs"] == [{"name": "fc8", "shape": [1000]}]


def test_records_have_a_line_a_variant(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run(*LECTURE, "-f", "csv").out)))
    assert [row["removed"] for row in rows][1:3] == ["conv3 conv4", "fc7"]
    assert [row["receptive_field"] for row in rows][:2] == ["195x195", "131x131"]


def test_it_can_be_asked_in_python() -> None:
    report = cnnscope.load("alexnet").ablate("fc7", ["conv3", "conv4"])
    assert [variant.removed for variant in report.variants] == [(), ("fc7",), ("conv3", "conv4")]
    assert cnnscope.load(report.variants[1].graph).summary().summary.totals.params == 44_183_912


def test_a_small_change_is_not_said_to_be_none(run: Run) -> None:
    lines = run("ablate", "vgg16", "--remove", "fc8", "--remove", "conv1_1,conv1_2", "-q").out.splitlines()
    changes = [[word for word in re.split("  +", line) if word.endswith("%")] for line in lines[2:]]
    params, macs = 138_357_544, 15_470_264_320
    assert changes[0] == [f"{-100 * 4_097_000 / params:+.1f} %", f"{-100 * 4_096_000 / macs:+.2f} %"]
    assert changes[0][1] == "-0.03 %"


UNKNOWN = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return torch.fft.fft2(self.a(x)).real
"""


def test_unknown_costs_are_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(UNKNOWN)
    outcome = run("ablate", f"{tmp_path / 'net.py'}:Net", "--input", "3x8x8", "--remove", "a", "-f", "json")
    assert outcome.code == 0, outcome.err
    assert all(variant["lower_bound"] and variant["unsupported"] for variant in json.loads(outcome.out)["variants"])


WRONG = [
    ("ablate lenet5", "error[E400]: missing option `--remove`\n"
     "  = help: `cnnscope ablate --help` shows what there is\n"),
    ("ablate lenet5 --remove s2,", "error[E490]: `--remove s2,` names no layer\n"
     "  = help: write `--remove conv3,conv4`\n"),
    ("ablate lenet5 --remove pool1", "error[E205]: no layer is called `pool1`\n"
     "  = help: `cnnscope summary` lists the layers\n"),
    ("ablate conv-200 --remove hidden", "error[E490]: removing `hidden` leaves no layer between input and output\n"),
    ("ablate resnet18 --remove layer1.0.add", "error[E490]: removing `layer1.0.add` leaves 2 values in its place: "
     "`layer1.0.conv2` (64x56x56) and `maxpool` (64x56x56)\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[words for words, _ in WRONG])
def test_mistakes_say_why(run: Run, words: str, message: str, tmp_path: Path) -> None:
    outcome = run(*words.split(), "-o", str(tmp_path / "out.json"))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(message)
    assert not list(tmp_path.iterdir())
