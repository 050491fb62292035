"""Two networks on one page: their ladders side by side with what differs marked, and the differences as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnscope.analysis.diff import Change, Part
from cnnscope.ir import Graph
from cnnscope.render import difference, numbers
from cnnscope.render.diagram.canvas import Circle, Mark, Polygon
from cnnscope.render.diagram.ladder.figure import Drawn, Ladder, drawn, ladder
from cnnscope.render.difference import DifferenceReport
from cnnscope.render.html import rendered, text
from cnnscope.render.illustrated import Page, file_name
from cnnscope.render.page.document import embedded, total_records, variables
from cnnscope.render.page.figures import LOOKS
from cnnscope.render.page.svg import Palette, button, picture, shapes

WORDS = {"+": "only in the second", "-": "only in the first", "~": "changed", "=": "equal"}
SIGNS = {"+": "+", "-": "\N{MINUS SIGN}", "~": "~", "=": "="}
CLASSES = {"+": "added", "-": "gone", "~": "changed", "=": "equal"}


def page(report: DifferenceReport) -> Page:
    """Both networks on one page."""
    found, palette = report.difference, Palette()
    rows = found.rows
    of_a = {name: i for i, row in enumerate(rows) for name in _nodes(row.a)}
    of_b = {name: i for i, row in enumerate(rows) for name in _nodes(row.b)}
    sides = [
        _side(graph, source, total_records(summary), of, rows, palette, key)
        for graph, source, summary, of, key in (
            (found.a, report.source_a, found.summary_a, of_a, "a"),
            (found.b, report.source_b, found.summary_b, of_b, "b"),
        )
    ]
    title = f"{numbers.printable(found.a.name)} and {numbers.printable(found.b.name)}"
    data = {key: side["rows"] for key, side in zip("ab", sides, strict=True)}
    values = {
        "title": title, "sides": sides, "headline": report.headline, "counts": report.counts,
        "remarks": tuple(_remarks(report)), "rows": [_row(row) for row in rows],
        "differs": any(row.mark != "=" for row in rows),
        "legend": [(CLASSES[mark], SIGNS[mark], words) for mark, words in WORDS.items()],
        "style": variables(palette) + text("page", "page.css") + text("page", "pair.css") + palette.classes(),
        "script": '"use strict";\n' + text("page", "pair.js"), "data": embedded(data),
    }  # fmt: skip
    return Page(rendered("page", "pair.html.j2", values, {}), "html", file_name(f"{found.a.name}-{found.b.name}"))


def _remarks(report: DifferenceReport) -> Iterator[str]:
    """What a reader should know of how layers were paired."""
    rows = report.difference.rows
    if report.equal:
        yield "The two networks are the same but for names."
    names = [{part.name for row in rows if (part := side(row)) and part.nodes} for side in (_a, _b)]
    if all(names) and not names[0] & names[1]:
        yield "The two networks share no name of a layer: layers are paired by what they compute and by their order."
    if not any(row.a and row.b and row.a.nodes for row in rows):
        yield "No layer of one has a partner in the other: everything is listed as only in one of them."


def _a(row: Change) -> Part | None:
    return row.a


def _b(row: Change) -> Part | None:
    return row.b


def _nodes(part: Part | None) -> tuple[str, ...]:
    """The nodes of a row's side, or the input that it is."""
    if part is None:
        return ()
    return tuple(node.name for node in part.nodes) or (part.name,)


def _side(
    graph: Graph, source: str, totals: Sequence[tuple[str, str]], of: Mapping[str, int], rows: Sequence[Change],
    palette: Palette, key: str,
) -> dict[str, Any]:  # fmt: skip
    """One network: its name, where it comes from, its totals, its ladder, and the rows in each of its boxes."""
    content = ladder(graph)
    light, dark = drawn(content, LOOKS)
    inside = dict(_inside(content, light, of))
    body = shapes(light.back, dark.back, palette) + shapes(light.wires, dark.wires, palette)
    pairs = [*zip(light.boxes, dark.boxes, strict=True)]
    for (ids, written), (_, other) in zip(light.labels, dark.labels, strict=True):
        pairs.append(((" ".join(ids), (written,)), (" ".join(ids), (other,))))
    for number, ((name, a), (_, b)) in enumerate(pairs):
        own = inside.get(name, ())
        mark = _worst([rows[i].mark for i in own])
        label = f"{numbers.printable(name)}: {WORDS[mark]}"
        content_svg = shapes(a, b, palette) + ("" if mark == "=" else _sign(a, mark))
        body += button(key, number, label, content_svg) if own else content_svg
    body += f'<g class="notes">{shapes(light.legend, dark.legend, palette)}</g>'
    return {
        "name": numbers.printable(graph.name), "source": numbers.printable(source), "totals": totals,
        "svg": picture(body, (light.left, -22.0, light.width, light.height + light.top + 22.0), graph.name),
        "rows": {str(number): inside.get(name, ()) for number, ((name, _), _) in enumerate(pairs)},
    }  # fmt: skip


def _inside(content: Ladder, light: Drawn, of: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The rows of the difference that are in each box, and at each label of an arrow."""
    parts = {part.id: part for cell in content.cells.values() for wire in cell.wires for part in wire.via}
    for cell in content.cells.values():
        names = (name for part in cell.parts for name in (*part.nodes, part.id))
        yield cell.id, tuple(dict.fromkeys(of[name] for name in names if name in of))
    for ids, _ in light.labels:
        names = (name for one in ids for name in parts[one].nodes)
        yield " ".join(ids), tuple(dict.fromkeys(of[name] for name in names if name in of))


def _worst(marks: Sequence[str]) -> str:
    """The mark of a box: that of its rows where they agree, else changed; equal where it has none."""
    kinds = set(marks)
    return kinds.pop() if len(kinds) == 1 else "~" if kinds else "="


def _sign(marks: Sequence[Mark], mark: str) -> str:
    """A frame round a box in the colour of its difference, with the sign at its corner."""
    xs, ys = [], []
    for one in marks:
        if isinstance(one, Polygon) and dict(one.data).get("layer"):
            xs += [x for x, _ in one.points]
            ys += [y for _, y in one.points]
        elif isinstance(one, Circle) and one.data:
            xs += [one.x - one.radius, one.x + one.radius]
            ys += [one.y - one.radius, one.y + one.radius]
    if not xs:  # a text at an arrow
        xs = [x for one in marks if (x := getattr(one, "x", None)) is not None]
        ys = [y for one in marks if (y := getattr(one, "y", None)) is not None]
        return f'<text class="sign-text {CLASSES[mark]}" x="{xs[0] - 7:.1f}" y="{ys[0]:.1f}">{SIGNS[mark]}</text>'
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return (
        f'<rect class="diff {CLASSES[mark]}" x="{left - 1.5:.1f}" y="{top - 1.5:.1f}" width="{right - left + 3:.1f}" '
        f'height="{bottom - top + 3:.1f}" rx="2"/><circle class="disc {CLASSES[mark]}" cx="{left:.1f}" cy="{top:.1f}" '
        f'r="5"/><text class="sign" x="{left:.1f}" y="{top + 2.8:.1f}">{SIGNS[mark]}</text>'
    )


def _row(row: Change) -> dict[str, Any]:
    params, macs = difference.deltas(row)
    return {
        "kind": CLASSES[row.mark], "sign": SIGNS[row.mark], "name": difference.row_name(row).replace("->", "→"),
        "type": difference.both(row, difference.label).replace("->", "→"),
        "shape": difference.both(row, difference.shape).replace("->", "→"),
        "params": "" if row.mark == "=" else difference.signed(params),
        "macs": "" if row.mark == "=" else difference.signed(macs),
        "changed": difference.changed_text(row).replace("->", "→"),
    }  # fmt: skip
