"""Volumes: true arrows, true sizes, windows to scale, towers, nothing on anything else, the same bytes."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import sqrt
from xml.etree import ElementTree

import pytest
from sweeps import sweep
from test_ladder import SAMPLE, TIMM, graph, meets, text_box, true_arrows

from cnnscope import api
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.options.network import DiagramOptions
from cnnscope.render import style
from cnnscope.render.diagram.canvas import Canvas, Polygon, Text, to_svg
from cnnscope.render.diagram.small import SmallText
from cnnscope.render.diagram.views import diagram
from cnnscope.render.diagram.volumes.figure import Look, volumes
from cnnscope.render.diagram.volumes.maps import maps, window, wires
from cnnscope.sources import zoo


@cache
def drawn(name: str) -> Canvas:
    return volumes(graph(name))


PLAIN = Look()


def said(name: str, look: Look = PLAIN) -> list[str]:
    return [mark.text for mark in volumes(graph(name), look).marks if isinstance(mark, Text)]


def check_arrows(network: Graph, canvas: Canvas) -> None:
    elements = [e.attrib for e in ElementTree.fromstring(to_svg(canvas)).iter()]
    boxes = [one["data-layer"] for one in elements if "data-layer" in one]
    arrows = [(one["data-from"], one["data-to"], one.get("data-towers", "")) for one in elements if "data-from" in one]
    assert len(set(boxes)) == len(boxes)
    assert len(set(arrows)) == len(arrows)
    assert {arrow[:2] for arrow in arrows} == set(true_arrows(network, set(boxes)))


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_arrows_are_those_of_the_graph(name: str) -> None:
    check_arrows(maps(graph(name)).found.graph, drawn(name))


@pytest.mark.slow
@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", TIMM)
def test_arrows_of_traced_networks(name: str) -> None:
    network = graph(f"timm:{name}")
    check_arrows(maps(network).found.graph, volumes(network))


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_texts_and_solids_are_apart_and_inside(name: str) -> None:
    canvas = drawn(name)
    texts = [text_box(mark) for mark in canvas.marks if isinstance(mark, Text)]
    for a, b in combinations(texts, 2):
        assert not meets(a, b)
    fronts = [mark.points for mark in canvas.marks if isinstance(mark, Polygon) and "layer" in dict(mark.data)]
    solid = [(min(x for x, _ in f), min(y for _, y in f), max(x for x, _ in f), max(y for _, y in f)) for f in fronts]
    for one, other in combinations(solid, 2):
        assert not meets(one, other)
    for left, top, right, bottom in texts:
        assert canvas.left <= left
        assert right <= canvas.left + canvas.width
        assert canvas.top <= top
        assert bottom <= canvas.top + canvas.height


def front(name: str, layer: str) -> tuple[float, float]:
    """The width and height of a solid's front."""
    (mark,) = [m for m in drawn(name).marks if isinstance(m, Polygon) and ("layer", layer) in m.data]
    (a, y), (b, _), (_, top), _ = mark.points
    return b - a, y - top


def test_sides_are_to_scale() -> None:
    """Heights are linear in the extents, widths the root of the channels."""
    (wide, tall), (other_wide, other_tall) = front("lenet5", "c1.act"), front("lenet5", "c3.act")
    assert tall / other_tall == pytest.approx(28 / 10)
    assert wide / other_wide == pytest.approx(sqrt(6 / 16))


def windows(name: str) -> dict[tuple[str, str], tuple[float, float] | None]:
    content = maps(graph(name))
    return {(a.id, b.id): window(a, b, wire) for a, b, wire in wires(content)}


def test_windows_are_what_one_unit_reads() -> None:
    assert [size for (a, _), size in windows("alexnet").items() if a == "input"] == [(11, 11)]
    assert [size for (a, _), size in windows("vgg16").items() if a == "input"] == [(3, 3)]
    ups = {b: size for (_, b), size in windows("unet").items() if graph("unet").node(b).op.tag == "upconv"}
    assert ups
    assert set(ups.values()) == {None}, "2x2 transposed convolutions of stride 2 read one pixel"


def test_alexnet_has_two_towers() -> None:
    """Krizhevsky et al. 2012, figure 2: only conv3 and the linear layers read both halves of the layer before."""
    texts = said("alexnet")
    assert [text for text in texts if text.startswith("2 × ")] == [
        "2 × 48x55x55", "2 × 128x27x27", "2 × 192x13x13", "2 × 192x13x13", "2 × 128x13x13", "2 × 128x6x6", "2 × 2048",
        "2 × 2048",
    ]  # fmt: skip
    assert any("LRN mixes neighbouring channels across the towers" in text for text in texts)
    elements = [e.attrib for e in ElementTree.fromstring(to_svg(drawn("alexnet"))).iter() if "data-towers" in e.attrib]
    ways: dict[str, set[str]] = {}
    for one in elements:
        ways.setdefault(one["data-to"], set()).add(one["data-towers"])
    inside = [name for name, pairs in ways.items() if pairs == {"1 1", "2 2"}]
    assert [name.split(".")[0] for name in inside] == ["norm2", "conv4", "conv5", "pool5"], "norm2 ends conv2"


def test_frames_and_channels_at_the_end_are_drawn() -> None:
    canvas = drawn("r3d_18")
    assert "3x16x112x112" in said("r3d_18")
    fronts = [mark for mark in canvas.marks if isinstance(mark, Polygon) and len({y for _, y in mark.points}) == 2]
    assert len(fronts) >= 5 + 5 + 5 + 4 + 3 + 2, "1 + log2 of 16, 16, 16, 8, 4 and 2 frames"


@pytest.mark.usefixtures("torchvision")
def test_swin_is_as_wide_as_its_channels() -> None:
    content = maps(graph("torchvision:swin_t"))
    channels = {cell.part.channels for cell in content.cells.values() if cell.part.level is not None}
    assert channels >= {96, 192, 384, 768}
    assert 7 not in channels


def test_shares_and_fields_are_told() -> None:
    assert "28.2 %" in said("lenet5")
    assert "48.8 %" not in said("lenet5", Look(heat="none"))
    assert "RF 16 + image" in said("vit_tiny")
    assert not [text for text in said("vit_tiny", Look(rf=False)) if text.startswith("RF")]
    assert sum(text.endswith("w1") for text in said("siamese")) == 2


def test_what_has_no_room_on_a_page_refers_to_the_ladder() -> None:
    options = DiagramOptions(view="volumes", fit="a4")
    with pytest.warns(SmallText, match=r"points on A4; `--view ladder` has more room"):
        diagram(graph("unet"), options).draw("svg")
    for name in ("lenet5", "alexnet", "vgg16", "resnet34", "siamese", "vit_tiny"):
        assert drawn(name).fitted(style.A4).smallest >= 6, name


@pytest.mark.parametrize("form", ["svg", "png", "pdf", "tex"])
def test_the_same_bytes_every_time(form: str) -> None:
    first, second = (diagram(graph("lenet5"), DiagramOptions(view="volumes")).draw(form) for _ in range(2))
    assert first == second
    assert len(first) > 1000


def test_an_option_of_another_view_is_refused() -> None:
    with pytest.raises(CnnscopeError) as caught:
        diagram(graph("lenet5"), DiagramOptions(view="volumes", engine="dot"))
    assert caught.value.diagnostics[0].message == "the volumes view does not read `--engine`"


def test_the_total_of_all_shares_is_one() -> None:
    content = maps(graph("vgg16"))
    totals = api.load("vgg16")._summary.totals
    drawn_macs = sum(cell.cost.macs or 0 for cell in content.cells.values())
    assert drawn_macs == totals.macs
