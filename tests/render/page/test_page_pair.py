"""Two networks on one page: every difference of the analysis is in the table and in the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from cnnscope.api import Model, load
from cnnscope.cli.app import main
from cnnscope.render.page.pair import SIGNS, page
from cnnscope.render.page.weights import BARS, histogram


@pytest.fixture
def paired(browser: Browser, tmp_path: Path) -> Iterator[object]:
    """``paired(a, b, width)``: the page of two networks in the browser; nothing may be on its console."""
    contexts, complaints = [], []

    def show(a: Model, b: Model, width: int = 1400) -> Page:
        path = tmp_path / f"pair{len(contexts)}.html"
        page(a.diff(b)).write(path)
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        found = contexts[-1].new_page()
        found.on("console", lambda message: complaints.append(message.text))
        found.on("pageerror", lambda error: complaints.append(str(error)))
        found.on("request", lambda r: r.url.startswith(("file:", "data:")) or complaints.append(r.url))
        found.goto(path.as_uri())
        found.wait_for_selector("html[data-ready]")
        return found

    yield show
    assert complaints == []
    for context in contexts:
        context.close()


def test_rows_and_boxes_say_what_the_analysis_says(paired) -> None:  # type: ignore[no-untyped-def]
    a, b = load("resnet18"), load("resnet34")
    shown, report = paired(a, b), a.diff(b)
    signs = [text.strip() for text in shown.locator("#table tbody td:first-child").all_text_contents()]
    assert signs == [SIGNS[row.mark] for row in report.difference.rows]
    assert shown.locator("#table tbody tr:visible").count() == sum(row.mark != "=" for row in report.difference.rows)
    assert shown.locator(".pair [data-a] .diff").count() == 0  # nothing of the smaller one is gone
    assert shown.locator(".pair [data-b] .diff").count() == 4  # each of its four stages is longer
    shown.locator("#table tbody tr:visible").first.click()
    assert shown.locator(".pair [data-b].on").count() == 1
    assert shown.locator(".pair [data-a].on").count() == 0
    shown.locator(".pair [data-a]").nth(2).click()
    assert shown.locator("#table tr.on").count() > 1
    shown.keyboard.press("/")
    shown.keyboard.type("128×28×28")
    rows = shown.locator("#table tbody tr:visible td:nth-child(4)").all_inner_texts()
    assert rows
    assert all("128x28x28" in text for text in rows)


def test_names_that_are_markup_stay_text_on_a_phone(paired, hostile: Model) -> None:  # type: ignore[no-untyped-def]
    shown = paired(hostile, load("lenet5"), 360)
    assert shown.evaluate("window.stolen") is None
    assert shown.evaluate("document.documentElement.scrollWidth") == 360
    assert shown.locator("script").count() == 2


def test_networks_that_share_no_name_or_nothing_are_said_to() -> None:
    graph = load("lenet5").graph
    other = replace(graph, nodes=tuple(replace(node, layer=f"other.{node.layer}") for node in graph.nodes))
    a, b = load("lenet5"), Model(other, "renamed")
    text = str(page(a.diff(b)))
    assert (
        "The two networks share no name of a layer: layers are paired by what they compute and by their order." in text
    )
    assert "The two networks are the same but for names." in text
    assert "share no name" not in str(page(a.diff(load("lenet5"))))


def test_options_of_one_network_are_refused_for_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["page", "lenet5", "alexnet", "--image", "x.png"]) == 2
    assert "E409" in capsys.readouterr().err


@pytest.mark.parametrize("values", [[0.5] * 7, [-1.0, 0.0, 0.25, 3.0], [1.0, np.inf, np.nan, -2.0]])
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    found = histogram("w", np.array(values))
    assert found
    finite = [value for value in values if np.isfinite(value)]
    assert (sum(found.counts), found.odd) == (len(finite), len(values) - len(finite))
    width = (found.high - found.low) / BARS
    if width:
        expected = [0] * BARS
        for value in finite:
            expected[min(int((value - found.low) / width), BARS - 1)] += 1
        assert list(found.counts) == expected
    assert (found.low, found.high) == (min(finite), max(finite))
    assert histogram("w", np.array([np.nan])) is None
