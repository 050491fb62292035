"""The HTML report in a browser: at both widths, in both themes, on paper."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from synthetic_outcomes import result

from cnnscope.audits.report import document, judged
from cnnscope.render.audit.page import html


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = judged(result(), ["translation@1.agreement=0.2"], ("old", result()), 0.01)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html(document(made), list(zip(made.gallery.original, made.gallery.transformed, strict=True))))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_it_fits_and_complains_about_nothing(browser: Browser, report: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: r.url.startswith(("file:", "data:")) or complaints.append(r.url))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready]")
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    first = page.evaluate(ground)
    assert first == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
    curve = "getComputedStyle(document.querySelector('#translation svg path[clip-path]')).stroke"
    before = page.evaluate(curve)
    page.click("#theme")
    assert page.evaluate(ground) != first
    assert page.evaluate(curve) != before
    sizes = "[...document.querySelectorAll('.plot svg')].map((svg) => svg.getBoundingClientRect().width)"
    assert all(width * 0.7 < size or size > 400 for size in page.evaluate(sizes))
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth === 32)")
    context.close()


def test_on_paper_it_is_light_and_everything_is_open(browser: Browser, report: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready]")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("[...document.querySelectorAll('details')].every((d) => d.open)")
    assert not page.is_visible("#theme")
    assert len(page.pdf()) > 10_000
    context.close()


def test_without_scripts_everything_can_be_read(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.is_visible("#translation svg")
    assert page.is_visible("#gates td")
    assert not page.is_visible("#theme")
    context.close()
