"""``cnnscope compare``: differences with their intervals, what is paired, what cannot be compared."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import Run
from documents import undeclared, validator
from synthetic_outcomes import result
from test_report_cli import FREE

from cnnscope.audits.report import save


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An audit, one of the same images with other answers, and one of other images under another protocol."""
    root = tmp_path_factory.mktemp("audits")
    first = result(images=120)
    steadier = first.outcomes.top1.copy()
    changed = np.random.default_rng(5).random(steadier.shape) < 0.5
    steadier[changed] = np.broadcast_to(first.outcomes.top1_clean[:, None], steadier.shape)[changed]
    second = replace(first, outcomes=replace(first.outcomes, top1=steadier))
    third = result(images=90, seed=3)
    keys = tuple(f"{i:064x}" for i in range(90))
    third = replace(third, facts=replace(third.facts, protocol_hash="00"), outcomes=replace(third.outcomes, key=keys))
    for name, made in (("a", first), ("b", second), ("c", third)):
        (root / name).mkdir()
        save(made, root / name)
    return [str(root / name) for name in "abc"]


def test_the_same_images_are_compared_one_by_one(run: Run, audits: list[str]) -> None:
    outcome = run("compare", *audits[:2])
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == f"{audits[1]} (b) against {audits[0]} (a)"
    assert lines[2].split() == ["probe", "metric", "a", "b", "b", "-", "a", "p"]
    mean = next(line for line in lines if line.startswith("translation mean")).split()
    assert mean[2] == "agreement"
    assert float(mean[4]) > float(mean[3])
    assert mean[-1] == "*"
    assert "120 and 120 images, the same images, paired" in lines
    assert not any("warning" in line for line in lines)


def test_all_metrics_are_shown_when_asked(run: Run, audits: list[str]) -> None:
    plain, verbose = (run("compare", *audits[:2], *words).out.splitlines() for words in ((), ("-v",)))
    assert len(verbose) > len(plain) + 20
    assert sum("kappa" in line for line in verbose) == 4 + 16


def test_other_images_and_protocols_are_warned_about(run: Run, audits: list[str]) -> None:
    outcome = run("compare", audits[0], audits[2])
    assert "warning: the protocols differ: equal names may stand for other pixels (seed, border, margin or preset)" in (
        outcome.out.splitlines()
    )
    assert "the images are not the same (120 and 90, 0 of them the same)" in outcome.out
    assert "120 and 90 images, independent samples" in outcome.out


def test_several_are_compared_with_the_first(run: Run, audits: list[str]) -> None:
    lines = run("compare", *audits).out.splitlines()
    assert [line for line in lines if line.startswith("b: ")] == [f"b: {audits[1]}", f"b: {audits[2]}"]


def test_the_document_keeps_its_schema(run: Run, audits: list[str]) -> None:
    found = json.loads(run("compare", *audits, "-f", "json").out, parse_constant=pytest.fail)
    validator("compare").validate(found)
    assert not undeclared(found, FREE)
    assert [c["paired"] for c in found["comparisons"]] == [True, False]


def test_files_and_records(run: Run, audits: list[str], tmp_path: Path) -> None:
    target = tmp_path / "d.csv"
    outcome = run("compare", *audits[:2], "-o", str(target))
    assert (outcome.out, outcome.err) == ("", f"wrote {target}\n")
    header, *rows = target.read_text().splitlines()
    assert header.startswith("a,b,probe,magnitude,metric,a_value,a_low,a_high,b_value")
    assert len(rows) == 1 + 3 * (4 + 16)


def test_mistakes(run: Run, audits: list[str], tmp_path: Path) -> None:
    assert run("compare", audits[0]).err.startswith("error[E400]: missing argument `B...`")
    outcome = run("compare", audits[0], str(tmp_path))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error[E475]: `{tmp_path}` holds no result of an audit")


def test_a_comparison_is_a_page_too(run: Run, audits: list[str], tmp_path: Path) -> None:
    page = tmp_path / "x.html"
    outcome = run("compare", *audits, "-o", str(page))
    assert (outcome.code, outcome.err) == (0, "")
    text = page.read_text(encoding="utf-8")
    assert "default-src &#39;none&#39;" in text
    assert text.count('<figure class="plot"><svg') == 2
    assert "the protocols differ" in text
    lines = [line for line in run("compare", *audits, "-q").out.splitlines() if " agreement " in line]
    assert len(lines) > 20
    for line in lines:
        figures = re.findall(r"[+-]\d\.\d{3} \[[^]]*\](?: \*)?", line)
        assert all(figure in text for figure in figures)
    every = run("compare", *audits, "-v", "-o", str(page))
    assert every.code == 0
    assert page.read_text(encoding="utf-8").count("<tr>") > text.count("<tr>") + 40


def test_a_page_escapes_what_a_folder_is_called(run: Run, audits: list[str], tmp_path: Path) -> None:
    odd = tmp_path / "<b>&"
    shutil.copytree(audits[0], odd)
    assert run("compare", str(odd), audits[1], "-o", str(tmp_path / "x.html")).code == 0
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;" in text
    assert "<b>&" not in text
