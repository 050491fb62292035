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
         "  = help: use svg, png, pdf\n"),
    ],
)  # fmt: skip
def test_what_it_refuses(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(capsys, *words) == (2, "", message)
    assert list(tmp_path.iterdir()) == []
