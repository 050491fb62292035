"""The page in a real browser: what is pressed, what is drawn, and that it agrees with the analysis."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest
from browsing import Open
from playwright.sync_api import Page

from cnnscope.analysis.receptive_field.exact import exact
from cnnscope.api import Model, load
from cnnscope.ops.generic import Unsupported

Box = tuple[tuple[int, int], ...]


def press(page: Page, row: int, column: int) -> None:
    """Clicks the middle of a cell of the feature map."""
    x, y = page.evaluate(
        """([row, column]) => {
            const map = document.getElementById("map");
            map.scrollIntoView({block: "center"});
            const at = new DOMPoint(column + 0.5, row + 0.5).matrixTransform(map.getScreenCTM());
            return [at.x, at.y];
        }""",
        [row, column],
    )  # fmt: skip
    page.mouse.click(x, y)


def drawn(page: Page, name: str) -> Box | None:
    """The pixels that a drawn rectangle covers, as (first, last) of y and x."""
    found = page.locator(f"#image .{name}-box")
    if not found.count():
        return None
    x, y, width, height = (float(found.get_attribute(key) or "nan") for key in ("x", "y", "width", "height"))
    assert width == int(width)
    assert height == int(height)
    return (int(y), int(y + height) - 1), (int(x), int(x + width) - 1)


def choose(page: Page, layer: str) -> None:
    """Selects a layer in the table."""
    page.locator("#table tbody button").get_by_text(layer, exact=True).click()
    assert page.locator("#layer").inner_text() == layer


def tab_to(page: Page, key: str, value: str) -> None:
    """Presses Tab until the focus is there."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.{key}") == value:
            return
    pytest.fail(f"Tab does not lead to {value}")


@pytest.mark.parametrize(
    ("source", "layers"),
    [("lenet5", ("c1", "c3", "c5")), ("efficientnet_b0", ("stage1", "stage4.mbconv1.1.dw")),
     ("alexnet", ("conv1", "conv5"))],
)  # fmt: skip
def test_a_unit_shows_the_box_that_the_analysis_has(opened: Open, source: str, layers: tuple[str, ...]) -> None:
    model = load(source)
    shown = opened(model)
    answers = exact(model.graph)
    fields = {row.name: row.receptive_field for row in model._summary.rows}
    for layer in layers:
        choose(shown.page, layer)
        field = fields[layer]
        assert field
        rows, columns = next(row.output.spatial for row in model._summary.rows if row.name == layer and row.output)
        inner = (rows // 3, columns // 2)
        for at in dict.fromkeys([*product((0, rows - 1), (0, columns - 1)), inner]):
            press(shown.page, *at)
            assert drawn(shown.page, "exact") == answers.box(layer, at, local=True)
            assert drawn(shown.page, "theory") == field.box(at)
            full = answers.box(layer, at)
            assert drawn(shown.page, "full") == (None if full == answers.box(layer, at, local=True) else full)
            words = shown.page.locator("#readout").inner_text()
            assert words.startswith(f"Unit {at[0]}, {at[1]} sees y ")
    shown.settled()


def test_the_units_of_a_transformer_lie_on_their_grid(opened: Open) -> None:
    model = load("vit_tiny")
    answers = exact(model.graph)
    page = (shown := opened(model)).page
    choose(page, "layernorm1")
    press(page, 2, 5)
    assert drawn(page, "exact") == answers.box("layernorm1", (1 + 2 * 14 + 5,), local=True) == ((32, 47), (80, 95))
    assert drawn(page, "full") == ((0, 223), (0, 223))
    page.locator("#map").focus()
    page.keyboard.press("Home")  # the class token, which lies nowhere
    assert drawn(page, "exact") is None
    assert page.locator("#readout").inner_text() == "Unit 0 sees the whole input, through attention."
    shown.settled()


def test_one_axis_is_a_strip(opened: Open) -> None:
    model = load("m5")
    answers = exact(model.graph)
    page = (shown := opened(model)).page
    choose(page, "pool3")
    press(page, 0, 124)
    box = answers.box("pool3", (124,))
    assert box
    assert drawn(page, "exact") == ((0, 0), *box)
    shown.settled()


def test_three_axes_have_a_slider_for_the_frame(opened: Open) -> None:
    model = load("r3d_18")
    answers = exact(model.graph)
    page = (shown := opened(model)).page
    choose(page, "layer2.0.conv1")
    slider = page.locator("#axes input")
    slider.fill("7")
    press(page, 0, 27)
    box = answers.box("layer2.0.conv1", (7, 0, 27))
    assert box
    assert drawn(page, "exact") == box[1:]
    assert page.locator("#image-title").inner_text() == f"input 16x112x112 – z {box[0][0]} to {box[0][1]} of 0 to 15"
    shown.settled()


def test_boxes_tables_and_insides_select_the_same_layer(opened: Open) -> None:
    page = (shown := opened(load("resnet18"))).page
    box = page.locator("#overview [data-n]", has=page.locator("[data-layer='layer1.1.add.act']"))
    box.click()
    assert page.locator("#layer").inner_text() == "layer1.1.add"
    assert page.locator("#table tr.on td").nth(1).inner_text() == "layer1.1.add"
    page.get_by_role("button", name="expand in the picture").click()
    inside = page.locator(".open [data-i]")
    assert inside.count() == 3  # two convolutions and the sum
    inside.first.click()
    assert page.locator("#layer").inner_text() == "layer1.1.conv1"
    assert page.locator(".open [aria-current]").count() == 1
    choose(page, "layer3.0.shortcut")
    current = page.locator("#overview [data-n][aria-current] [data-layer]").get_attribute("data-layer")
    assert current == "layer3.0.add.act"
    choose(page, "layer1.0.conv1")
    page.locator("#part").select_option("1")  # the second of two equal blocks
    assert page.locator("#layer").inner_text() == "layer1.1.conv1"
    page.get_by_role("button", name="next layer").click()
    assert page.locator("#layer").inner_text() == "layer1.1.conv2"
    page.locator("#members button").first.click()
    assert page.locator("#layer").inner_text() == "layer1.1.conv1"
    shown.settled()


def heights(page: Page) -> dict[str, float]:
    """The upper edge of every box of the picture, in its own coordinates."""
    return page.evaluate("""Object.fromEntries([...document.querySelectorAll("#canvas svg [data-n] [data-layer]")]
                            .map((node) => [node.dataset.layer, node.getBBox().y]))""")  # type: ignore[no-any-return]


@pytest.mark.parametrize("source", ["googlenet", "resnet50"])
def test_what_opens_moves_what_is_below_and_closes_again(opened: Open, source: str) -> None:
    page = (shown := opened(load(source))).page
    before = heights(page)
    page.locator(".fold").first.click()
    after, height = heights(page), page.locator(".open .frame").evaluate("node => node.getBBox().height")
    assert {after[name] - before[name] > height for name in before if after[name] != before[name]} == {True}
    moved = [name for name in before if after[name] != before[name]]
    assert moved
    assert len(moved) < len(before)
    assert min(before[name] for name in moved) > max(before[name] for name in before if name not in moved)
    page.locator(".fold").first.click()
    assert heights(page) == before
    assert page.locator(".open").count() == 0
    page.locator("#open-all").click()
    assert page.locator(".open").count() == page.locator(".fold").count()
    frames = page.evaluate("""[...document.querySelectorAll(".open .frame"),
                               ...document.querySelectorAll("#canvas svg > [data-n] [data-layer]")]
        .map((node) => node.getBoundingClientRect()).map((r) => [r.left, r.top, r.right, r.bottom])""")
    for i, a in enumerate(frames):
        for b in frames[:i]:
            assert min(a[2], b[2]) - max(a[0], b[0]) < 1 or min(a[3], b[3]) - max(a[1], b[1]) < 1  # no two overlap
    page.locator("#open-all").click()
    assert heights(page) == before
    shown.settled()


def test_the_table_sorts_and_filters(opened: Open) -> None:
    model = load("alexnet")
    page = (shown := opened(model)).page
    header = page.locator("#table th", has_text="params")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    names = page.locator("#table tbody tr:visible td:nth-child(2)").all_inner_texts()
    by_params = sorted(model._summary.rows, key=lambda row: -row.cost.params)
    assert [name.strip() for name in names] == [row.name for row in by_params]
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("/")
    page.keyboard.type("conv 3x3")
    shown_rows = page.locator("#table tbody tr:visible td:nth-child(3)").all_inner_texts()
    assert len(shown_rows) == 3
    assert all("conv 3x3" in words for words in shown_rows)
    assert page.locator("#shown").inner_text() == "3 of 16 layers"
    pale = page.locator("#overview [data-n].pale").count()
    assert 0 < pale < page.locator("#overview [data-n]").count()
    page.keyboard.press("Enter")
    first = page.locator("#layer").inner_text()
    assert first.startswith("conv")
    page.keyboard.press("Enter")
    assert page.locator("#layer").inner_text() not in ("", first)
    page.keyboard.press("Shift+Enter")
    assert page.locator("#layer").inner_text() == first
    page.get_by_label("search").fill("256×6×6")  # a shape, written with either sign
    assert page.locator("#table tbody tr:visible td:nth-child(2)").all_inner_texts() == ["pool5", "flatten1"]
    page.keyboard.press("Escape")
    assert page.locator("#table tbody tr:visible").count() == 16
    assert page.locator("#overview [data-n].pale").count() == 0
    shown.settled()


def test_everything_is_reached_by_keyboard(opened: Open) -> None:
    page = (shown := opened(load("lenet5"))).page
    tab_to(page, "getAttribute('aria-label')", "c3: 5×5, 16, output 16x10x10")
    assert page.locator("#overview .ring").count() == 1  # the focus is seen
    page.keyboard.press("Enter")
    assert page.locator("#layer").inner_text() == "c3"
    tab_to(page, "id", "map")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowUp")
    assert drawn(page, "exact") == exact(load("lenet5").graph).box("c3", (0, 0))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("#readout").inner_text().startswith("Unit 2, 1 sees")
    shown.settled()


def test_the_theme_follows_the_reader_and_the_button(opened: Open) -> None:
    background = "getComputedStyle(document.documentElement).backgroundColor"
    fill = "getComputedStyle(document.querySelector('#overview .n [data-layer=s4]')).fill"
    light, dark = opened(load("lenet5"), color_scheme="light"), opened(load("lenet5"), color_scheme="dark")
    assert light.page.evaluate(background) == "rgb(255, 255, 255)"
    assert dark.page.evaluate(background) == "rgb(20, 23, 27)"
    assert light.page.evaluate(fill) != dark.page.evaluate(fill)
    dark.page.get_by_role("button", name="Light theme").click()
    assert dark.page.evaluate(background) == "rgb(255, 255, 255)"
    assert dark.page.evaluate(fill) == light.page.evaluate(fill)
    light.page.get_by_role("button", name="Dark theme").click()
    assert light.page.evaluate(background) == "rgb(20, 23, 27)"
    light.settled()
    dark.settled()


@pytest.mark.parametrize(
    ("source", "width"), [("resnet18", 360), ("resnet18", 1400), ("unet", 800), ("densenet121", 360), ("m5", 360)]
)
def test_it_opens_on_the_whole_network_with_the_details_in_sight(opened: Open, source: str, width: int) -> None:
    phone = {"has_touch": True, "is_mobile": True} if width == 360 else {}
    page = (shown := opened(load(source), viewport={"width": width, "height": 800}, **phone)).page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = """() => {
        const frame = document.getElementById("canvas").getBoundingClientRect();
        return [...document.querySelectorAll("#canvas svg > [data-n]")].filter((node) => {
            const box = node.getBoundingClientRect();
            return box.left < frame.left || box.right > frame.right || box.top < frame.top || box.bottom > frame.bottom;
        }).length;
    }"""
    assert page.locator("#canvas svg > [data-n]").count() > 3
    assert page.evaluate(outside) == 0
    tops = [page.evaluate(f"document.getElementById('{part}').offsetTop") for part in ("overview", "plots", "layers")]
    assert tops == sorted(tops)
    page.locator("#table tbody tr").last.click()
    for part in ("layer", "readout") if width == 1400 else ("layer",):  # a sheet scrolls
        box = page.locator(f"#{part}").bounding_box()
        assert box
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 800
    shown.settled()


def test_a_field_far_larger_than_the_image_is_said_to_be(opened: Open) -> None:
    page = (shown := opened(load("resnet18"), address="#layer4.1.add:3,3")).page
    assert "beyond this view" in page.locator("#key").inner_text()
    assert drawn(page, "exact") == ((0, 223), (0, 223))
    choose(page, "conv1")
    assert "padding counted" in page.locator("#key").inner_text()
    shown.settled()


def test_what_is_unknown_is_said(opened: Open) -> None:
    graph = load("lenet5").graph
    nodes = (replace(n, op=Unsupported(n.output.shape, fn="f")) if n.layer == "s2" else n for n in graph.nodes)
    page = (shown := opened(Model(replace(graph, nodes=tuple(nodes)), "lenet5"))).page
    choose(page, "c3")
    assert page.locator("#readout").inner_text().startswith("The receptive field of this layer is unknown")
    assert not page.locator("#map").is_visible()
    shown.settled()


def test_a_link_leads_to_a_unit(opened: Open) -> None:
    page = (shown := opened(load("lenet5"), address="#c3:9,0")).page
    assert page.locator("#layer").inner_text() == "c3"
    assert drawn(page, "exact") == exact(load("lenet5").graph).box("c3", (9, 0))
    assert opened(load("lenet5"), address="#%E0%A4%A").page.locator("#layer").inner_text() == "s4"  # no link at all
    shown.settled()


def test_the_image_lies_under_the_boxes(opened: Open, photo: Path) -> None:
    page = (shown := opened(load("alexnet"), image=photo)).page
    choose(page, "conv3")
    press(page, 0, 12)
    assert str(page.locator("#image image").get_attribute("href")).startswith("data:image/jpeg;base64,")
    assert [page.locator("#image image").get_attribute(key) for key in ("width", "height")] == ["227", "227"]
    assert drawn(page, "exact") == exact(load("alexnet").graph).box("conv3", (0, 12))
    shown.settled()


def test_names_are_text_and_nothing_else(opened: Open, hostile: Model) -> None:
    page = (shown := opened(hostile)).page
    assert page.locator("h1").inner_text() == hostile.name.replace("\u202e", "\\u202e")
    names = [name.strip() for name in page.locator("#table tbody td:nth-child(2)").all_inner_texts()]
    assert names == [row.name.replace("\u202e", "\\u202e") for row in hostile._summary.rows]
    assert page.evaluate("window.stolen") is None
    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0
    for row in range(len(names)):
        page.locator("#table tbody tr").nth(row).locator("button").click()
        assert page.locator("#layer").inner_text().strip() == names[row]
    assert page.evaluate("document.documentElement.scrollWidth") == 1400
    shown.settled()


def test_the_view_is_saved_with_its_colours_and_what_is_open(opened: Open, hostile: Model) -> None:
    for model, scheme in ((load("resnet18"), "dark"), (hostile, "light")):
        page = (shown := opened(model, color_scheme=scheme)).page
        page.locator("#open-all").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="save as SVG").click()
        saved = Path(download.value.path()).read_text(encoding="utf-8")
        assert download.value.suggested_filename.endswith(".svg")
        root = ElementTree.fromstring(saved)  # well-formed, whatever the names
        assert "var(" not in saved
        assert "class=" not in saved
        fills = {node.get("fill") for node in root.iter() if node.tag.endswith("}rect")}
        assert ("rgb(20, 23, 27)" if scheme == "dark" else "rgb(255, 255, 255)") in fills
        shapes = [node for node in root.iter() if node.get("data-layer")]
        assert len(shapes) > page.locator("#canvas svg > [data-n] [data-layer]").count()  # the insides too
        shown.settled()


def test_on_paper_it_is_light_and_has_no_panels(opened: Open) -> None:
    page = (shown := opened(load("lenet5"), color_scheme="dark")).page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in ("#detail", ".find", "#theme", "#save"):
        assert not page.locator(hidden).is_visible()
    assert page.locator("#canvas svg").is_visible()
    assert page.locator("#table tbody tr").last.is_visible()
    assert page.pdf().count(b"/Type /Page\n") in (2, 3, 4)
    shown.settled()


def test_weights_have_histograms(opened: Open) -> None:
    page = (shown := opened(load("lenet5-digits"))).page
    choose(page, "c3")
    captions = page.locator("#weights figcaption").all_inner_texts()
    model = load("lenet5-digits")
    key = next(key for node in model.graph.nodes if node.layer == "c3" for key in node.params.values())
    weight = model.weighted().module.state_dict()[key]
    assert captions[0].startswith(f"{key} {weight.numel():,} values from {weight.min():.3g} to {weight.max():.3g}")
    assert page.locator("#weights svg").count() == len(captions) == 2
    choose(page, "s4")
    assert page.locator("#weights svg").count() == 0
    shown.settled()
