"""``attribute --trust`` on the command line: a table with controls, a document, a strip in the picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from documents import validator
from PIL import Image

from cnnscope.attribution.finding import Finding, place, said
from cnnscope.attribution.montage import Tile, montage
from cnnscope.progress import Progress
from cnnscope.trust.scene import Subject
from cnnscope.trust.session import examine

WORDS = ("attribute", "lenet5-digits", "-m", "saliency", "-m", "input-x-gradient")
CHECKS = ["completeness", "randomisation_signed", "randomisation_absolute", "insertion", "deletion", "shift", "scale",
          "rotation", "quarter_turn"]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _examined_once() -> Iterator[None]:
    """All tests here show one image to one network, in several forms: each method is examined once."""
    known: dict[str, Any] = {}

    def examined(subject: Subject, tick: Progress) -> Any:
        method = subject.attribution.method
        if method not in known:
            known[method] = examine(subject, tick)
        return known[method]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnnscope.trust.session.examine", examined)
        yield


def test_the_document_has_every_figure_with_its_controls(run: Run, tmp_path: Path) -> None:
    outcome = run(*WORDS, "--trust", "-f", "json", "-o", str(tmp_path / "out.png"), "-q")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    validator("attribution").validate(found)
    validator().validate(found)
    assert json.loads((tmp_path / "out.json").read_text()) == found
    for tile in found["tiles"]:
        trust = tile["trust"]
        assert list(trust) == CHECKS
        for name, one in trust.items():
            if one["value"] is None:
                assert (one["verdict"], bool(one["why"])) == ("unknown", True)
            else:
                assert one["controls"] or name == "completeness"
                beyond = one["value"] > one["limit"] if one["better"] == "high" else one["value"] < one["limit"]
                assert one["verdict"] == ("pass" if beyond else "fail")
        assert trust["completeness"]["verdict"] == "unknown"
        assert set(trust["insertion"]["controls"]) == {"random", "best random", "edges"}
        assert trust["insertion"]["settings"]["substrate"] in ("blur", "mean", "zero")
        assert trust["quarter_turn"]["settings"]["on_grid"]
        assert len(trust["randomisation_signed"]["settings"]["each"]) == 5
    first, second = (tile["trust"] for tile in found["tiles"])
    for name in ("insertion", "deletion"):
        assert first[name]["controls"] == second[name]["controls"]
        assert first[name]["value"] != second[name]["value"]
    plain = run(*WORDS, "-f", "json", "-q", "-o", str(tmp_path / "plain.png"))
    assert all("trust" not in tile for tile in json.loads(plain.out)["tiles"])
    with Image.open(tmp_path / "out.png") as with_strip, Image.open(tmp_path / "plain.png") as without:
        assert with_strip.width == without.width
        assert with_strip.height > without.height + 100


def test_the_table_has_a_line_a_check_and_the_rules(run: Run, tmp_path: Path) -> None:
    outcome = run(*WORDS[:-2], "--trust", "-o", str(tmp_path / "out.svg"))
    assert outcome.code == 0
    title, _, heading, *lines = outcome.out.splitlines()
    assert title.endswith(", target 1, probability 1")
    assert heading.split() == ["method", "check", "value", "passes", "verdict", "beside", "it"]
    assert lines[0].split(maxsplit=5) == [
        "saliency", "completeness", "<", "0.010", "unknown", "the method promises no sum, or a sum of 0",
    ]  # fmt: skip
    assert all(line.startswith(" ") for line in lines[1:9])
    deletion = next(line for line in lines if line.strip().startswith("deletion"))
    assert "replaced by mean" in deletion
    assert all(word in deletion for word in ("random 0.", "best random 0.", "edges 0."))
    rules = lines[lines.index("A check passes where the value is") + 1 :]
    assert "- completeness: off by less than 1 % of the promised sum" in rules
    assert "- insertion: above all 19 random orders and the order of the image's edges" in rules
    quiet = run(*WORDS[:-2], "--trust", "-o", str(tmp_path / "out.svg"), "-q")
    assert "A check passes" not in quiet.out


def test_records_have_three_columns_a_check(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert run(*WORDS[:-2], "--trust", "-o", str(path), "-q").code == 0
    (record,) = csv.DictReader(io.StringIO(path.read_text()))
    for name in CHECKS:
        assert {name, f"{name}_limit", f"{name}_verdict"} <= set(record)
    assert (record["completeness"], record["completeness_verdict"]) == ("", "unknown")
    assert float(record["deletion_limit"]) < 1


def finding(**changes: object) -> Finding:
    values = {"name": "a", "title": "insertion", "value": 0.5, "limit": 0.4, "better": "high", "rule": "above"}
    return Finding(**(values | {"controls": {"edges": 0.4, "random": 0.2}} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes", [{"value": 0.3}, {"value": None}, {"limit": 0.45}, {"better": "low"}, {"controls": {"edges": 0.1}}],
    ids=str,
)  # fmt: skip
def test_the_strip_shows_value_limit_verdict_and_controls(changes: dict[str, object]) -> None:
    image = np.eye(2)

    def drawn(one: Finding) -> bytes:
        tile = Tile(image, "Method", (), image, trust=(one,))
        return montage([[Tile(image, "image"), tile]], "Title", "svg")

    assert drawn(finding()) == drawn(finding())
    assert drawn(finding(**changes)) != drawn(finding())


def test_places_on_tracks() -> None:
    assert [place(value, "share") for value in (-0.5, 0, 0.3, 2)] == [0, 0, 0.3, 1]
    assert [place(value, "powers") for value in (0, 1e-9, 1e-8, 1e-4, 1, 10)] == [0, 0, 0, 0.5, 1, 1]
    assert (said(3e-5, "powers"), said(0.034, "powers"), said(0.5, "share")) == (
        "3e-05", "0.03", "0.50",
    )  # fmt: skip
