"""Reads a list of layers. Each item is one ``op: arguments`` pair, or a bare word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cnnscope.errors import CnnscopeError, Span, did_you_mean
from cnnscope.ops.arguments import shown
from cnnscope.ops.base import REGISTRY, Op, named
from cnnscope.spec import problems as check
from cnnscope.spec.arguments import COMMON, Context, check_expressions, missing, read_args, read_common, read_role
from cnnscope.spec.marks import Marked
from cnnscope.spec.problems import kind_of, unknown
from cnnscope.spec.syntax import Arg, Body, Common, Item, Join, Layer, Residual, Reuse
from cnnscope.spec.uses import read_use

STRUCTURES = ("use", "residual", "reuse")
SHORTCUTS = ("identity", "project", "identity_or_project", "identity_or_none", "none")
_STRUCTURES_ELSEWHERE = {"block": "use", "repeat": "use"}
"""Names of our structures in other tools, for `did you mean` only; `Op.foreign` has the same for layer types."""


def is_join(op: type[Op]) -> bool:
    """Returns whether a layer type combines several values into one."""
    return op.category == "merge"


def read_body(ctx: Context, value: Marked, what: str) -> Body:
    """Returns a list of layers. What cannot be read is recorded and left out."""
    items: list[Item] = []
    for entry in check.sequence(value, what, example="`- op: arguments` lines"):
        with ctx.problems.caught():
            items.append(read_item(ctx, entry))
    return Body(tuple(items), frozenset(_names(items)))


def _names(items: Iterable[Item]) -> Iterable[str]:
    """Yields the names written in one scope, including those inside an unnamed residual, which opens no scope."""
    for item in items:
        if item.common.name is not None:
            yield item.common.name
        elif isinstance(item, Residual):
            yield from item.body.reserved


def read_item(ctx: Context, entry: Marked) -> Item:
    """Returns one layer."""
    if isinstance(entry.value, dict):
        if len(entry.value) != 1:
            second = next(iter(list(entry.keys.values())[1:]), entry.span)
            hint = "put a `-` before each" if len(entry.value) > 1 else None
            message = f"a layer is one `op: arguments` pair, found {len(entry.value)} keys"
            raise CnnscopeError.of("E104", message, span=second, hint=hint)
        ((tag, value),) = entry.value.items()
        span = entry.keys.get(tag, entry.span)
    elif isinstance(entry.value, str):
        tag, value, span = entry.value, Marked({}, entry.span), entry.span
    else:
        raise CnnscopeError.of("E104", f"a layer is one `op: arguments` pair, not {kind_of(entry)}", span=entry.span)
    match tag:
        case "use":
            return read_use(ctx, value, span)
        case "residual":
            return _residual(ctx, value, span)
        case "reuse":
            return _reuse(ctx, value, span)
    if tag not in REGISTRY:
        raise _unknown_op(tag, span)
    op = REGISTRY[tag]
    return _join(ctx, op, value, span) if is_join(op) else _layer(ctx, op, value, span)


def _unknown_op(tag: str, span: Span | None) -> CnnscopeError:
    known = named(tag)
    other = known.tag if known else _STRUCTURES_ELSEWHERE.get(tag.lower())
    words = [*REGISTRY, *STRUCTURES]
    hint = f"did you mean `{other}`?" if other else did_you_mean(tag.lower(), words) or "`cnnscope ops` lists them"
    return CnnscopeError.of("E201", f"unknown layer type {shown(tag)}", span=span, hint=hint)


def _layer(ctx: Context, op: type[Op], value: Marked, span: Span | None) -> Layer:
    others = (*COMMON, "like") if op.like else COMMON
    before = len(ctx.problems.found)
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
    misspelt = len(ctx.problems.found) > before
    if not misspelt and (lacking := missing(op, given)):
        ctx.problems.add("E204", f"`{op.tag}` needs `{lacking[0]}`: {lacking[1]}", span)
    return Layer(op, args, read_common(ctx, value, span))


def _join(ctx: Context, op: type[Op], value: Marked, span: Span | None) -> Join:
    example = f"`{op.tag}: {{from: [a, b]}}` or `{op.tag}: {{paths: {{a: [...], b: [...]}}}}`"
    check.mapping(value, f"`{op.tag}`", example=example)
    args = read_args(ctx, op, value, (*COMMON, "paths", "split"))
    common = read_common(ctx, value, span)
    entries = value.entries
    if "paths" not in entries:
        if "split" in entries:
            ctx.problems.add("E202", "`split` goes with `paths`", value.keys.get("split", span))
        if not common.sources:
            ctx.problems.add("E204", f"`{op.tag}` needs `from` or `paths`", span, hint=f"write {example}")
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
    return Residual(body, shortcut, act, read_common(ctx, value, span))


def shortcut_word(value: Marked) -> str:
    """One of the words for a shortcut, or raises E203."""
    if not isinstance(value.value, str) or value.value not in SHORTCUTS:
        diagnostic = unknown("unknown shortcut", str(value.value), SHORTCUTS, value.span, code="E203")
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
    return Reuse(layer, read_common(ctx, value, span))
