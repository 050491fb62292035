"""Reads `use`: a block, its parameters, and how often it is repeated."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cnnscope.errors import CnnscopeError, Span
from cnnscope.spec import problems as check
from cnnscope.spec.arguments import COMMON, Context, check_expressions, read_common
from cnnscope.spec.marks import Marked
from cnnscope.spec.problems import kind_of, unknown
from cnnscope.spec.syntax import Common, Table, TableRow, Use

KEYS = ("block", "with", "repeat", "first", "each", *COMMON)


def read_use(ctx: Context, value: Marked, span: Span | None) -> Use:
    """Returns a `use`, written ``use: NAME`` or ``use: {block: NAME, ...}``."""
    if not isinstance(value.value, dict):
        block = _block(ctx, value)
        _complete(ctx, block, (), span)
        return Use(block, {}, Common(span))
    check.only(value, KEYS, "`use`", ctx.problems, aliases={"params": "with", "times": "repeat", "n": "repeat"})
    entries = value.value
    if "block" not in entries:
        raise CnnscopeError.of("E204", "`use` needs `block`", span=span, hint="write `use: {block: NAME, ...}`")
    block = _block(ctx, entries["block"])
    before = len(ctx.problems.found)
    values = _values(ctx, block, "with", entries.get("with"))
    first = _values(ctx, block, "first", entries.get("first"))
    each = _table(ctx, block, entries["each"]) if "each" in entries else None
    repeat = entries.get("repeat")
    if repeat is not None and not check_expressions(repeat, ctx.params, ctx.problems):
        with ctx.problems.caught():
            times(repeat)
    if "first" in entries and repeat is None:
        hint = f"put its values into {'`with`' if each is None else 'the table'}"
        ctx.problems.add("E202", "`first` goes with `repeat`", value.keys.get("first"), hint=hint)
    columns = each.columns if each else ()
    if each:
        _check_exclusive(ctx, value, each)
    if len(ctx.problems.found) == before:  # a misspelt parameter is not reported as missing too
        _complete(ctx, block, (*values, *columns), span)
    return Use(block, values, read_common(ctx, value, span), repeat=repeat, first=first, each=each)


def _check_exclusive(ctx: Context, value: Marked, each: Table) -> None:
    """Records whatever may not be written beside a table because the table replaces it."""
    if "repeat" in value.entries:
        ctx.problems.add("E202", "`each` is a table instead of `repeat`", value.keys.get("repeat"))
    if "name" in value.entries and "name" in each.columns:
        ctx.problems.add("E202", "the table names its rows, so `name` has no place", value.keys.get("name"))
    values = value.entries.get("with", Marked({}))
    for name in values.entries:
        if name in each.columns:
            ctx.problems.add("E202", f"`{name}` is in `with` and in the table", values.keys.get(name))


def times(value: Marked) -> int:
    """Returns a number of repetitions; raises E203."""
    number = value.value
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        message = f"`repeat` is a whole number >= 1, not {kind_of(value)}"
        raise CnnscopeError.of("E203", message, span=value.span, hint="`when:` leaves a layer out")
    return number


def _block(ctx: Context, value: Marked) -> str:
    name = check.word(value, "`block`")
    if name not in ctx.blocks:
        diagnostic = unknown("there is no block", name, ctx.blocks, value.span, code="E205")
        raise CnnscopeError(diagnostic if ctx.blocks else replace(diagnostic, hint="define it under `blocks`"))
    return name


def _values(ctx: Context, block: str, what: str, value: Marked | None) -> dict[str, Marked]:
    if value is None:
        return {}
    entries = check.mapping(value, f"`{what}`", example=f"`{what}: {{name: value}}`")
    for name, entry in entries.items():
        if name not in ctx.blocks[block]:
            span = value.keys.get(name, value.span)
            ctx.problems.record(unknown(f"block `{block}` has no parameter", name, ctx.blocks[block], span))
        check_expressions(entry, ctx.params, ctx.problems)
    return entries


def _complete(ctx: Context, block: str, given: Collection[str], span: Span | None) -> None:
    for param, default in ctx.blocks[block].items():
        if default.value is None and param not in given:
            hint = f"write `use: {{block: {block}, with: {{{param}: ...}}}}`"
            ctx.problems.add("E204", f"block `{block}` needs `{param}`", span, hint=hint)


def _table(ctx: Context, block: str, value: Marked) -> Table:
    rows = check.sequence(value, "`each`", example="`each: [[name, out], [c3, 256]]`")
    if len(rows) < 2:
        raise CnnscopeError.of("E106", "`each` needs a header and at least one row", span=value.span)
    header = tuple(check.word(cell, "a column") for cell in check.sequence(rows[0], "the header of `each`"))
    choices = ("name", *ctx.blocks[block])
    for i, (column, cell) in enumerate(zip(header, rows[0].items, strict=True)):
        if column not in choices:
            ctx.problems.record(unknown(f"block `{block}` has no parameter", column, choices, cell.span))
        elif column in header[:i]:
            ctx.problems.add("E106", f"column `{column}` stands twice in the header", cell.span)
    result: list[TableRow] = []
    for row in rows[1:]:
        with ctx.problems.caught():
            result.append(_row(ctx, header, row))
    return Table(header, tuple(result))


def _row(ctx: Context, header: tuple[str, ...], row: Marked) -> TableRow:
    cells = check.sequence(row, "a row of `each`")
    if len(cells) != len(header):
        values = "value" if len(cells) == 1 else "values"
        message = f"this row has {len(cells)} {values} but the header has {len(header)}"
        raise CnnscopeError.of("E106", message, span=row.span)
    entries = dict(zip(header, cells, strict=True))
    title = entries.pop("name", None)
    name = check.name(check.word(title, "`name`"), title.span) if title else None
    for value in entries.values():
        check_expressions(value, ctx.params, ctx.problems)
    return TableRow(name, entries, row.span)
