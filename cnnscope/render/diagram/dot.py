"""The graph view as DOT source: boxes with a kind stripe, folded repeats with a badge, stages as dashed frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Literal

from cnnscope.render import numbers, style
from cnnscope.render.diagram.layout import FONT
from cnnscope.render.diagram.model import Box, Diagram, Edge

GAPS = {False: 0.38, True: 0.28}
"""Inches between ranks: in one column, and where a long network is wrapped into several."""

Direction = Literal["TB", "LR"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the reader may choose."""

    heat: style.Heat = "macs"
    rf: bool = True
    theme: style.ThemeName = "light"
    direction: Direction = "TB"
    columns: int = 1
    page: tuple[float, float] | None = None
    """Points of width and height to shrink to; None leaves the size to the figure."""


def to_dot(figure: Diagram, options: Options = Options()) -> str:
    """DOT source, sorted as the network runs, the same every time."""
    return "\n".join(_lines(figure, options)) + "\n"


def _lines(figure: Diagram, options: Options) -> Iterator[str]:
    theme = style.THEMES[options.theme]
    yield f"digraph {quoted(figure.name)} {{"
    yield f'  graph [rankdir={options.direction}, bgcolor="{theme.background}", fontname="{FONT}", '
    yield f"         ranksep={GAPS[options.columns > 1]}, nodesep=0.3, labelloc=t,"
    yield f'         fontcolor="{theme.text}", margin=0, pad=0.3,'
    if options.page:
        yield f'         size="{options.page[0] / 72:.3f},{options.page[1] / 72:.3f}",'
    yield f"         label=<{_heading(figure, theme)}>];"
    yield f'  node [shape=plain, fontname="{FONT}", fontcolor="{theme.text}"];'
    yield f'  edge [fontname="{FONT}", fontsize={style.SIZES["edge"]}, color="{theme.line}", fontcolor="{theme.muted}",'
    yield "        arrowsize=0.6, penwidth=1.0];"
    yield from _members(figure, "", options, theme, "  ")
    column = _columns(figure, options.columns)
    yield from (_edge(edge) for edge in figure.edges if column[edge.source] == column[edge.target])
    wrapped = (edge for edge in figure.edges if column[edge.source] != column[edge.target])
    for number, edge in enumerate(wrapped, start=1):
        yield from _connector(edge, number, theme)
    yield from (f"  {quoted(above)} -> {quoted(below)} [style=invis];" for above, below in figure.order)
    yield from _legend(figure, options, theme)
    yield "}"


def _members(figure: Diagram, cluster: str, options: Options, theme: style.Theme, pad: str) -> Iterator[str]:
    for box in figure.boxes:
        if box.cluster == cluster:
            label = _label(box, figure, options, theme)
            yield f"{pad}{quoted(box.id)} [label=<{label}>, tooltip={quoted(box.name)}];"
    for inner in figure.clusters:
        if inner.parent == cluster:
            yield f"{pad}subgraph {quoted(inner.id)} {{"
            yield f'{pad}  style="dashed,rounded"; color="{theme.frame}"; labeljust=l; margin=10;'
            yield f'{pad}  fontsize={style.SIZES["cluster"]}; fontcolor="{theme.muted}";'
            yield f"{pad}  label={quoted(f'{inner.title}   {numbers.shape(inner.shape)}')};"
            yield from _members(figure, inner.id, options, theme, pad + "  ")
            yield f"{pad}}}"


def _heading(figure: Diagram, theme: style.Theme) -> str:
    totals = figure.totals
    facts = [_text(figure.parameters), f"{numbers.short(totals.macs)} MACs"]
    title = f'<FONT POINT-SIZE="{style.SIZES["title"]}"><B>{_text(figure.name)}</B></FONT>'
    line = f'<FONT POINT-SIZE="{style.SIZES["cluster"]}" COLOR="{theme.muted}">{"  ·  ".join(facts)}</FONT>'
    rows = "".join(f"<TR><TD>{text}</TD></TR>" for text in (title, line, " "))
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">{rows}</TABLE>'


def _label(box: Box, figure: Diagram, options: Options, theme: style.Theme) -> str:
    fill = style.heat_colour(style.share_of(box.cost, figure.totals, options.heat), theme)
    name, detail = style.SIZES["name"], style.SIZES["detail"]
    ink = style.text_on(fill, theme)
    stripe = style.kind_colour(box.category)
    cells = [
        f'<TD BGCOLOR="{stripe}" WIDTH="7" FIXEDSIZE="FALSE" CELLPADDING="0"> </TD>',
        f'<TD BGCOLOR="{fill}" CELLPADDING="2"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">'
        f'<TR><TD ALIGN="LEFT"><FONT COLOR="{ink}" POINT-SIZE="{name}"><B>{_text(box.title)}</B></FONT></TD>'
        f'</TR><TR><TD ALIGN="LEFT"><FONT COLOR="{ink}" POINT-SIZE="{detail}">'
        f"{_wrapped_details(box, figure, options)}</FONT></TD></TR></TABLE></TD>",
    ]
    if box.count > 1:
        badge = f"×{box.count}" + (f"\n+{box.growth}" if box.growth else "")
        cells.append(
            f'<TD BGCOLOR="{stripe}" CELLPADDING="5"><FONT COLOR="{style.ink_on(stripe)}" POINT-SIZE="{name}">'
            f"<B>{_text(badge)}</B></FONT></TD>"
        )
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0"><TR>{"".join(cells)}</TR></TABLE>'


def _wrapped_details(box: Box, figure: Diagram, options: Options) -> str:
    """The text on two lines where columns are side by side, so that they stay narrow."""
    text = details(box, figure, options)
    lines = text.split(" · ", 1) if options.columns > 1 else [text]
    return "".join(f'{_text(line)}<BR ALIGN="LEFT"/>' for line in lines)


def details(box: Box, figure: Diagram, options: Options) -> str:
    """The second line of a box: its name, parameters, share of the MACs, receptive field."""
    if box.category == "input":
        return numbers.shape(box.shape)
    parts = [box.name]
    if box.cost.params:
        parts.append(f"{numbers.short(box.cost.params)} params")
    if box.cost.macs:
        parts.append(f"{numbers.share(box.cost.macs, figure.totals.macs)} MACs")
    if options.rf and box.field is not None and box.category != "input":
        parts.append(field_text(box))
    return " · ".join(filter(None, parts))


def field_text(box: Box) -> str:
    """The receptive field as written in a figure: ``RF 427``, ``RF 3x7x7``, ``RF image``, ``RF varies``; empty where
    nothing of the image is read."""
    field = box.field
    if field is None:
        return ""
    if field.position_dependent:
        return "RF varies"
    if field.size is None:
        return "RF image" if field.via else ""
    sizes = sorted(set(field.size))
    return f"RF {sizes[0] if len(sizes) == 1 else numbers.shape(field.size)}"


def _columns(figure: Diagram, count: int) -> dict[str, int]:
    """Which column each box is in: even shares of the boxes in order, a stage's frame never torn apart."""
    parents = {cluster.id: cluster.parent for cluster in figure.clusters}
    column: dict[str, int] = {}
    current, frame = 0, ""
    for i, box in enumerate(figure.boxes):
        outermost = box.cluster
        while parents.get(outermost):
            outermost = parents[outermost]
        if not outermost or outermost != frame:
            current = max(current, i * count // len(figure.boxes))
        column[box.id], frame = current, outermost
    return column


def _connector(edge: Edge, number: int, theme: style.Theme) -> Iterator[str]:
    """An edge from one column to another: two ends with the same mark, so that no line crosses the figure."""
    look = f'shape=circle, margin=0.02, fontsize={style.SIZES["edge"]}, color="{theme.line}", fontcolor="{theme.muted}"'
    ends = quoted(f"from {number}"), quoted(f"to {number}")
    for end in ends:
        yield f'  {end} [label="{number}", width=0.2, {look}];'
    label = quoted(" " + numbers.shape(edge.shape))
    yield f"  {quoted(edge.source)} -> {ends[0]} [label={label}];"
    yield f"  {ends[1]} -> {quoted(edge.target)} [label={label}];"


def _edge(edge: Edge) -> str:
    label = quoted(" " + numbers.shape(edge.shape))
    weight = 1 if edge.skips else 4
    return f"  {quoted(edge.source)} -> {quoted(edge.target)} [label={label}, weight={weight}];"


def _legend(figure: Diagram, options: Options, theme: style.Theme) -> Iterator[str]:
    kinds = list(dict.fromkeys(box.category for box in figure.boxes))
    rows = "".join(
        f'<TD BGCOLOR="{style.kind_colour(kind)}" WIDTH="7"> </TD><TD ALIGN="LEFT">{_text(kind)}  </TD>'
        for kind in kinds
    )
    size, muted = style.SIZES["note"], theme.muted
    parts = [f'<TR><TD><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="1"><TR>{rows}</TR></TABLE></TD></TR>']
    if options.heat != "none":
        ramp = "".join(f'<TD BGCOLOR="{colour}" WIDTH="16"> </TD>' for colour in theme.heat)
        what = "MACs" if options.heat == "macs" else "parameters"
        parts.append(
            f'<TR><TD><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0"><TR><TD>share of {what}  0 </TD>{ramp}'
            "<TD> 100 % (square-root scale)</TD></TR></TABLE></TD></TR>"
        )
    parts += [f"<TR><TD>{_text(line)}</TD></TR>" for note in figure.notes for line in wrap(note, 80)]
    table = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="2">{"".join(parts)}</TABLE>'
    yield f'  "legend" [label=<<FONT POINT-SIZE="{size}" COLOR="{muted}">{table}</FONT>>];'
    if figure.boxes:
        yield f'  {quoted(figure.boxes[-1].id)} -> "legend" [style=invis];'


def quoted(text: str) -> str:
    """The text as a string in DOT source."""
    return '"' + numbers.printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(text: str) -> str:
    return "<BR/>".join(escape(numbers.printable(line)) for line in text.split("\n"))
