"""The diagram verb: files, their names, what it answers, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnscope.cli.app import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["diagram", *words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "tex", "dot", "json", "mmd"])
def test_the_suffix_picks_the_format(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "lenet5", "-o", str(tmp_path / f"x.{suffix}"))
    assert (code, err) == (0, "")
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "tex": b"\\documentclass", "dot": b"digraph",
              "json": b"{", "mmd": b"flowchart"}  # fmt: skip
    assert (tmp_path / f"x.{suffix}").read_bytes().startswith(starts[suffix])


def test_without_a_file_it_takes_the_models_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "lenet5", "-f", "json")
    (file,) = json.loads(out)["files"]
    assert code == 0
    assert file == {"path": "lenet-5.svg", "kind": "svg", "bytes": (tmp_path / "lenet-5.svg").stat().st_size}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lenet5", "-o", "x.bmp"), "error[E604]: no picture format is called `bmp`\n"
         "  = help: the formats are svg, png, pdf, dot, json, mmd, tex\n"),
        (("lenet5", "-o", "x.pngg"), "error[E604]: no picture format is called `pngg`\n"
         "  = help: did you mean `png`?\n"),
        (("lenet5", "-o", "nowhere/x.svg"), "error[E405]: cannot write `nowhere/x.svg`: no such file or directory\n"),
        (("lenet5", "--view", "volumes", "-o", "x.dot"), "error[E604]: the volumes view is not drawn as `dot`\n"
         "  = help: use svg, png, pdf, tex\n"),
    ],
)  # fmt: skip
def test_what_it_refuses(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(capsys, *words) == (2, "", message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["svg", "pdf", "tex", "md"])
def test_the_sheet_has_its_own_formats(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "lenet5", "--view", "sheet", "-o", str(tmp_path / f"x.{suffix}"))
    assert (code, err) == (0, "")
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "tex": b"% LeNet-5", "md": b"**LeNet-5**"}
    assert (tmp_path / f"x.{suffix}").read_bytes().startswith(starts[suffix])


def test_paper_is_a_former_name_of_the_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "lenet5", "--view", "paper", "-o", str(tmp_path / "x.tex"))
    assert (code, err) == (0, "note: the view `paper` is now called `sheet`\n")


def test_summary_shows_the_sheet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "resnet18", "--view", "sheet"]) == 0
    out = capsys.readouterr().out
    assert "28×28         128  ⎡3×3, 128⎤ ×2" in out
    assert main(["summary", "resnet18", "--view", "sheet", "-f", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == "cnnscope.summary"
    assert main(["summary", "resnet18", "--view", "sheet", "-f", "csv"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "output,channels,layers,count,note,params,macs,rf"
    assert sum(int(line.split(",")[-3]) for line in lines) == 11_689_512


@pytest.mark.parametrize("words", [("lenet5", "--sort", "macs"), ("lenet5", "--level", "op"), ("lenet5", "resnet18")])
def test_a_sheet_is_about_one_network_in_order(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", *words, "--view", "sheet"]) == 2
    assert "error[E409]" in capsys.readouterr().err
