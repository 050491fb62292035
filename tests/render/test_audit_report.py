"""Reports of audits: what they say, that nothing in them is taken for markup, and that they are the same each time."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from synthetic_outcomes import ALL, FLIPS, grid, outcomes, result, turns, zooms

from cnnscope.audits.outcomes import TransformRecord
from cnnscope.audits.record import Control, Prediction, Skipped
from cnnscope.audits.report import document, judged
from cnnscope.audits.result import AuditResult, Gallery
from cnnscope.render.audit import drawing
from cnnscope.render.audit.page import html
from cnnscope.render.audit.report import AuditReport
from cnnscope.render.audit.text import junit, markdown
from cnnscope.render.style import contrast

HOSTILE = [
    '<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "a & b | `c` *d*", "tab\tnew\nline\x00\x1b[31m",
]  # fmt: skip


def page(made: AuditResult) -> str:
    pictures = list(zip(made.gallery.original, made.gallery.transformed, strict=True))
    return html(document(made), pictures)


@pytest.fixture(scope="module")
def made() -> AuditResult:
    return judged(result(), ["translation@1.agreement=0.2", "rotation.kappa=0.99"], ("old", result(seed=0)), 0.01)


@pytest.fixture(scope="module")
def written(made: AuditResult) -> str:
    return page(made)


@pytest.fixture(scope="module")
def hostile() -> AuditResult:
    """Names from models, files and classes that would break a report that took them for markup."""
    made = result(images=30)
    facts = made.facts
    script = HOSTILE[0]
    transforms = (replace(made.outcomes.transforms[0], name=HOSTILE[1]), *made.outcomes.transforms[1:])
    return replace(
        made,
        facts=replace(
            facts, model=replace(facts.model, name=script, source=HOSTILE[1], weights=HOSTILE[2]),
            data=replace(facts.data, path=HOSTILE[3], skipped=(Skipped(script, HOSTILE[3]),)),
            labels=tuple(HOSTILE) * 3, preset=script, versions={script: script}, retries=(script,), device=script,
            controls=(Control(script, False, 1.0, None, HOSTILE[1]),),
            predictions=(Prediction(script, "exact", None, None, HOSTILE[2]),),
        ),
        outcomes=replace(made.outcomes, transforms=transforms, layers=(script, "$x_1$ " + "n" * 80),
                         name=tuple(HOSTILE[i % 4] for i in range(30))),
    )  # fmt: skip


class Tags(HTMLParser):
    """Elements and attributes of a page, and whether they are closed in order."""

    void = {"meta", "link", "img", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    return tags


def test_sections_stand_in_the_order_of_their_importance(written: str) -> None:
    assert parsed(written).headings == [
        "Gates", "Provenance", "Control validity", "Predicted and measured", "Translation", "Rotation", "Scale",
        "Flips", "Layers", "Worst cases", "Classes", "Random weights", "Against an earlier audit", "Methods",
    ]  # fmt: skip


def test_nothing_is_fetched_and_nothing_but_our_own_script_runs(written: str) -> None:
    tags = parsed(written)
    for name, attributes in tags.seen:
        for key in ("src", "href", "xlink:href", "action", "data"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), (name, value)
        assert not any(key.startswith("on") or key == "style" for key in attributes), (name, attributes)
    assert not re.search(r"url\((?!#)|@import", written)
    policy = next(a["content"] for n, a in tags.seen if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_it_is_the_same_bytes_each_time(made: AuditResult, written: str) -> None:
    assert page(made) == written


def test_ids_are_unique_and_references_lead_somewhere(written: str) -> None:
    ids = [a["id"] for _, a in parsed(written).seen if "id" in a]
    assert len(ids) == len(set(ids))
    links = re.findall(r'(?:href="#|url\(#)([^")]+)', written)
    assert links
    assert set(links) <= set(ids)


def test_figures_of_the_table_are_those_of_the_document(made: AuditResult, written: str) -> None:
    found = document(made)
    for probe in found["probes"].values():
        for estimate in probe["kappa"]:
            assert f"{estimate['value']:.3f} <small>[{estimate['low']:.3f}, {estimate['high']:.3f}]" in written
    assert '<div class="verdict fail"><b>FAILED</b>' in written
    assert "60 of 61 images used, 1 skipped" in written
    assert "it ends too soon" in written


def test_colours_of_figures_follow_the_theme_and_all_are_defined(written: str) -> None:
    style = written[written.index("<style>") : written.index("</style>")]
    used = set(re.findall(r"var\(--([a-z0-9]+)", style))
    for theme in ("light", "dark"):
        defined = set(re.findall(r"--([a-z0-9]+):", drawing.variables(theme)))  # type: ignore[arg-type]
        assert used - defined <= {"sans", "mono", "good", "bad"}
    assert not re.findall(r"\.p\d+\{[^}]*#(?:0[1-5]0|11|20|21|22)[0-9a-f]*", style)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_written_on_heat_can_be_read(theme: Any) -> None:
    colours = dict(re.findall(r"--([a-z0-9]+):(#[0-9A-Fa-f]{6});", drawing.variables(theme)))
    for level in range(drawing.LEVELS):
        assert contrast(colours[f"h{level}"], colours[f"t{level}"]) >= 4.5
        assert contrast(colours["text"], colours[f"d{level}"]) >= 3.0
    for name in ("text", "muted", "green", "orange", "blue"):
        assert contrast(colours[name], colours["background"]) >= (4.5 if name in ("text", "muted") else 3.0)


def test_hostile_names_are_text_in_html(hostile: AuditResult) -> None:
    text = page(hostile)
    tags = parsed(text)
    assert [name for name, _ in tags.seen].count("script") == 1
    assert not any("onerror" in attributes for _, attributes in tags.seen)
    assert all((a.get("src") or "data:").startswith("data:") for _, a in tags.seen)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\x00" not in text
    assert "\x1b" not in text


def test_hostile_names_are_text_in_xml_and_on_terminals(hostile: AuditResult) -> None:
    found = document(hostile)
    root = ElementTree.fromstring(junit(found))
    names = [case.get("name") for case in root.iter("testcase")]
    assert HOSTILE[0] in names
    assert "\x1b" not in str(AuditReport(found))
    assert "\x1b" not in markdown(found)


def test_hostile_names_are_text_in_markdown(hostile: AuditResult) -> None:
    text = markdown(document(hostile))
    assert "<script" not in text.replace(r"\<script", "")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        rows = [re.sub(r"\\.", "", line).count("|") for line in table.splitlines()]
        assert len(set(rows)) == 1, table


def test_junit_has_a_case_for_each_gate_control_and_prediction(made: AuditResult) -> None:
    root = ElementTree.fromstring(junit(document(made)))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["gates", "controls", "predictions"]
    assert [len(suite) for suite in root] == [6, 2, 2]
    assert suites["gates"].get("failures") == "1"
    (failure,) = suites["gates"].iter("failure")
    assert re.fullmatch(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\], bound 0\.99", failure.get("message") or "")
    assert root.get("tests") == "10"


def test_junit_tells_what_is_wrong_from_what_is_not_good_enough() -> None:
    base = result(images=20)
    facts = replace(
        base.facts, controls=(Control("c", False, 1.0, 0.5),), shards=2,
        predictions=(Prediction("p", "exact", 0.2, False), Prediction("q", "exact", None, None)),
    )  # fmt: skip
    root = ElementTree.fromstring(junit(document(replace(base, facts=facts))))
    outcomes = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert outcomes == {"c": ["error"], "p": ["error"], "q": ["skipped"], "complete": ["error"]}
    assert (root.get("errors"), root.get("failures"), root.get("skipped")) == ("3", "0", "1")


@pytest.mark.parametrize(
    "transforms",
    [
        (*grid(1),), FLIPS, turns(90), turns(-15, 15), zooms(0.5, 2),
        [TransformRecord(f"crop {i}", "translation", 16, "px", True) for i in range(1, 11)],
        [TransformRecord("shift +0.5,+0", "translation", 0.5, "px", False, 0.5, 0)],
    ],
    ids=["shifts", "flips", "quarter", "turns", "zooms", "crops", "sub-pixel"],
)  # fmt: skip
def test_audits_of_any_kind_can_be_reported(transforms: Any) -> None:
    made = result(images=12, transforms=tuple(transforms))
    found = document(made)
    parsed(page(made))
    assert str(AuditReport(found))
    assert markdown(found)
    assert junit(found)


def test_audits_that_know_little_say_so() -> None:
    made = result(images=12, labels=False)
    o = made.outcomes
    little = replace(
        o, top1=np.zeros_like(o.top1), top1_clean=np.zeros_like(o.top1_clean), spread=np.full_like(o.spread, np.nan)
    )
    facts = replace(made.facts, controls=(), predictions=(), equivariance=(), baseline=(), labels=())
    unknown = replace(made, facts=facts, outcomes=little, gallery=Gallery.empty())
    text = page(unknown)
    parsed(text)
    assert "No control was run" in text
    assert not re.search(r"\bnan\b", text, re.I)
    assert document(unknown)["layers"][0]["distance"][0] == {"value": None, "low": None, "high": None}
    nothing = replace(unknown, outcomes=outcomes().select([]))
    parsed(page(nothing))
    assert "0.000" not in str(AuditReport(document(nothing)))


def test_offsets_are_compared_within_their_size_and_only_where_all_remainders_are() -> None:
    from cnnscope.render.audit.page import _folded, _offsets

    def agreement(dy: int, dx: int) -> float:
        """On its own grid of 2 this network is 0.1 better, whatever else the distance does to it."""
        return 1 - 0.1 * max(abs(dy), abs(dx)) - (0.1 if dy % 2 or dx % 2 else 0.0)

    shifts = {(y, x): agreement(y, x) for y in range(-2, 3) for x in range(-2, 3) if (y, x) != (0, 0)}
    folded = _folded(shifts, (2, 2))
    assert set(folded) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert folded[0, 0] > 0 > folded[0, 1]
    assert _folded({place: v for place, v in shifts.items() if 0 in place}, (2, 2)) == {}
    records = document(result(images=8, transforms=ALL))["transforms"]
    assert set(_offsets({"transforms": records})) == {(t.dy, t.dx) for t in grid(1, 2, 4, 8)}


def test_local_errors_have_a_row_a_layer_and_a_column_a_movement(made: AuditResult, written: str) -> None:
    text = markdown(document(made))
    assert "| local equivariance error | down, per px | turn, per deg |" in text
    assert "| conv1 | 0.02 | 0.003 |" in text
    assert "| fc | ? | 0.0125 |" in text
    assert '<tr><td>fc</td><td class="r">–</td><td class="r">0.0125</td></tr>' in written


def test_metrics_of_plugins_have_a_column_of_their_own(made: AuditResult) -> None:
    """Here one that says what agreement says, so its column is that of agreement."""
    from cnnscope.audits.statistics import METRICS
    from cnnscope.audits.statistics.gates import of_images
    from cnnscope.audits.statistics.metrics import agreement
    from cnnscope.registry import recording

    with recording() as added:
        METRICS.add("un<usual>", of_images(lambda outcomes, group: agreement(outcomes, group)))
    try:
        again = replace(made)  # of a result, the document is kept
        found = document(again)
        written, flat, marked = page(again), AuditReport(found).records(), markdown(found)
    finally:
        added[0].undo()
    for probe in found["probes"].values():
        assert probe["others"] == {"un<usual>": {"each": probe["agreement"], "mean": probe["summary"]["agreement"]}}
    assert all(row["un<usual>"] == row["agreement"] for row in flat)
    assert "others" not in document(made)["probes"]["translation"]
    assert written.count('<th class="r">un&lt;usual&gt;</th>') == len(found["probes"]) == marked.count(r"un\<usual> |")
    table = str(AuditReport(found))
    assert re.search(r"divergence +un<usual>\n", table)
    mean = next(line for line in table.splitlines() if " mean " in line).split("  ")
    assert mean[-1].strip() in [cell.strip() for cell in mean[:-1]]
