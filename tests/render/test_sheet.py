"""Sheets: rows add up to the network, one anatomy for each structure, true arrows, the notation of the papers.

The truth about arrows is the graph; that about rows is the papers' own tables.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import combinations
from xml.etree import ElementTree

import pytest
from sweeps import sweep
from test_ladder import SAMPLE, TIMM, graph, meets, text_box

from cnnscope import api
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.options.network import DiagramOptions
from cnnscope.render import style
from cnnscope.render.diagram.canvas import Canvas, Text, to_svg
from cnnscope.render.diagram.sheet.figure import Look, Sheet, draw, pages, sheet
from cnnscope.render.diagram.sheet.text import table, to_latex, to_markdown
from cnnscope.render.diagram.views import FormerName, diagram
from cnnscope.render.table import plain
from cnnscope.sources import zoo


@cache
def content(name: str) -> Sheet:
    return sheet(graph(name))


@cache
def drawn(name: str) -> Canvas:
    return draw(content(name))


def check_sums(found: Sheet) -> None:
    totals, rest = found.found.totals, found.found.rest
    assert sum(row.cost.params for row in found.rows) + rest.params == totals.params
    assert sum(row.cost.macs or 0 for row in found.rows) + (rest.macs or 0) == totals.macs
    parts = [part.id for row in found.rows for part in row.parts]
    assert len(set(parts)) == len(parts)


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_rows_add_up_to_the_network(name: str) -> None:
    check_sums(content(name))
    assert content(name).found.totals.params == api.load(name)._summary.totals.params


def check_arrows(network: Graph, canvas: Canvas) -> None:
    """In every structure, an arrow leads from A to B if and only if B is computed from A and from no box between."""
    elements = [e for e in ElementTree.fromstring(to_svg(canvas)).iter() if "data-structure" in e.attrib]
    for name in {e.attrib["data-structure"] for e in elements}:
        mine = [e.attrib for e in elements if e.attrib["data-structure"] == name]
        boxes = [one["data-layer"] for one in mine if "data-layer" in one]
        (entry,) = (one["data-entry"] for one in mine if "data-entry" in one)
        arrows = [(one["data-from"], one["data-to"]) for one in mine if "data-from" in one]
        assert len(set(boxes)) == len(boxes)
        assert len(set(arrows)) == len(arrows)
        ends = {entry, *boxes}
        assert set(arrows) == {(source, box) for box in boxes for source in sources(network, box, ends)}


def sources(network: Graph, box: str, ends: set[str]) -> set[str]:
    """The ends that a box is computed from directly; what depends on none of them is a constant."""
    found, stack = set(), list(network.node(box).inputs)
    seen: set[str] = set()
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in ends:
            found.add(name)
        elif name not in network.inputs:
            stack += network.node(name).inputs
    return found


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_arrows_of_structures_are_those_of_the_graph(name: str) -> None:
    check_arrows(content(name).found.graph, drawn(name))


@pytest.mark.slow
@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", TIMM)
def test_sheets_of_traced_networks(name: str) -> None:
    found = sheet(graph(f"timm:{name}"))
    check_sums(found)
    check_arrows(found.found.graph, draw(found))


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_texts_are_apart_and_inside(name: str) -> None:
    canvas = drawn(name)
    texts = [text_box(mark) for mark in canvas.marks if isinstance(mark, Text)]
    for a, b in combinations(texts, 2):
        assert not meets(a, b)
    for left, top, right, bottom in texts:
        assert canvas.left <= left
        assert right <= canvas.left + canvas.width
        assert canvas.top <= top
        assert bottom <= canvas.top + canvas.height


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
@pytest.mark.parametrize("page", [style.A4, style.SLIDE], ids=["a4", "slide"])
def test_text_has_six_points_on_paper(name: str, page: style.Page) -> None:
    for canvas in pages(content(name), page):
        assert canvas.fitted(page).smallest >= 6


def test_a_sheet_on_several_pages_has_every_row_and_structure() -> None:
    found = pages(content("inception_v3"), style.SLIDE)
    assert len(found) > 1
    layers = [dict(mark.data).get("layer") for canvas in found for mark in canvas.marks if hasattr(mark, "data")]
    assert {row.last.id for row in content("inception_v3").rows} <= set(layers)
    tags = {dict(mark.data).get("structure") for canvas in found for mark in canvas.marks if hasattr(mark, "data")}
    assert tags - {None} == {f"s{i}" for i in range(1, len(content("inception_v3").structures) + 1)}


def rows(name: str) -> list[tuple[str, tuple[str, ...], int]]:
    return [(cell.output, cell.row.lines, cell.row.count) for cell in content(name).cells]


def test_the_rows_of_a_resnet_are_those_of_its_table() -> None:
    """He et al. 2016, table 1."""
    stages = [row for row in rows("resnet152") if len(row[1]) == 3]
    assert stages == [
        ("56×56", ("1×1, 64", "3×3, 64", "1×1, 256"), 3),
        ("28×28", ("1×1, 128", "3×3, 128", "1×1, 512"), 8),
        ("14×14", ("1×1, 256", "3×3, 256", "1×1, 1024"), 36),
        ("7×7", ("1×1, 512", "3×3, 512", "1×1, 2048"), 3),
    ]
    assert len(content("resnet152").structures) == len(content("resnet34").structures) == 1


def test_the_rows_of_googlenet_have_the_widths_of_its_table() -> None:
    """Szegedy et al. 2015, table 1: #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj."""
    widths = [row.widths for row in content("googlenet").rows if row.widths]
    assert widths[0] == (64, 96, 128, 16, 32, 32)
    assert widths[-1] == (384, 192, 384, 48, 128, 128)
    assert len(widths) == 9
    assert len(content("googlenet").structures) == 1


def test_the_rows_of_a_densenet_grow() -> None:
    """Huang et al. 2017, table 1: blocks of 6, 12, 24 and 16 layers."""
    dense = [row for row in content("densenet121").rows if row.count > 1]
    assert [row.count for row in dense] == [6, 12, 24, 16]
    assert dense[0].channels == "96 … 256"


def test_inverted_residuals_have_their_expansion() -> None:
    """Howard et al. 2019, table 2: 16 → 72, 24 → 88, 24 → 96, 40 → 240."""
    lines = [line for _, lines, _ in rows("mobilenet_v3_small") for line in lines if "dw →" in line]
    assert lines[:4] == [
        "1×1 ×4.5 → 3×3 dw → 1×1", "1×1 ×3.67 → 3×3 dw → 1×1", "1×1 ×4 → 5×5 dw → SE → 1×1",
        "1×1 ×6 → 5×5 dw → SE → 1×1",
    ]  # fmt: skip


def test_a_transformer_has_one_row_for_its_layers() -> None:
    assert ("197 tokens", ("self-attention, 3 heads", "MLP 768 → 192"), 12) in rows("vit_tiny")
    assert [cell.field for cell in content("vit_tiny").cells] == ["16", "16 + image", "image"]


def test_rows_tell_of_shared_weights_heads_of_training_and_outputs() -> None:
    assert [row.note for row in content("siamese").rows].count("shared weights") == 5, (
        "four convolutions, one linear layer"
    )
    assert [row.note for row in content("googlenet").rows].count("training only") == 6
    assert content("unet").rows[-1].note == "output"


def test_the_share_follows_the_heat() -> None:
    def said(heat: style.Heat) -> set[str]:
        canvas = draw(sheet(graph("lenet5"), Look(heat=heat)))
        return {mark.text for mark in canvas.marks if isinstance(mark, Text)}

    assert "95.8 %" in said("params"), "59,134 of 61,706 in the last row"
    assert "28.2 %" in said("macs")
    assert not [text for text in said("none") if text.endswith("%")]


def test_the_terminal_has_eighty_columns() -> None:
    for name in ("mobilenet_v3_large", "googlenet", "inception_v3", "vit_tiny", "resnet152", "retinanet_resnet50_fpn"):
        assert max(map(len, plain(table(content(name))).splitlines())) <= 80, name


def test_latex_is_booktabs_and_escaped() -> None:
    network = Graph(**{**vars_of(graph("lenet5")), "name": "50% & _x_"})
    source = to_latex(sheet(network))
    assert source.isascii()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in source
    bare = re.sub(r"\\[{}%]", "", source)
    assert bare.count("{") == bare.count("}")
    assert len(re.findall(r"(?m)^[^%].*&.*\\\\$", source)) == len(content("lenet5").rows) + 2


def vars_of(network: Graph) -> dict[str, object]:
    return {name: getattr(network, name) for name in ("inputs", "nodes", "outputs", "params", "scopes")}


def test_markdown_has_a_line_a_row() -> None:
    lines = [line for line in to_markdown(content("resnet34")).splitlines() if line.startswith("|")]
    assert len(lines) == len(content("resnet34").rows) + 3
    assert {line.count("|") for line in lines} == {8}


@pytest.mark.parametrize("form", ["svg", "png", "pdf", "tex", "md"])
def test_the_same_bytes_every_time(form: str) -> None:
    first, second = (diagram(graph("resnet18"), DiagramOptions(view="sheet")).draw(form) for _ in range(2))
    assert first == second
    assert len(first) > 500


def test_a_pdf_has_truetype_fonts_and_as_many_pages_as_it_needs() -> None:
    options = DiagramOptions(view="sheet", fit="slide")
    content = diagram(graph("inception_v3"), options).draw("pdf")
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert len(re.findall(rb"/Type /Page\b", content)) == len(pages(sheet(graph("inception_v3")), style.SLIDE)) > 1


def test_the_former_name_is_said_once() -> None:
    with pytest.warns(FormerName) as found:
        diagram(graph("lenet5"), DiagramOptions(view="paper")).draw("svg")
    assert [str(one.message) for one in found] == ["the view `paper` is now called `sheet`"]


def test_what_a_sheet_cannot_do_is_refused() -> None:
    with pytest.raises(CnnscopeError) as caught:
        diagram(graph("lenet5"), DiagramOptions(view="sheet", direction="LR"))
    assert caught.value.diagnostics[0].message == "the sheet view does not read `--direction`"
    with pytest.raises(CnnscopeError) as caught:
        diagram(graph("lenet5"), DiagramOptions(view="sheet")).draw("dot")
    assert caught.value.diagnostics[0].message == "the sheet view is not drawn as `dot`"
