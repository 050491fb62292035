"""The page as a file: closed to the outside, the same every time, small."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from cnnscope.api import Model, load
from cnnscope.errors import CnnscopeError
from cnnscope.render.page.document import embedded
from cnnscope.render.style import THEMES, Theme, contrast
from cnnscope.sources import zoo

LIMIT = 400_000
"""Bytes a page may have."""


class Elements(HTMLParser):
    """All elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style") and data.strip():
            self.raw.append((self.found[-1][0], data))


def test_nothing_refers_to_anything_outside(hostile: Model) -> None:
    for model in (load("lenet5"), hostile):
        page = Elements(str(model.page()))
        for tag, attributes in page.found:
            assert not [key for key in attributes if key.startswith("on") or key in ("style", "src", "xlink:href")], tag
            assert (attributes.get("href") or "#").startswith(("#", "data:"))
        assert [tag for tag, _ in page.found].count("script") == 2


def test_the_policy_admits_this_style_and_this_script_alone() -> None:
    page = Elements(str(load("lenet5").page()))
    policy = next(a["content"] for tag, a in page.found if tag == "meta" and "http-equiv" in a)
    (style,) = (text for tag, text in page.raw if tag == "style")
    script = page.raw[-1][1]

    def digest(text: str) -> str:
        return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_data_cannot_end_its_element(hostile: Model) -> None:
    text = str(hostile.page())
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data
    assert "<" not in data[1]
    assert json.loads(data[1])["layers"][0]["name"] == hostile._summary.rows[0].name.replace("\u202e", "\\u202e")
    assert embedded({"a": "</script><!-- \u2028"}) == '{"a":"\\u003c/script>\\u003c!-- \\u2028"}'


def test_the_same_bytes_every_time() -> None:
    assert str(load("googlenet").page()) == str(load("googlenet").page())


@pytest.mark.parametrize("source", ["resnet152", "densenet201", "yolov3"])
def test_size(source: str) -> None:
    assert len(str(load(source).page()).encode()) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("source", zoo.names())
def test_size_of_every_model_of_the_zoo(source: str) -> None:
    assert len(str(load(source).page()).encode()) < LIMIT


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_text_stands_out_from_what_it_stands_on(theme: Theme) -> None:
    for ink in (theme.text, theme.muted):
        for ground in (theme.background, theme.fill):
            assert contrast(ink, ground) >= 4.5


def test_without_an_image_input_there_is_nothing_to_lie_on(photo: Path) -> None:
    with pytest.raises(CnnscopeError) as error:
        load("m5").page(image=photo)
    (diagnostic,) = error.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == (
        "E607", "`--image` needs an input with a height and a width, and this network has none"
    )  # fmt: skip


def test_a_small_grey_input_gets_a_small_grey_image(photo: Path) -> None:
    data = re.search(r'"image":"data:image/png;base64,([^"]*)"', str(load("lenet5").page(image=photo)))
    assert data
    picture = Image.open(BytesIO(b64decode(data[1])))
    assert (picture.size, picture.mode) == ((32, 32), "L")
