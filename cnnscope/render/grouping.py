"""Rows of a layer table under headings for the blocks they are in, or collapsed into them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, takewhile

from cnnscope.analysis.cost import total
from cnnscope.analysis.summary import Row
from cnnscope.render import style
from cnnscope.render.columns import FIGURES, Context
from cnnscope.render.table import Line


def table_lines(rows: Iterable[Row], keys: Sequence[str], context: Context, depth: int | None) -> Iterator[Line]:
    """A line a row. Where names lead, blocks have a heading and what is in them is indented under its local name.

    Blocks nested ``depth`` deep become one line that adds up what is in them.
    """
    scopes = context.graph.scopes
    rows = rows if depth is None else collapsed(rows, scopes, depth)
    if keys[0] != "name":
        yield from (_line(row, keys, context) for row in rows)
        return
    above: tuple[str, ...] = ()
    for row in rows:
        around = enclosing(row.name, scopes)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(above, around, strict=False)))
        for level in range(shared, len(around)):
            name = _local(around[level], around[:level])
            cells = {"name": name, "op": scopes[around[level]]}
            yield Line(tuple(cells.get(key, "") for key in keys), level, style.MUTED, style.GROUP)
        yield _line(row, keys, context, around)
        above = around


def enclosing(name: str, scopes: Mapping[str, str]) -> tuple[str, ...]:
    """The blocks a row is in, outermost first."""
    parts = name.split(".")
    paths = (".".join(parts[:n]) for n in range(1, len(parts)))
    return tuple(path for path in paths if path in scopes)


def collapsed(rows: Iterable[Row], scopes: Mapping[str, str], depth: int) -> Iterator[Row]:
    """Rows in at least ``depth`` blocks, neighbours of the same block merged; all others as they are."""

    def owner(row: Row) -> str | None:
        around = enclosing(row.name, scopes)
        return around[depth - 1] if len(around) >= depth else None

    for block, members in groupby(rows, owner):
        if block is None:
            yield from members
        else:
            yield _merged(block, scopes[block], tuple(members))


def _merged(block: str, kind: str, rows: Sequence[Row]) -> Row:
    last = rows[-1]
    inside = {row.name for row in rows}
    reads = {name: value for row in rows for name, value in zip(row.inputs, row.input_values, strict=False)}
    outside = {name: value for name, value in reads.items() if name not in inside}
    peaks = [row.peak_bytes for row in rows if row.peak_bytes is not None]
    return Row(
        name=block, op=kind, category="", label=kind, operation=None, inputs=tuple(outside),
        input_values=tuple(outside.values()), output=last.output, cost=total(row.cost for row in rows),
        peak_bytes=max(peaks, default=None), receptive_field=last.receptive_field,
        training_only=all(row.training_only for row in rows),
    )  # fmt: skip


def _line(row: Row, keys: Sequence[str], context: Context, around: tuple[str, ...] = ()) -> Line:
    cells = [FIGURES[key].text(row, context) for key in keys]
    if keys[0] == "name":
        cells[0] = _local(row.name, around)
    return Line(tuple(cells), len(around), name_style=style.CATEGORY.get(row.category, ""))


def _local(name: str, around: Sequence[str]) -> str:
    return name.removeprefix(f"{around[-1]}.") if around else name
