"""``diff`` on the command line: what it prints, writes and refuses, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from commands import Run
from documents import valid, validator

from cnnscope.render.diagram import difference
from cnnscope.render.diagram.layout import LayoutTimeout

FIRST = """\
cnnscope: 1
name: First
input: {shape: [1, 8, 8]}
layers:
  - conv: {out: 2, kernel: 3, name: c}
  - dropout: {name: d}
  - maxpool: {kernel: 2, name: p}
  - flatten: {name: v}
  - linear: {out: 10, name: f}
"""
SECOND = (
    FIRST.replace("First", "Second").replace("kernel: 3,", "kernel: 3, act: relu,").replace("out: 10", "out: 20")
    .replace("  - dropout: {name: d}\n", "")
)  # fmt: skip
TABLE = """\
First (a.yaml) -> Second (b.yaml)

parameters  210 -> 400 (+190)
MACs        828 -> 1,008 (+180)
RF          4x4

   layer  type                             output    delta params  delta MACs  RF     changed
=  input  input                            1x8x8                               -
~  c      conv 3x3 2 -> conv 3x3 2 + relu  2x6x6                0           0  3x3
-  d      dropout 0.5                      2x6x6                0           0  3x3
=  p      maxpool 2x2 /2                   2x3x3                               4x4
=  v      flatten                          18                                  4x4
~  f      linear 10 -> linear 20           10 -> 20          +190        +180  image
"""


@pytest.fixture
def compare(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``diff a.yaml b.yaml`` in a folder of its own."""
    (tmp_path / "a.yaml").write_text(FIRST)
    (tmp_path / "b.yaml").write_text(SECOND)
    monkeypatch.chdir(tmp_path)
    return lambda *words: run("diff", "a.yaml", "b.yaml", *words)


def test_the_table_says_what_is_gone_and_changed(compare: Run) -> None:
    outcome = compare("-q")
    assert (outcome.code, outcome.out, outcome.err) == (1, TABLE, "")
    assert compare().out.splitlines()[-2] == "3 equal, 2 changed, 1 only in the first"


def test_equal_architectures_exit_with_0_and_are_one_line(run: Run) -> None:
    outcome = run("diff", "lenet5", "lenet5", "-q")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "=  ... 9 equal layers"
    assert run("diff", "lenet5", "lenet5", "-q", "-v").out.count("\n=") == 9


def test_the_other_formats_hold_every_row(compare: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(compare("-f", "csv").out)))
    assert [(row["change"], row["name_a"], row["name_b"]) for row in rows] == [
        ("=", "input", "input"), ("~", "c", "c"), ("-", "d", ""), ("=", "p", "p"), ("=", "v", "v"), ("~", "f", "f"),
    ]  # fmt: skip
    assert (rows[-1]["delta_params"], rows[-1]["changed"]) == ("190", "op output_shape params")
    assert compare("-f", "markdown").out.startswith("**First (a.yaml) -> Second (b.yaml)**")


def test_the_document_keeps_its_schema_and_adds_up(compare: Run) -> None:
    outcome = compare("-f", "json")
    found = json.loads(outcome.out)
    valid(found)
    assert found["format"] == "cnnscope.diff"
    assert outcome.code == 1
    assert found["equal"] is False
    assert [row["change"] for row in found["layers"]] == ["=", "~", "-", "=", "=", "~"]
    assert found["totals"]["delta"]["params"] == sum(row["delta"]["params"] for row in found["layers"]) == 190
    assert found["totals"]["delta"]["macs"] == sum(row["delta"]["macs"] for row in found["layers"]) == 180
    broken: dict[str, Any] = {**found, "layers": [{**found["layers"][0], "change": "?"}]}
    assert not validator().is_valid(broken)


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b'digraph "First -> Second"')],
)
def test_pictures_are_the_same_bytes_every_time(compare: Run, tmp_path: Path, suffix: str, start: bytes) -> None:
    target = tmp_path / f"d.{suffix}"
    outcome = compare("-o", str(target), "-f", "json")
    first = target.read_bytes()
    assert (outcome.code, outcome.err) == (1, "")
    assert json.loads(outcome.out)["files"] == [{"path": str(target), "kind": suffix, "bytes": len(first)}]
    validator().validate(json.loads(outcome.out))
    assert first.startswith(start)
    compare("-o", str(target))
    assert target.read_bytes() == first


def test_the_figure_says_by_sign_what_it_says_by_colour(compare: Run, tmp_path: Path) -> None:
    compare("-o", "d.svg")
    elements = ElementTree.parse(tmp_path / "d.svg").iter()
    texts = ["".join(element.itertext()) for element in elements if element.tag.endswith("}text")]
    assert [texts.count(sign) for sign in ("=", "~", "\N{MINUS SIGN}", "+")] == [4, 3, 2, 0]  # one each in the legend
    assert "only in First" in [text.strip() for text in texts]
    assert "+190 params · +180 MACs" in texts


def test_names_cannot_break_the_figure(run: Run, tmp_path: Path) -> None:
    hostile = json.dumps('<b>"&\\N</b> \U0001f40d שלום ]]>')
    (tmp_path / "h.yaml").write_text(FIRST.replace("First", hostile))
    assert run("diff", "lenet5", str(tmp_path / "h.yaml"), "-o", str(tmp_path / "h.svg")).code == 1
    texts = "".join("".join(text.itertext()) for text in ElementTree.parse(tmp_path / "h.svg").iter())
    assert '<b>"&\\N</b>' in texts


def test_what_cannot_be_written_is_refused_and_leaves_nothing(compare: Run, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    outcome = compare("-o", "d.gif")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error[E404]: `d.gif` has no known suffix\n"
        "  = help: use .svg, .png, .pdf, .dot, .json, .csv, .tsv, .md, .txt, or say -f\n"
    )
    assert compare("-o", "no/d.svg").err == "error[E405]: cannot write `no/d.svg`: no such file or directory\n"
    assert sorted(tmp_path.iterdir()) == before


def test_a_figure_that_takes_too_long_is_given_up(
    compare: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> bytes:
        raise LayoutTimeout

    monkeypatch.setattr(difference, "draw", slow)
    outcome = compare("-o", "d.svg")
    assert (outcome.code, (tmp_path / "d.svg").exists()) == (2, False)
    assert outcome.err == (
        "error[E605]: Graphviz did not lay the figure out in time\n"
        "  = help: write `-o figure.dot`, or the table: `-o figure.md`\n"
    )


def test_both_networks_have_to_be_there(run: Run) -> None:
    outcome = run("diff", "lenet5", "lenet6")
    assert outcome.code == 2
    assert outcome.err.startswith("error[E401]: no model is called `lenet6`\n  = help: did you mean `lenet5`")
    assert run("diff", "lenet5").code == 2
