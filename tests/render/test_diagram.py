"""Diagrams: what they hold, that bytes are the same each time, hostile names, limits, and colours told apart."""

from __future__ import annotations

import json
import re
import sys
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest

from cnnscope import api
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node, Value
from cnnscope.ops.movement import Identity
from cnnscope.options.network import DiagramOptions
from cnnscope.render.diagram import layout, picture
from cnnscope.render.diagram.dot import Options, details, to_dot
from cnnscope.render.diagram.model import Diagram, diagram
from cnnscope.render.diagram.text import escape, to_json, to_mermaid
from cnnscope.render.diagram.views import graph_formats
from cnnscope.render.diagram.volumes.view import volumes_view
from cnnscope.render.style import KINDS, THEMES, ThemeName, check_format, contrast, heat_colour, luminance, text_on

HOSTILE = ['"quoted"', "<script>alert(1)</script>", "a & b", "back\\slash", "🦊 emoji", "line\nbreak", "مرحبا"]
HOSTILE.append("n" * 200)


def figure(name: str, level: picture.DetailLevel = "overview") -> Diagram:
    return diagram(api.load(name).graph, level)


def test_resnet152_overview_is_one_page_of_boxes() -> None:
    boxes = figure("resnet152").boxes
    assert len(boxes) == 14
    assert [box.count for box in boxes if box.count > 1] == [2, 7, 35, 2]


@pytest.mark.parametrize("level", picture.LEVELS)
@pytest.mark.parametrize("network", ["lenet5", "googlenet", "unet", "siamese"])
def test_boxes_add_up_to_the_network(network: str, level: picture.DetailLevel) -> None:
    drawn, totals = figure(network, level), api.load(network)._summary.totals
    assert sum(box.cost.params for box in drawn.boxes) == totals.params
    assert sum(box.cost.macs or 0 for box in drawn.boxes) == totals.macs


@pytest.mark.parametrize("level", picture.LEVELS)
def test_edges_join_boxes_and_every_box_is_reached(level: picture.DetailLevel) -> None:
    drawn = figure("googlenet", level)
    ids = {box.id for box in drawn.boxes}
    assert all(edge.source in ids and edge.target in ids for edge in drawn.edges)
    assert {edge.target for edge in drawn.edges} == {box.id for box in drawn.boxes if box.category != "input"}


def test_what_was_folded_is_said() -> None:
    assert "46 equal neighbours are drawn as 4 boxes (×n)" in figure("resnet152").notes


@pytest.mark.parametrize("form", graph_formats())
def test_the_same_bytes_every_time(form: str) -> None:
    graph = api.load("lenet5").graph
    first, second = (picture.picture(graph, form, "overview", Options()) for _ in range(2))
    assert first == second
    assert len(first[0]) > 500


@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_volumes_have_the_same_bytes_every_time(form: str) -> None:
    graph = api.load("lenet5").graph
    assert volumes_view(graph, form, DiagramOptions()) == volumes_view(graph, form, DiagramOptions())


def test_no_dot_on_the_path_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    content, _ = picture.picture(api.load("lenet5").graph, "svg", "overview", Options())
    assert ElementTree.fromstring(content).tag.endswith("svg")


def named(name: str) -> Graph:
    x = Value((1, 3, 8, 8))
    return Graph(name, {"x": x}, (Node(name.replace(".", "_"), Identity(), ("x",), x),), ())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_break_nothing(name: str) -> None:
    graph = named(name)
    content, _ = picture.picture(graph, "svg", "layer", Options())
    root = ElementTree.fromstring(content)
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert json.loads(to_json(diagram(graph), Options()))["model"]["name"] == name
    assert "<script" not in to_mermaid(diagram(graph), Options())
    assert ElementTree.fromstring(volumes_view(graph, "svg", DiagramOptions())).tag.endswith("svg")


def test_mermaid_and_json_hold_every_box() -> None:
    drawn = figure("googlenet")
    assert to_mermaid(drawn, Options()).count("<br/>") == len(drawn.boxes)
    document = json.loads(to_json(drawn, Options()))
    assert [box["name"] for box in document["boxes"]] == [box.name for box in drawn.boxes]
    assert sum(box["params"] for box in document["boxes"]) == document["totals"]["params"]


def test_a_figure_that_takes_too_long_is_drawn_with_less_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    real = layout.draw

    def slow(dot: str, form: str, **options: object) -> bytes:
        if dot.count("->") > 20:
            raise layout.LayoutTimeout
        return real(dot, form)

    monkeypatch.setattr(picture, "draw", slow)
    content, level = picture.picture(api.load("resnet50").graph, "svg", "op", Options())
    assert level == "overview"
    assert "op is too much to lay out" in content.decode()


def test_a_hanging_engine_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_command", lambda engine, form: [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(layout.LayoutTimeout):
        layout.draw("digraph {}", "svg", limit=0.5)


def test_without_an_engine_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CnnscopeError) as caught:
        layout.draw("digraph {}", "svg")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E414", "needs pygraphviz: pip install 'pygraphviz>=2.0.4'")


def test_unknown_formats_name_the_known() -> None:
    with pytest.raises(CnnscopeError) as caught:
        check_format("bmp", graph_formats())
    assert caught.value.diagnostics[0].hint == "the formats are svg, png, pdf, dot, json, mmd, tex"


@pytest.mark.parametrize("theme", THEMES)
def test_text_reads_well_on_everything(theme: ThemeName) -> None:
    """WCAG 2.2: at least 4.5 to 1."""
    look = THEMES[theme]
    fills = [look.fill, *(heat_colour(share / 100, look) for share in range(101))]
    assert min(contrast(text_on(fill, look), fill) for fill in fills) >= 4.5
    assert min(contrast(colour, look.background) for colour in (look.text, look.muted, look.down, look.up)) >= 4.5
    assert contrast(look.line, look.background) >= 3, "lines are graphics: 3 to 1"


# Viénot, Brettel & Mollon 1999: linear RGB as a dichromat sees it.
PROTAN = ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0))
DEUTAN = ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0))


def linear(colour: str) -> tuple[float, ...]:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)


def lab(rgb: tuple[float, ...]) -> tuple[float, float, float]:
    """CIE L*a*b* of linear sRGB (D65)."""
    matrix = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    x, y, z = (
        ratio ** (1 / 3) if (ratio := max(sum(m * c for m, c in zip(row, rgb, strict=True)), 0) / w) > 0.008856
        else 7.787 * ratio + 16 / 116
        for row, w in zip(matrix, white, strict=True)
    )  # fmt: skip
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("matrix", [PROTAN, DEUTAN])
def test_kinds_are_told_apart_by_the_colour_blind(matrix: tuple[tuple[float, ...], ...]) -> None:
    """A difference of 10 in L*a*b* is seen at a glance; kinds that share a colour on purpose are left out."""
    colours = set(KINDS.values())
    seen = {c: lab(tuple(sum(m * v for m, v in zip(row, linear(c), strict=True)) for row in matrix)) for c in colours}
    for a, b in combinations(sorted(colours), 2):
        difference = sum((p - q) ** 2 for p, q in zip(seen[a], seen[b], strict=True)) ** 0.5
        assert difference >= 10, (a, b, difference)


def test_the_main_kinds_differ_in_grey_print() -> None:
    main = [KINDS[kind] for kind in ("conv", "block", "pool", "linear", "activation", "input")]
    lightness = sorted(lab((luminance(c),) * 3)[0] for c in main)
    assert min(b - a for a, b in pairwise(lightness)) >= 3


def test_dot_source_is_valid_for_graphviz() -> None:
    source = to_dot(figure("unet", "op"), Options(direction="LR", theme="dark"))
    assert layout.draw(source, "json").startswith(b"{")


def test_overview_of_resnet152_fits_a_page_in_readable_type() -> None:
    """A4 is 595 x 842 points; the smallest text on it must have 7."""
    content, _ = picture.picture(api.load("resnet152").graph, "svg", "overview", Options(), fit="a4")
    width, height = picture.size(content)
    assert width <= 595
    assert height <= 842
    root = ElementTree.fromstring(content)
    scale = re.search(r"scale\(([\d.]+)", next(e.attrib["transform"] for e in root.iter() if "transform" in e.attrib))
    assert scale
    smallest = min(float(e.attrib["font-size"]) for e in root.iter() if "font-size" in e.attrib)
    assert smallest * float(scale[1]) >= 7


def test_tikz_has_every_box_and_balanced_braces() -> None:
    content, _ = picture.picture(api.load("resnet18").graph, "tex", "overview", Options())
    source = content.decode()
    boxes = figure("resnet18").boxes
    assert source.count(r"\bfseries]") == len(boxes)
    assert source.count(r"\draw[->") == len(boxes) - 1
    bare = re.sub(r"\\[{}]", "", source)
    assert bare.count("{") == bare.count("}")
    assert source.isascii()


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_sets_hostile_names_as_they_are(name: str) -> None:
    shown = escape(name)
    assert shown.isascii()
    assert not re.search(r"(?<!\\)[&%$#_](?!\\?times)", shown.replace(r"$\times$", "").replace(r"$\cdot$", ""))


def test_without_fonts_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = layout.find_spec
    monkeypatch.setattr(layout, "find_spec", lambda name: None if name == "matplotlib" else real(name))
    with pytest.raises(CnnscopeError) as caught:
        layout.draw("digraph {a}", "svg")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E414", "needs matplotlib: pip install matplotlib")


@pytest.mark.parametrize("level", picture.LEVELS)
def test_densenet201_is_drawn_at_every_level_without_simplification(level: picture.DetailLevel) -> None:
    content, drawn = picture.picture(api.load("densenet201").graph, "svg", level, Options())
    assert drawn == level
    assert ElementTree.fromstring(content).tag.endswith("svg")


def test_what_reads_nothing_of_the_image_has_no_receptive_field() -> None:
    from torch import Tensor, nn, zeros

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(zeros(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.shift.transpose(0, 1)

    drawn = diagram(api.load(Shifted(), input=(3, 8, 8)).graph, "op")
    said = {box.id: details(box, drawn, Options()) for box in drawn.boxes}
    assert [name for name, text in said.items() if "RF" in text] == ["add"]
    assert said["shift"] == "shift · 64 params"
