"""Reading a list of layers: each item is one ``op: arguments`` pair, or a bare word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cnnscope.errors import CnnscopeError, Span, did_you_mean
from cnnscope.ops.base import REGISTRY, Op
from cnnscope.spec import problems as check
from cnnscope.spec.arguments import COMMON, Context, check_expressions, missing, read_args, read_role
from cnnscope.spec.marks import Marked
from cnnscope.spec.problems import kind_of, unknown
from cnnscope.spec.syntax import Arg, Body, Common, Item, Join, Layer, Residual, Reuse, Row, Use

STRUCTURES = ("use", "residual", "reuse")
_SHORTCUTS = ("identity", "project", "identity_or_project", "identity_or_none", "none")
_ELSEWHERE = {
    "conv2d": "conv", "conv1d": "conv", "conv3d": "conv", "convolution": "conv", "dense": "linear", "fc": "linear",
    "convtranspose2d": "upconv", "conv2dtranspose": "upconv", "deconv": "upconv", "batchnorm2d": "batchnorm",
    "batchnormalization": "batchnorm", "bn": "batchnorm", "maxpool2d": "maxpool", "maxpooling2d": "maxpool",
    "avgpool2d": "avgpool", "averagepooling2d": "avgpool", "gap": "globalavgpool", "depthwiseconv2d": "depthwise",
    "globalaveragepooling2d": "globalavgpool", "adaptiveavgpool2d": "adaptiveavgpool", "layernormalization": "layernorm",
    "separableconv2d": "sepconv", "multiheadattention": "attention", "swish": "silu", "cat": "concat",
    "concatenate": "concat", "route": "concat", "block": "use", "repeat": "use", "input": "identity",
}  # fmt: skip
"""What other frameworks call our layer types, for `did you mean` only."""


def is_join(op: type[Op]) -> bool:
    """Whether a layer type makes one value of several."""
    return op.category == "merge"


def read_body(ctx: Context, value: Marked, what: str) -> Body:
    """A list of layers; what cannot be read is recorded and left out."""
    items: list[Item] = []
    for entry in check.sequence(value, what, example="- op: arguments"):
        with ctx.problems.caught():
            items.append(read_item(ctx, entry))
    return Body(tuple(items), frozenset(_names(items)))


def _names(items: Iterable[Item]) -> Iterable[str]:
    """The names written in one scope: an unnamed residual opens none."""
    for item in items:
        if item.common.name is not None:
            yield item.common.name
        elif isinstance(item, Residual):
            yield from item.body.reserved


def read_item(ctx: Context, entry: Marked) -> Item:
    """One layer."""
    if isinstance(entry.value, dict):
        if len(entry.value) != 1:
            hint = "put a `-` before each" if len(entry.value) > 1 else None
            message = f"a layer is one `op: arguments` pair, found {len(entry.value)} keys"
            raise CnnscopeError.of("E104", message, span=entry.span, hint=hint)
        ((tag, value),) = entry.value.items()
        span = entry.keys.get(tag, entry.span)
    elif isinstance(entry.value, str):
        tag, value, span = entry.value, Marked({}, entry.span), entry.span
    else:
        raise CnnscopeError.of(
            "E104", f"a layer is one `op: arguments` pair, not {kind_of(entry)}", span=entry.span
        )
    match tag:
        case "use":
            return _use(ctx, value, span)
        case "residual":
            return _residual(ctx, value, span)
        case "reuse":
            return _reuse(ctx, value, span)
    if tag not in REGISTRY:
        raise _unknown_op(tag, span)
    op = REGISTRY[tag]
    return _join(ctx, op, value, span) if is_join(op) else _layer(ctx, op, value, span)


def _unknown_op(tag: str, span: Span | None) -> CnnscopeError:
    other = _ELSEWHERE.get(tag.lower().replace("_", "").replace("-", ""))
    words = [*REGISTRY, *STRUCTURES]
    hint = f"did you mean `{other}`?" if other else did_you_mean(tag.lower(), words)
    return CnnscopeError.of("E201", f"unknown layer type {check.shown(tag)}", span=span, hint=hint)


def _common(ctx: Context, value: Marked, span: Span | None) -> Common:
    entries = value.value if isinstance(value.value, dict) else {}
    name, frozen, when = entries.get("name"), entries.get("frozen"), entries.get("when")
    text = None
    if name is not None:
        with ctx.problems.caught():
            text = check.name(check.word(name, "`name`"), name.span, dotted=True)
    if frozen is not None and not check_expressions(frozen, ctx.params, ctx.problems):
        _flag(ctx, "frozen", frozen)
    if when is not None and not check_expressions(when, ctx.params, ctx.problems):
        with ctx.problems.caught():
            condition(when)
    return Common(span, text, name.span if name else None, _sources(ctx, entries.get("from")), when, frozen)


def _flag(ctx: Context, what: str, value: Marked) -> None:
    if not isinstance(value.value, bool):
        ctx.problems.add("E203", f"`{what}` is true or false, not {kind_of(value)}", value.span)


def condition(value: Marked) -> bool:
    """What ``when`` comes to: false and 0 leave a layer out."""
    if not isinstance(value.value, (bool, int, float)):
        hint = 'write a comparison: "${stride > 1}"'
        raise CnnscopeError.of("E203", f"`when` is a condition, not {kind_of(value)}", span=value.span, hint=hint)
    return bool(value.value)


def _sources(ctx: Context, value: Marked | None) -> tuple[Marked, ...]:
    if value is None:
        return ()
    sources = tuple(value.items) if isinstance(value.value, list) else (value,)
    if not sources:
        ctx.problems.add("E203", "`from` names no layer", value.span)
    for source in sources:
        with ctx.problems.caught():
            check_expressions(Marked(check.word(source, "`from`"), source.span), ctx.params, ctx.problems)
    return sources


def _layer(ctx: Context, op: type[Op], value: Marked, span: Span | None) -> Layer:
    others = (*COMMON, "like") if op.like else COMMON
    args = read_args(ctx, op, value, others)
    given = {*args, *ctx.defaults.get(op.tag, {})}
    if op.like and isinstance(value.value, dict) and "like" in value.value:
        like = value.value["like"]
        with ctx.problems.caught():
            moving = check_expressions(Marked(check.word(like, "`like`"), like.span), ctx.params, ctx.problems)
            args["like"] = Arg(like, moving, like.value)
        if op.like in args:
            ctx.problems.add("E202", f"`{op.tag}` takes `like` or `{op.like}`, not both", like.span)
        given.add(op.like)
    if lacking := missing(op, given):
        ctx.problems.add("E204", f"`{op.tag}` needs `{lacking[0]}`: {lacking[1]}", span)
    return Layer(op, args, _common(ctx, value, span))


def _join(ctx: Context, op: type[Op], value: Marked, span: Span | None) -> Join:
    args = read_args(ctx, op, value, (*COMMON, "paths", "split"))
    common = _common(ctx, value, span)
    entries = value.value if isinstance(value.value, dict) else {}
    if "paths" not in entries:
        if "split" in entries:
            ctx.problems.add("E202", "`split` goes with `paths`", value.keys.get("split", span))
        if not common.sources:
            hint = f"write `{op.tag}: {{from: [a, b]}}` or `{op.tag}: {{paths: {{a: [...], b: [...]}}}}`"
            ctx.problems.add("E204", f"`{op.tag}` needs `from` or `paths`", span, hint=hint)
        return Join(op, args, common)
    if len(common.sources) > 1:
        ctx.problems.add("E203", "paths start from one layer, but `from` names several", common.sources[1].span)
    if "split" in entries and entries["split"].value != "channels":
        ctx.problems.add("E203", f"`split` is `channels`, not {kind_of(entries['split'])}", entries["split"].span)
    return Join(op, args, common, _paths(ctx, op, entries["paths"]), "split" in entries)


def _paths(ctx: Context, op: type[Op], value: Marked) -> Mapping[str, Body]:
    paths: dict[str, Body] = {}
    example = "`paths: {a: [...], b: [...]}`; an empty list is the input itself"
    for name, layers in check.mapping(value, f"`paths` of `{op.tag}`", example=example).items():
        with ctx.problems.caught():
            check.name(name, value.keys.get(name, value.span))
            paths[name] = read_body(ctx, layers, f"path `{name}`")
    if not value.value:
        ctx.problems.add("E203", f"`{op.tag}` has no paths", value.span)
    return paths


def _residual(ctx: Context, value: Marked, span: Span | None) -> Residual:
    entries = check.mapping(value, "`residual`", example="`residual: {layers: [...]}`")
    check.only(value, ("layers", "shortcut", "act", *COMMON), "`residual`", ctx.problems)
    act = read_role(ctx, "act", entries["act"]) if "act" in entries else None
    shortcut: Marked | Body = entries.get("shortcut", Marked("identity"))
    if isinstance(shortcut, Marked) and isinstance(shortcut.value, list):
        shortcut = read_body(ctx, shortcut, "`shortcut`")
    elif isinstance(shortcut, Marked) and not check_expressions(shortcut, ctx.params, ctx.problems):
        with ctx.problems.caught():
            shortcut_word(shortcut)
    body = Body()
    if "layers" in entries:
        body = read_body(ctx, entries["layers"], "`layers` of `residual`")
        if not entries["layers"].value:
            ctx.problems.add("E203", "`layers` of `residual` is empty", entries["layers"].span)
    else:
        ctx.problems.add("E204", "`residual` needs `layers`", span)
    return Residual(body, shortcut, act, _common(ctx, value, span))


def shortcut_word(value: Marked) -> str:
    """One of the words for a shortcut, or E203."""
    if not isinstance(value.value, str) or value.value not in _SHORTCUTS:
        diagnostic = unknown("unknown shortcut", str(value.value), _SHORTCUTS, value.span, code="E203")
        raise CnnscopeError(diagnostic)
    return value.value


def _reuse(ctx: Context, value: Marked, span: Span | None) -> Reuse:
    if not isinstance(value.value, dict):
        check_expressions(Marked(check.word(value, "`reuse`"), value.span), ctx.params, ctx.problems)
        return Reuse(value, Common(span))
    check.only(value, ("layer", "name", "from", "when"), "`reuse`", ctx.problems)
    if "layer" not in value.value:
        raise CnnscopeError.of("E204", "`reuse` needs `layer`", span=span, hint="write `reuse: NAME`")
    layer = value.value["layer"]
    check_expressions(Marked(check.word(layer, "`layer`"), layer.span), ctx.params, ctx.problems)
    return Reuse(layer, _common(ctx, value, span))


def _use(ctx: Context, value: Marked, span: Span | None) -> Use:
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
    return Use(block, values, _common(ctx, value, span), repeat, first, each)


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
            ctx.problems.found.append(unknown(f"block `{block}` has no parameter", name, ctx.blocks[block], span))
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
            ctx.problems.found.append(unknown(message, str(cell.value), choices, cell.span))
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
    values = dict(zip(header, cells, strict=True))
    name = values.pop("name", None)
    text = check.name(check.word(name, "`name`"), name.span) if name else None
    for cell in values.values():
        check_expressions(cell, ctx.params, ctx.problems)
    return Row(text, values, row.span)
