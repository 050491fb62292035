"""Ladders: every arrow is the graph's and none is missing, sums are exact, nothing overlaps, bytes are the same.

The truth about arrows is the graph alone: there is one from A to B where B is computed from A without passing another
box. Figures are read back from the SVG as a reader has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from sweeps import sweep

from cnnscope import api
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node, Value
from cnnscope.ops.movement import Identity
from cnnscope.options.network import DiagramOptions
from cnnscope.render import style
from cnnscope.render.diagram import metrics
from cnnscope.render.diagram.canvas import Canvas, Circle, Path, Polygon, Text, to_svg
from cnnscope.render.diagram.ladder.figure import draw, ladder
from cnnscope.render.diagram.ladder.margin import levels
from cnnscope.render.diagram.ladder.marks import Look
from cnnscope.render.diagram.ladder.places import stairs
from cnnscope.render.diagram.ladder.view import folded, ladder_view
from cnnscope.render.diagram.small import SmallText
from cnnscope.render.diagram.views import VIEWS, diagram
from cnnscope.sources import zoo

SAMPLE = ["unet", "googlenet", "retinanet_resnet50_fpn", "siamese", "deeplabv3_resnet50",
          "mobilenet_v3_large", "mlp"]  # fmt: skip
TIMM = ["hrnet_w18_small", "efficientnet_b3", "convnextv2_atto", "ghostnet_100", "regnety_004", "mobilevit_xxs",
        "dla34", "resnest14d", "darknet53", "nfnet_f0", "coat_lite_tiny", "poolformer_s12", "vgg11", "res2net50_26w_4s",
        "skresnet18", "selecsls42b", "repvgg_a0", "mixnet_s", "tresnet_m", "cspresnet50", "vovnet39a", "rexnet_100",
        "edgenext_xx_small", "swin_tiny_patch4_window7_224", "deit_tiny_patch16_224", "mixer_s16_224", "pvt_v2_b0",
        "xcit_nano_12_p16_224", "levit_128s", "tinynet_e"]  # fmt: skip


HOSTILE = ['"quoted"', "<script>alert(1)</script>", "a & b", "back\\slash", "🦊 emoji", "line\nbreak", "مرحبا"]
PLAIN = Look()


@cache
def graph(source: str) -> Graph:
    return api.load(source).graph


@cache
def drawn(name: str, look: Look = PLAIN) -> Canvas:
    return draw(graph(name), look)


def marks(canvas: Canvas) -> Iterator[ElementTree.Element]:
    return ElementTree.fromstring(to_svg(canvas)).iter()


def check_arrows(network: Graph, canvas: Canvas) -> None:
    elements = list(marks(canvas))
    boxes = [e.attrib["data-layer"] for e in elements if "data-layer" in e.attrib]
    arrows = [(e.attrib["data-from"], e.attrib["data-to"]) for e in elements if "data-from" in e.attrib]
    assert len(set(boxes)) == len(boxes)
    assert len(set(arrows)) == len(arrows)
    assert set(arrows) == set(true_arrows(network, set(boxes)))


def true_arrows(network: Graph, boxes: set[str]) -> Iterator[tuple[str, str]]:
    for box in boxes - set(network.inputs):
        stack, seen = list(network.node(box).inputs), set()
        while stack:
            name = stack.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in boxes:
                yield name, box
            elif name not in network.inputs:
                stack += network.node(name).inputs


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_arrows_are_those_of_the_graph(name: str) -> None:
    check_arrows(graph(name), drawn(name))


@pytest.mark.slow
@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", TIMM)
def test_arrows_of_traced_networks(name: str) -> None:
    network = graph(f"timm:{name}")
    check_arrows(network, draw(network))


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_the_margin_adds_up_to_the_network(name: str) -> None:
    content = ladder(graph(name))
    placed = stairs(content.boxes, [(a, b, bool(via)) for a, b, via in content.wires], 60)
    rows = levels(placed, list(content.cells.values()))
    totals = api.load(name)._summary.totals
    assert sum(row.cost.params for row in rows) == totals.params
    assert sum(row.cost.macs or 0 for row in rows) == totals.macs


def outline(mark: Polygon | Circle) -> tuple[float, float, float, float]:
    if isinstance(mark, Circle):
        return mark.x - mark.radius, mark.y - mark.radius, mark.x + mark.radius, mark.y + mark.radius
    xs, ys = zip(*mark.points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def text_box(mark: Text) -> tuple[float, float, float, float]:
    wide = metrics.width(mark.text, mark.size, bold=mark.bold)
    left = mark.x - {"start": 0.0, "middle": wide / 2, "end": wide}[mark.anchor]
    return left, mark.y - 0.72 * mark.size, left + wide, mark.y + 0.2 * mark.size


def meets(a: tuple[float, ...], b: tuple[float, ...], by: float = 0.5) -> bool:
    return a[0] < b[2] - by and b[0] < a[2] - by and a[1] < b[3] - by and b[1] < a[3] - by


def inside(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return b[0] <= a[0] and a[2] <= b[2] and b[1] - 1 <= a[1] and a[3] <= b[3] + 1


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_nothing_lies_on_anything_else(name: str) -> None:
    """Texts, boxes and rings are apart, arrows pass no box but their ends, and all is inside the picture."""
    canvas = drawn(name)
    texts = [text_box(mark) for mark in canvas.marks if isinstance(mark, Text)]
    for a, b in combinations(texts, 2):
        assert not meets(a, b)
    solid = {dict(m.data)["layer"]: outline(m) for m in canvas.marks if isinstance(m, (Polygon, Circle))
             and "layer" in dict(m.data)}  # fmt: skip
    for box, other in combinations(solid.values(), 2):
        assert not meets(box, other)
    for text in texts:
        assert not [box for box in solid.values() if meets(text, box) and not inside(text, box)]
    for mark in canvas.marks:
        if isinstance(mark, Path) and mark.data:
            ends = {name for _, name in mark.data}
            for (ax, ay), (bx, by) in pairwise(mark.points):
                piece = min(ax, bx) - 0.6, min(ay, by) - 0.6, max(ax, bx) + 0.6, max(ay, by) + 0.6
                assert not [name for name, box in solid.items() if name not in ends and meets(piece, box)]
    for left, top, right, bottom in (*texts, *solid.values()):
        assert canvas.left <= left
        assert right <= canvas.left + canvas.width
        assert canvas.top <= top
        assert bottom <= canvas.top + canvas.height


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_text_has_six_points_on_a4(name: str) -> None:
    assert drawn(name).fitted(style.A4).smallest >= 6


@pytest.mark.parametrize("form", ["svg", "png", "pdf", "tex", "dot", "json", "mmd"])
def test_the_same_bytes_every_time(form: str) -> None:
    network = graph("lenet5")
    first, second = (ladder_view(network, form, DiagramOptions()) for _ in range(2))
    assert first == second
    assert len(first) > 1000


@pytest.mark.parametrize("view", ["ladder", "volumes"])
def test_a_pdf_has_truetype_fonts(view: str) -> None:
    """Publishers refuse Type 3, matplotlib's default."""
    content = VIEWS.find(view).content(graph("lenet5"), "pdf", DiagramOptions(view=view))
    assert b"/FontFile2" in content
    assert b"/Type3" not in content


def said(name: str, look: Look = PLAIN) -> list[str]:
    return [mark.text for mark in drawn(name, look).marks if isinstance(mark, Text)]


def test_outputs_are_drawn_with_their_shapes() -> None:
    assert "2x388x388" in said("unet"), "Ronneberger et al. 2015, figure 1"
    assert [text for text in said("yolov3") if text.startswith("255x")] == ["255x13x13", "255x26x26", "255x52x52"]


def test_what_only_training_uses_is_named_in_the_title() -> None:
    heads = sum(part.cost.params for part in ladder(graph("googlenet")).found.parts if part.training_only)
    head = [128 * channels + 128 + 1024 * 2048 + 1024 + 1000 * 1024 + 1000 for channels in (512, 528)]
    assert heads == sum(head), "Szegedy et al. 2015, section 5"
    assert any("6.38 M parameters in heads that only training uses" in text for text in said("googlenet"))


def test_shared_weights_have_the_same_mark() -> None:
    texts = said("siamese")
    assert [texts.count(f"w{i}") for i in range(1, 7)] == [2, 2, 2, 2, 2, 0]
    assert "w1, w2: the same weights" in texts
    assert "w1" not in said("resnet18")


def test_equal_heads_are_letters() -> None:
    texts = said("retinanet_resnet50_fpn")
    assert texts.count("A") - 1 == texts.count("B") - 1 == 5, "five levels and the legend"
    assert "3×3, 256 ×4 → 3×3, 819 (one set of weights)" in texts


def test_receptive_fields_tell_of_global_paths() -> None:
    assert "16 + image" in said("vit_tiny")
    assert "16 + image" not in said("vit_tiny", Look(rf=False))


def test_the_heat_is_written_as_shares() -> None:
    macs, params, none = (said("lenet5", Look(heat=heat)) for heat in ("macs", "params", "none"))
    assert "28.2 %" in macs
    assert "95.8 %" in params, "59,134 of 61,706 in the last rows"
    assert not [text for text in none if text.endswith(" %")]
    assert "fill: share of parameters" in params


def test_the_legend_explains_what_is_used() -> None:
    texts = said("alexnet")
    assert {"/4: stride 4", "g2: 2 groups", "LRN: local response norm"} <= set(texts)
    assert "dw: depthwise" not in texts
    assert "×n: n in series, figures of all n together" in said("resnet18")


def test_a_level_belongs_to_the_graph() -> None:
    assert b"data-layer" not in diagram(graph("lenet5"), DiagramOptions(level="layer")).draw("svg")
    with pytest.raises(CnnscopeError) as caught:
        diagram(graph("lenet5"), DiagramOptions(view="ladder", level="layer"))
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("E609", "the ladder view does not read `--level`")
    assert found.hint == "it reads --theme --heat --rf --fit --dpi"


def test_a_fitted_figure_has_the_size_of_the_page() -> None:
    content = ladder_view(graph("retinanet_resnet50_fpn"), "svg", DiagramOptions(fit="slide"))
    wide, tall = map(float, re.findall(rb'(?:width|height)="(\d+)pt"', content)[:2])
    assert wide <= 960
    assert tall <= 540


def test_what_cannot_be_read_on_a_page_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(style.PAGES, "slide", style.Page(300, 200))
    with pytest.warns(SmallText, match=r"the smallest text has \d\.\d points on the slide"):
        ladder_view(graph("googlenet"), "svg", DiagramOptions(fit="slide"))


def test_text_formats_have_every_part() -> None:
    found = folded(graph("mobilenet_v3_large"))
    totals = api.load("mobilenet_v3_large")._summary.totals
    assert sum(box.cost.params for box in found.boxes) == totals.params
    assert {edge.target for edge in found.edges} == {box.id for box in found.boxes if box.category != "input"}


def test_tikz_has_every_text_and_balanced_braces() -> None:
    source = ladder_view(graph("unet"), "tex", DiagramOptions()).decode()
    texts = [mark for mark in drawn("unet").marks if isinstance(mark, Text)]
    assert source.count(r"\node[") == len(texts)
    assert source.isascii()
    bare = re.sub(r"\\[{}]", "", source)
    assert bare.count("{") == bare.count("}")


def bare(name: str) -> Graph:
    x = Value((1, 3, 8, 8))
    return Graph(name, {name: x}, (Node(f"{name}1", Identity(), (name,), x),), (f"{name}1",))


@pytest.mark.parametrize("name", [*HOSTILE, "n" * 200, "日本語の名前" * 20])
def test_hostile_names_break_nothing(name: str) -> None:
    content = ladder_view(bare(name), "svg", DiagramOptions())
    root = ElementTree.fromstring(content)
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert [element for element in root.iter() if "data-layer" in element.attrib]


@pytest.mark.parametrize("form", ["svg", "png", "pdf", "tex", "dot", "json", "mmd"])
def test_a_network_without_anything_is_drawn(form: str) -> None:
    assert ladder_view(Graph("empty", {}, (), ()), form, DiagramOptions())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_dark_figures_have_dark_grounds(theme: style.ThemeName) -> None:
    canvas = drawn("lenet5", Look(theme=theme))
    assert canvas.background == style.THEMES[theme].background
