"""A real browser, pages opened in it, and what they are made of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browsing import Open, Opened
from PIL import Image
from playwright.sync_api import Browser, Error, sync_playwright

from cnnscope.api import Model, load

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Without one these tests are skipped, except under CI, where they have to run."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        message = "no Chromium for the browser tests: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """``opened(model, color_scheme="dark")``: the page of a network, ready to be used."""
    contexts = []

    def show(model: Model, *, image: Path | None = None, address: str = "", **options: Any) -> Opened:
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(str(model.page(image=image)), encoding="utf-8", newline="\n")
        contexts.append(browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options}))
        result = Opened(contexts[-1].new_page())
        result.page.on("console", lambda message: result.complaints.append(f"console: {message.text}"))
        result.page.on("pageerror", lambda error: result.complaints.append(f"error: {error}"))
        result.page.on("request", lambda request: request.url.startswith(("file:", "data:"))
                       or result.complaints.append(f"request: {request.url}"))  # fmt: skip
        result.page.goto(path.as_uri() + address)
        try:
            result.page.wait_for_selector("html[data-ready]", timeout=60_000)
        except Error:
            result.settled()
            raise
        return result

    yield show
    for context in contexts:
        context.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture that is neither square nor of the size of any input."""
    path = tmp_path / "photo.png"
    Image.linear_gradient("L").resize((400, 300)).convert("RGB").save(path)
    return path


@pytest.fixture
def hostile() -> Model:
    """LeNet-5 with names that would break a page which took them for markup."""
    names = [
        '</script><script>window.stolen = 1</script>', '"><img src=x onerror="window.stolen=1">', "it's & <b>bold</b>",
        "🐈 кошка قطة", "a\u202eb", "n" * 200, "`${window.stolen=1}`", "{{ 7 * 7 }}",
    ]  # fmt: skip
    graph = load("lenet5").graph
    layers = dict(zip((name for name, _ in graph.layers()), names, strict=True))
    nodes = tuple(replace(node, layer=layers[node.layer]) for node in graph.nodes)
    title = "</title><script>window.stolen = 1</script> \u202e" + "x" * 200
    return Model(replace(graph, name=title, nodes=nodes), "<b>source</b>")
