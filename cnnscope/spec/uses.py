"""Reading `use`: a block, its parameters, and how often."""

from __future__ import annotations

from collections.abc import Mapping

from cnnscope.errors import CnnscopeError, Span
from cnnscope.spec import problems as check
from cnnscope.spec.arguments import COMMON, Context, check_expressions, read_common
from cnnscope.spec.marks import Marked
from cnnscope.spec.problems import kind_of, unknown
from cnnscope.spec.syntax import Common, Row, Use


def read_use(ctx: Context, value: Marked, span: Span | None) -> Use:
    if not isinstance(value.value, dict):
        return Use(_block(ctx, value), {}, Common(span)) if _complete(ctx, value, {}, None, span) else _nothing(span)
    known = ("block", "with", "repeat", "first", "each", *COMMON)
    check.only(value, known, "`use`", ctx.problems, aliases={"params": "with", "times": "repeat", "n": "repeat"})
    entries = value.value
    if "block" not in entries:
        raise CnnscopeError.of("E204", "`use` needs `block`", span=span, hint="write `use: {block: NAME, ...}`")
    block = _block(ctx, entries["block"])
    values = _values(ctx, block, "with", entries.get("with"))
    first = _values(ctx, block, "first", entries.get("first"))
    each = _table(ctx, block, entries["each"]) if "each" in entries else None
    repeat = entries.get("repeat")
    if repeat is not None and not check_expressions(repeat, ctx.params, ctx.problems):
        with ctx.problems.caught():
            times(repeat)
    _exclusions(ctx, value, entries, values, each)
    _complete(ctx, entries["block"], values, each, span)
    return Use(block, values, read_common(ctx, value, span), repeat, first, each)


def _nothing(span: Span | None) -> Use:
    """Stands for a `use` whose problems are recorded; it is never expanded."""
    return Use("", {}, Common(span))


def _exclusions(
    ctx: Context, value: Marked, entries: Mapping[str, Marked], values: Mapping[str, Marked],
    each: tuple[Row, ...] | None,
) -> None:  # fmt: skip
    if "first" in entries and "repeat" not in entries:
        hint = "put its values into `with`" if each is None else "put its values into the table"
        ctx.problems.add("E202", "`first` goes with `repeat`", value.keys.get("first", value.span), hint=hint)
    if each is None:
        return
    if "repeat" in entries:
        ctx.problems.add("E202", "`each` is a table instead of `repeat`", value.keys.get("repeat", value.span))
    columns = each[0].values if each else {}
    for name in values:
        if name in columns:
            span = entries["with"].keys.get(name, value.span)
            ctx.problems.add("E202", f"`{name}` is in `with` and in the table", span)
    if "name" in entries and each and each[0].name is not None:
        ctx.problems.add("E202", "the table names its rows, so `name` has no place", value.keys.get("name", value.span))


def times(value: Marked) -> int:
    """A number of repetitions, or E203."""
    number = value.value
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        message = f"`repeat` is a whole number >= 1, not {kind_of(value)}"
        raise CnnscopeError.of("E203", message, span=value.span, hint="`when:` leaves a layer out")
    return number


def _block(ctx: Context, value: Marked) -> str:
    name = check.word(value, "`block`")
    if name not in ctx.blocks:
        raise CnnscopeError(unknown("there is no block", name, ctx.blocks, value.span, code="E205"))
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


def _complete(
    ctx: Context, block: Marked, values: Mapping[str, Marked], each: tuple[Row, ...] | None, span: Span | None
) -> bool:
    name = _block(ctx, block)
    given = {*values, *(each[0].values if each else {})}
    lacking = [p for p, default in ctx.blocks[name].items() if default.value is None and p not in given]
    for param in lacking:
        hint = f"write `use: {{block: {name}, with: {{{param}: ...}}}}`"
        ctx.problems.add("E204", f"block `{name}` needs `{param}`", span, hint=hint)
    return not lacking


def _table(ctx: Context, block: str, value: Marked) -> tuple[Row, ...]:
    rows = check.sequence(value, "`each`", example="`each: [[name, out], [c3, 256]]`")
    if len(rows) < 2:
        raise CnnscopeError.of("E106", "`each` needs a header and at least one row", span=value.span)
    header = [check.word(cell, "a column") for cell in check.sequence(rows[0], "the header of `each`")]
    for cell in rows[0].items:
        if cell.value != "name" and cell.value not in ctx.blocks[block]:
            choices = ["name", *ctx.blocks[block]]
            message = f"block `{block}` has no parameter"
            ctx.problems.record(unknown(message, str(cell.value), choices, cell.span))
    if len(set(header)) < len(header):
        raise CnnscopeError.of("E106", "a column stands twice in the header of `each`", span=rows[0].span)
    result: list[Row] = []
    for row in rows[1:]:
        with ctx.problems.caught():
            result.append(_row(ctx, header, row))
    return tuple(result)


def _row(ctx: Context, header: list[str], row: Marked) -> Row:
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
    return Row(name, entries, row.span)
