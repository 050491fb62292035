"""Two architectures as one figure: what both have drawn once, with a sign and a colour for what is new, gone, changed.

The edges of both networks are drawn, those of one alone in its colour. Long runs of one kind are one box, and so the
figure stays as long as what differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import ClassVar

from cnnscope.analysis import diff
from cnnscope.analysis.diff import Change, Mark, Part
from cnnscope.analysis.fuse import chain_concats
from cnnscope.errors import CnnscopeError
from cnnscope.render import difference, numbers
from cnnscope.render.diagram.dot import quoted
from cnnscope.render.diagram.layout import FONT, LayoutTimeout, draw
from cnnscope.render.style import PICTURES, SIZES, THEMES, Theme, ThemeName, ink_on

COLOURS: dict[Mark, str] = {"+": "#009E73", "-": "#D55E00", "~": "#E69F00", "=": "#8A929C"}
"""Okabe and Ito's bluish green, vermilion and orange, distinct without red and green; the sign differs as well."""
SIGNS: dict[Mark, str] = {"+": "+", "-": "\N{MINUS SIGN}", "~": "~", "=": "="}
WORDS: dict[Mark, str] = {"+": "only in {b}", "-": "only in {a}", "~": "changed", "=": "equal"}
LONGEST: dict[Mark, int] = {"+": 6, "-": 6, "~": 80, "=": 2}
"""A longer run of rows of one kind is drawn as one box."""


@dataclass(frozen=True)
class Difference(difference.DifferenceReport):
    """The difference of two networks, which can also be drawn."""

    KINDS: ClassVar[Sequence[str]] = (*PICTURES, "dot")
    theme: ThemeName = "light"

    def drawn(self, kind: str) -> bytes:
        return picture(self, kind, self.theme)

    def _repr_svg_(self) -> str:
        return self.drawn("svg").decode()


@dataclass(frozen=True, slots=True)
class Box:
    """Rows that are drawn as one box: a single row, or a run of one kind."""

    id: str
    rows: tuple[Change, ...]

    @property
    def mark(self) -> Mark:
        return self.rows[0].mark


def picture(report: difference.DifferenceReport, form: str, theme: ThemeName = "light") -> bytes:
    """The figure as ``svg``, ``png``, ``pdf`` or ``dot``; E605 where Graphviz does not finish, E60x where it fails."""
    dot = to_dot(report, theme)
    if form == "dot":
        return dot.encode()
    try:
        return draw(dot, form)
    except LayoutTimeout:
        hint = "write `-o figure.dot`, or the table: `-o figure.md`"
        raise CnnscopeError.of("E605", "Graphviz did not lay the figure out in time", hint=hint) from None


def to_dot(report: difference.DifferenceReport, theme: ThemeName = "light") -> str:
    """DOT source, in the order of both networks."""
    return "\n".join(_lines(report, THEMES[theme])) + "\n"


def boxes(rows: Sequence[Change]) -> Iterator[Box]:
    """What is drawn, in order."""
    count = 0
    for mark, group in groupby(rows, key=lambda row: row.mark):
        stretch = tuple(group)
        for part in (stretch,) if len(stretch) > LONGEST[mark] else ((row,) for row in stretch):
            yield Box(f"n{count}", part)
            count += 1


def _lines(report: difference.DifferenceReport, theme: Theme) -> Iterator[str]:
    found = _chained(report.difference)
    drawn = tuple(boxes(found.rows))
    yield f"digraph {quoted(f'{found.a.name} -> {found.b.name}')} {{"
    yield f'  graph [rankdir=TB, bgcolor="{theme.background}", fontname="{FONT}", fontcolor="{theme.text}",'
    yield f"         ranksep=0.32, nodesep=0.3, labelloc=t, margin=0, pad=0.3, label=<{_heading(report, theme)}>];"
    yield f'  node [shape=plain, fontname="{FONT}", fontcolor="{theme.text}"];'
    yield f'  edge [fontname="{FONT}", arrowsize=0.6, penwidth=1.0, color="{theme.line}"];'
    for box in drawn:
        yield f"  {box.id} [label=<{_box(box, theme)}>, tooltip={quoted(_name(box))}];"
    yield from _edges(found, drawn)
    yield from _legend(report, drawn, theme)
    yield "}"


def _chained(found: diff.Difference) -> diff.Difference:
    """Concatenations of all earlier maps drawn as a chain, which `dot` can lay out; no other row changes."""
    (a, chained_a), (b, chained_b) = chain_concats(found.a), chain_concats(found.b)
    return diff.diff(a, b) if chained_a or chained_b else found


def _heading(report: difference.DifferenceReport, theme: Theme) -> str:
    found = report.difference
    title = _text(f"{found.a.name}  →  {found.b.name}")
    rows = [f'<FONT POINT-SIZE="{SIZES["title"]}"><B>{title}</B></FONT>']
    lines = (" ".join(line.split()).replace("->", "→") for line in report.headline)
    rows += [f'<FONT POINT-SIZE="{SIZES["cluster"]}" COLOR="{theme.muted}">{_text(line)}</FONT>' for line in lines]
    return _table((f"<TR><TD>{row}</TD></TR>" for row in (*rows, " ")), padding=1)


def _box(box: Box, theme: Theme) -> str:
    colour = COLOURS[box.mark]
    title, details = _single(box.rows[0]) if len(box.rows) == 1 else _several(box)
    lines = [f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="{SIZES["name"]}"><B>{_text(title)}</B></FONT></TD></TR>']
    small = f'<FONT POINT-SIZE="{SIZES["detail"]}" COLOR="{theme.muted}">'
    lines += [f'<TR><TD ALIGN="LEFT">{small}{_text(detail)}</FONT></TD></TR>' for detail in details if detail]
    sign = f'<FONT COLOR="{ink_on(colour)}" POINT-SIZE="15"><B>{SIGNS[box.mark]}</B></FONT>'
    cells = f'<TD BGCOLOR="{colour}" WIDTH="20">{sign}</TD><TD BGCOLOR="{theme.fill}">{_table(lines, padding=1)}</TD>'
    return f'<TABLE BORDER="1" COLOR="{colour}" CELLBORDER="0" CELLSPACING="0"><TR>{cells}</TR></TABLE>'


def _single(row: Change) -> tuple[str, tuple[str, ...]]:
    params, macs = difference.deltas(row)
    figures = [f"{difference.signed(params, numbers.short)} params"] if params or params is None else []
    figures += [f"{difference.signed(macs, numbers.short)} MACs"] if macs or macs is None else []
    shapes = list(dict.fromkeys(difference.shape(part) for part in (row.a, row.b) if part))
    fields = list(dict.fromkeys(difference.field_text(part) for part in (row.a, row.b) if part and part.nodes))
    types = difference.both(row, difference.label).split(" -> ")
    title = types[0] if len(types) == 1 else f"{types[0]}\n→ {types[1]}"
    seen = " · ".join(filter(None, (" → ".join(shapes), f"RF {' → '.join(fields)}" if fields else "")))
    return title, (_arrow(difference.row_name(row)), seen, " · ".join(figures), _arrow(difference.changed_text(row)))


def _several(box: Box) -> tuple[str, tuple[str, ...]]:
    columns = zip(*map(difference.deltas, box.rows), strict=True)
    params, macs = (difference.signed(sum(n or 0 for n in column), numbers.short) for column in columns)
    words = {"=": "equal layers", "+": "more layers", "-": "layers less", "~": "changed layers"}
    figures = "" if box.mark == "=" else f"{params} params · {macs} MACs"
    return f"{len(box.rows)} {words[box.mark]}", (_name(box), figures)


def _name(box: Box) -> str:
    first, last = difference.row_name(box.rows[0]), difference.row_name(box.rows[-1])
    return _arrow(first if len(box.rows) == 1 else f"{_first(first)} … {_first(last)}")


def _first(name: str) -> str:
    return name.split(" -> ")[0]


def _arrow(text: str) -> str:
    return text.replace("->", "→")


def _edges(found: diff.Difference, drawn: Sequence[Box]) -> Iterator[str]:
    a = dict.fromkeys(_wires([(box.id, [row.a for row in box.rows if row.a]) for box in drawn]))
    b = dict.fromkeys(_wires([(box.id, [row.b for row in box.rows if row.b]) for box in drawn]))
    order = {box.id: i for i, box in enumerate(drawn)}
    for source, target in sorted({**a, **b}, key=lambda edge: (order[edge[0]], order[edge[1]])):
        both = (source, target) in a and (source, target) in b
        mark: Mark = "=" if both else "+" if (source, target) in b else "-"
        look = "" if both else f' [color="{COLOURS[mark]}", penwidth=1.6{", style=dashed" if mark == "-" else ""}]'
        yield f"  {source} -> {target}{look};"


def _wires(placed: Sequence[tuple[str, Sequence[Part]]]) -> Iterator[tuple[str, str]]:
    """From box to box, for one of the two networks."""
    owner = {name: box for box, parts in placed for part in parts for name in _yields(part)}
    for box, parts in placed:
        for name in (name for part in parts for node in part.nodes for name in node.inputs):
            if owner[name] != box:
                yield owner[name], box


def _yields(part: Part) -> tuple[str, ...]:
    return tuple(node.name for node in part.nodes) or (part.name,)


def _legend(report: difference.DifferenceReport, drawn: Sequence[Box], theme: Theme) -> Iterator[str]:
    names = {"a": report.difference.a.name, "b": report.difference.b.name}
    if names["a"] == names["b"]:
        names = {"a": report.source_a, "b": report.source_b}
    marks = {row.mark for row in report.difference.rows}
    cells = []
    for mark in (mark for mark in COLOURS if mark in marks):
        sign = f'<FONT COLOR="{ink_on(COLOURS[mark])}"><B>{SIGNS[mark]}</B></FONT>'
        cells.append(f'<TD BGCOLOR="{COLOURS[mark]}" FIXEDSIZE="TRUE" WIDTH="18" HEIGHT="14">{sign}</TD>')
        cells.append(f'<TD ALIGN="LEFT">{_text(WORDS[mark].format(**names))}   </TD>')
    size = SIZES["note"]
    rows = [_table((f"<TR>{''.join(cells)}</TR>",), padding=2)]
    if not report.equal:
        rows.append(_text(f"dashed edges: only in {names['a']}; thick edges in colour: only in {names['b']}"))
    table = _table([f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows], padding=2)
    yield f'  legend [label=<<FONT POINT-SIZE="{size}" COLOR="{theme.muted}">{table}</FONT>>];'
    if drawn:
        yield f"  {drawn[-1].id} -> legend [style=invis];"


def _table(rows: Iterator[str] | Sequence[str], padding: int) -> str:
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="{padding}">{"".join(rows)}</TABLE>'


def _text(text: str) -> str:
    return '<BR ALIGN="LEFT"/>'.join(escape(numbers.printable(line)) for line in text.split("\n"))
