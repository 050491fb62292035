"""``cnnscope report``: every form, gates and exit codes, and what is no result."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import Run
from documents import undeclared, validator
from synthetic_outcomes import result

from cnnscope.audits.record import Control
from cnnscope.audits.report import save
from cnnscope.audits.result import AuditResult
from cnnscope.cli.app import main

FREE = ("protocol", "versions")  # keys of an audit whose content has no schema


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("audit")
    save(result(), path)
    return str(path)


def saved(made: AuditResult, path: Path) -> str:
    path.mkdir(exist_ok=True)
    save(made, path)
    return str(path)


def test_the_summary_says_the_verdict_first(run: Run, folder: str) -> None:
    outcome = run("report", folder)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[:4] == [
        "LeNet-5 (lenet5-digits), invariance", "", "audit valid: 2 of 2 controls passed",
        "digits/lenet5.safetensors; 60 of 61 images used, 1 skipped; quick, seed 0, cpu, float32; accuracy "
        "0.967 [0.886, 0.991]",
    ]  # fmt: skip
    titles = [line.split("  ")[0] for line in lines if line and not line.startswith(" ")]
    assert [t for t in titles if t in ("translation", "scale", "rotation", "flip")] == [
        "translation", "scale", "rotation", "flip"
    ]  # fmt: skip
    assert "             0.5 px off the grid" in outcome.out
    assert "             90° on the grid" in outcome.out
    assert "  ok           sampler equals rot90: 2.8e-05 (limit 0.0001); fp32, 32 px" in lines
    assert "  -            shift by 4 px: not guaranteed; measured error 0.27 of the output's norm" in lines
    assert run("report", f"{folder}/audit.json").out == outcome.out


def test_quietly_it_is_the_table_and_the_verdict(run: Run, folder: str) -> None:
    outcome = run("report", folder, "-q")
    assert outcome.out.splitlines()[2] == "audit valid: 2 of 2 controls passed"
    assert "controls\n" not in outcome.out
    assert "intervals" not in outcome.out


def test_the_document_keeps_its_schema(run: Run, folder: str) -> None:
    outcome = run("report", folder, "-f", "json", "--fail-under", "translation@1.agreement=0.2", "--baseline", folder,
                  "--max-regression", "0")  # fmt: skip
    assert outcome.code == 0
    found = json.loads(outcome.out, parse_constant=pytest.fail)
    validator("audit").validate(found)
    assert not undeclared(found, FREE)
    assert [gate["passed"] for gate in found["gates"]] == [True] * 5
    assert found["against"]["paired"] is True
    wrong = {**found, "probes": {**found["probes"], "shear": found["probes"]["scale"]}}
    assert not validator("audit").is_valid(wrong)


def test_records_have_a_line_for_each_magnitude(run: Run, folder: str) -> None:
    header, *rows = run("report", folder, "-f", "csv").out.splitlines()
    assert header.startswith("probe,magnitude,unit,on_grid,transforms,agreement,agreement_low,agreement_high,kappa")
    assert len(rows) == 16
    assert rows[4].startswith("translation,0.5,px,no,1,")


def test_every_kind_of_file_is_written_in_one_go(run: Run, folder: str, tmp_path: Path) -> None:
    names = ["r.html", "r.md", "r.xml", "r.json", "r.csv", "r.tsv", "r.txt"]
    outcome = run("report", folder, *(word for name in names for word in ("-o", str(tmp_path / name))))
    assert (outcome.code, outcome.err) == (0, "")
    assert [line.split()[1] for line in outcome.out.splitlines()[1:] if line] == [
        "html", "markdown", "junit", "json", "csv", "tsv", "text"
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    assert ElementTree.parse(tmp_path / "r.xml").getroot().tag == "testsuites"
    assert (tmp_path / "r.txt").read_text().rstrip("\n") == run("report", folder).out.rstrip("\n")


def test_a_gate_that_fails_is_exit_code_1(run: Run, folder: str) -> None:
    gates = ("--fail-under", "translation@1.agreement=0.5", "--fail-under", "rotation.kappa=0.99")
    outcome = run("report", folder, *gates)
    assert outcome.code == 1
    assert "FAILED: 1 gate failed: rotation.kappa=0.99" in outcome.out
    assert "  ok           translation@1.agreement=0.5: " in outcome.out
    assert "  FAILED       rotation.kappa=0.99: " in outcome.out


def test_a_failed_control_outweighs_gates_and_missing_shards_all(run: Run, tmp_path: Path) -> None:
    made = result(images=20)
    broken = replace(made.facts, controls=(Control("rot90 is exact", False, 0.3, 0.0, "half a pixel off"),))
    invalid = saved(replace(made, facts=broken), tmp_path / "invalid")
    outcome = run("report", invalid, "--fail-under", "scale.agreement=1")
    assert outcome.code == 4
    assert "NOT VALID: 1 control failed: rot90 is exact" in outcome.out
    incomplete = saved(replace(made, facts=replace(broken, shards=3, shards_done=2)), tmp_path / "incomplete")
    outcome = run("report", incomplete)
    assert outcome.code == 5
    assert "INCOMPLETE: 2 of 3 shards are there; run the audit again to go on" in outcome.out
    assert run("report", incomplete, "-o", str(tmp_path / "r.xml")).code == 5
    assert "errors=" in (tmp_path / "r.xml").read_text()


def test_gates_of_the_audit_stay_until_others_are_asked(run: Run, folder: str, tmp_path: Path) -> None:
    from cnnscope.audits.report import judged

    made = judged(result(), ["translation@8.agreement=0.99"], ("old", result()), 0.01)
    path = saved(made, tmp_path / "gated")
    assert run("report", path).code == 1
    assert run("report", path, "--fail-under", "translation@1.agreement=0.1").code == 0
    found = json.loads(run("report", path, "--fail-under", "translation@1.agreement=0.1", "-f", "json").out)
    assert found["gates"][0]["expression"] == "translation@1.agreement=0.1"
    assert [gate["difference"] for gate in found["gates"]] == [False, True, True, True, True]
    assert found["against"]["a"]["source"] == "old"


MISTAKES = [
    (("--fail-under", "translation@3.agreement=0.9"), "error[E477]: `translation@3.agreement=0.9`: the audit has no "
     "translation@3\n  = help: it has translation@1, translation@2, translation@4, translation@8, translation@0.5\n"),
    (("--fail-under", "rotation.agree=0.9"), "error[E476]: `rotation.agree=0.9`: no metric is called `agree`\n"
     "  = help: did you mean `agreement`?\n"),
    (("--max-regression", "0.1"), "error[E409]: `--max-regression` is from a `--baseline`\n  = help: name an audit's "
     "folder\n"),
    (("-o", "x.xyz"), "error[E404]: `x.xyz` has no known suffix\n  = help: use .html, .htm, .md, .xml, .json, .csv, "
     ".tsv, .txt, .svg, .png, .pdf\n"),
    (("-o", "nowhere/x.html"), "error[E405]: cannot write `nowhere/x.html`: no such file or directory\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_mistakes(run: Run, folder: str, words: tuple[str, ...], message: str) -> None:
    outcome = run("report", folder, *words)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", message)


def test_what_is_no_result_is_refused(run: Run, tmp_path: Path) -> None:
    outcome = run("report", str(tmp_path))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error[E475]: `{tmp_path}` holds no result of an audit: there is no `audit.json` in it\n"


def test_unknown_is_said_and_never_zero(run: Run, tmp_path: Path) -> None:
    made = result(images=20, labels=False)
    path = saved(made, tmp_path / "unlabelled")
    outcome = run("report", path)
    assert "accuracy ?" in outcome.out.splitlines()[3]
    (row,) = [line for line in outcome.out.splitlines() if line.startswith(" " * 13 + "4 px")]
    assert row.split()[-2] == "?"
    found = json.loads(run("report", path, "-f", "json").out)
    assert found["accuracy"] == {"value": None, "low": None, "high": None}
    assert run("report", path, "-f", "csv").out.splitlines()[1].count(",,") > 0
    assert run("report", path, "--fail-under", "scale.accuracy=0.1").err == (
        "error[E477]: `scale.accuracy=0.1`: the images have no labels\n"
    )


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "audit-report.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", page, re.M | re.S)
    (script,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    (tmp_path / "audits").mkdir()
    for name, seed in (("old", 0), ("new", 1)):
        saved(result(images=80, seed=seed), tmp_path / "audits" / name)
    monkeypatch.chdir(tmp_path)
    for command in commands.splitlines():
        words = shlex.split(command)
        assert words.pop(0) == "cnnscope"
        assert main(words) == 0, command
    exec(script, {})


FIGURES = 1 + 2 + 1 + 1 + 4
"""The title; curves of translation and scale; the map of offsets; the circle of angles; layers of each probe."""


@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_the_figures_alone_are_a_picture(run: Run, folder: str, tmp_path: Path, form: str) -> None:
    contents = []
    for name in ("one", "two"):
        outcome = run("report", folder, "-o", str(tmp_path / f"{name}.{form}"))
        assert (outcome.code, outcome.err) == (0, "")
        contents.append((tmp_path / f"{name}.{form}").read_bytes())
    assert contents[0] == contents[1]
    if form == "svg":
        root = ElementTree.fromstring(contents[0])
        parts = [child for child in root if child.tag.endswith("svg")]
        assert len(parts) == FIGURES
        ids = re.findall(rb' id="([^"]*)"', contents[0])
        assert len(ids) == len(set(ids))
        assert not re.findall(rb"#(?:0[1-5]){3}|#11010[1-3]|#2[012][0-9a-f]{2}00\b", contents[0]), "a stand-in is left"
        boxes = [[float(part.get(key, "")) for key in ("x", "y", "width", "height")] for part in parts]
        for i, (x, y, w, h) in enumerate(boxes):
            assert x + w <= float(root.get("width", "").removesuffix("pt"))
            assert y + h <= float(root.get("height", "").removesuffix("pt"))
            assert all(x + w <= a or a + c <= x or y + h <= b or b + d <= y for a, b, c, d in boxes[:i])
    elif form == "png":
        assert contents[0].startswith(b"\x89PNG")
    else:
        assert len(re.findall(rb"/Type /Page\b", contents[0])) == FIGURES
