"""Reads a whole spec: the top level, its parameters, blocks and heads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from cnnscope.errors import CnnscopeError, Span
from cnnscope.spec import problems as check
from cnnscope.spec.arguments import Context, check_expressions, read_defaults
from cnnscope.spec.expressions import CHANNELS
from cnnscope.spec.layers import read_body
from cnnscope.spec.marks import Marked
from cnnscope.spec.metadata import KEYS, read_inputs, read_metadata
from cnnscope.spec.problems import Problems, kind_of, reported
from cnnscope.spec.syntax import Args, Block, Body, Common, Defaults, Document, Group, Head

VERSION = 1
TOP = (
    "cnnscope", "name", "input", "inputs", "params", "defaults", "blocks", "layers", "heads", "freeze", *KEYS,
)  # fmt: skip
MAX_PATTERNS = 100


def read_document(root: Marked, default_name: str) -> Document:
    """Returns the checked spec, or `CnnscopeError` with every problem found."""
    with reported() as problems:
        return _document(root, default_name, problems)


def _document(root: Marked, default_name: str, problems: Problems) -> Document:
    top = _top(root, problems)
    params = _parameters(_mapping(top, "params", problems), (), problems)
    inputs = read_inputs(root, top, params, problems)
    marks = _mapping(top, "blocks", problems)
    headers = {name: _block_params(entry, params, problems) for name, entry in marks.entries.items()}
    spec_level = Context(problems, (*params, CHANNELS), headers, {}, spec_level=True)
    defaults = read_defaults(spec_level, _mapping(top, "defaults", problems))
    ctx = Context(problems, (*params, CHANNELS), headers, defaults)
    blocks: dict[str, Block] = {}
    for name, entry in marks.entries.items():
        with problems.caught():
            blocks[name] = _block(ctx, name, entry, marks.keys.get(name, entry.span))
    return Document(
        inputs=inputs, params=params, defaults=defaults, blocks=blocks, body=_layers(root, top, ctx),
        heads=tuple(_heads(ctx, _mapping(top, "heads", problems))), name=_name(top, problems, default_name),
        freeze=_freeze(top, problems), metadata=read_metadata(top, problems),
    )  # fmt: skip


def _top(root: Marked, problems: Problems) -> dict[str, Marked]:
    if not isinstance(root.value, dict):
        raise CnnscopeError.of(
            "E103", f"a spec is a mapping, not {kind_of(root)}", span=root.span, hint="start it with `cnnscope: 1`"
        )
    top = root.value
    aliases = {"model": "layers", "backbone": "layers", "outputs": "heads", "parameters": "params"}
    check.only(root, TOP, "a spec", problems, code="E103", aliases=aliases)
    if "cnnscope" not in top:
        problems.add(
            "E103", "the version of the spec language is missing", root.span and Span(root.span.file, 1, 1),
            hint=f"start the file with `cnnscope: {VERSION}`",
        )  # fmt: skip
    elif top["cnnscope"].value != VERSION or isinstance(top["cnnscope"].value, bool):
        version = kind_of(top["cnnscope"])
        hint = f"this release reads version {VERSION}"
        problems.add("E103", f"unknown version {version} of the spec language", top["cnnscope"].span, hint=hint)
    return top


def _mapping(top: Mapping[str, Marked], key: str, problems: Problems) -> Marked:
    """Returns the mapping under ``key``; an empty one if it is missing or something else."""
    if key in top:
        with problems.caught():
            check.mapping(top[key], f"`{key}`")
            return top[key]
    return Marked({})


def _name(top: Mapping[str, Marked], problems: Problems, default: str) -> str:
    if "name" not in top:
        return default
    value = top["name"].value
    if isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value).strip():
        return str(value)
    problems.add("E203", f"`name` is a title, not {kind_of(top['name'])}", top["name"].span)
    return default


def _parameters(mark: Marked, visible: Collection[str], problems: Problems) -> dict[str, Marked]:
    """Returns parameters in order. A default may use those above it and the ``visible`` ones."""
    params: dict[str, Marked] = {}
    for name, default in mark.entries.items():
        span = mark.keys.get(name, mark.span)
        with problems.caught():
            check.name(name, span)
            if name == CHANNELS:
                problems.add("E203", f"`{CHANNELS}` is taken: it counts the channels entering a list", span)
            check_expressions(default, (*visible, *params), problems)
            params[name] = default
    return params


def _block_params(entry: Marked, params: Mapping[str, Marked], problems: Problems) -> dict[str, Marked]:
    if not isinstance(entry.value, dict) or "params" not in entry.value:
        return {}
    with problems.caught():
        check.mapping(entry.value["params"], "`params`", example="`params: {out: ~, stride: 1}`")
        return _parameters(entry.value["params"], (*params, CHANNELS), problems)
    return {}


def _block(ctx: Context, name: str, entry: Marked, span: Span | None) -> Block:
    check.name(name, span)
    check.mapping(entry, f"block `{name}`", example=f"`{name}: {{layers: [...]}}`")
    check.only(entry, ("params", "defaults", "layers"), f"block `{name}`", ctx.problems)
    params = ctx.blocks[name]
    visible = (*ctx.params, *params)
    defaults: dict[str, Args] = dict(ctx.defaults)
    for tag, args in _block_defaults(Context(ctx.problems, visible, ctx.blocks, {}), entry).items():
        defaults[tag] = {**ctx.defaults.get(tag, {}), **args}
    body = Body()
    if "layers" in entry.entries:
        inner = Context(ctx.problems, visible, ctx.blocks, defaults)
        body = read_body(inner, entry.entries["layers"], f"`layers` of block `{name}`")
    else:
        ctx.problems.add("E204", f"block `{name}` needs `layers`", span)
    return Block(name, params, defaults, body, span)


def _block_defaults(ctx: Context, entry: Marked) -> Defaults:
    with ctx.problems.caught():
        return read_defaults(ctx, _mapping(entry.entries, "defaults", ctx.problems))
    return {}


def _layers(root: Marked, top: Mapping[str, Marked], ctx: Context) -> Body:
    if "layers" not in top:
        start = root.span and Span(root.span.file, 1, 1)
        ctx.problems.add("E103", "`layers` is missing", start, hint="list them: `layers: [conv: {...}, ...]`")
        return Body()
    with ctx.problems.caught():
        body = read_body(ctx, top["layers"], "`layers`")
        if not top["layers"].value:
            ctx.problems.add("E103", "`layers` is empty", top["layers"].span)
        return body
    return Body()


def _heads(ctx: Context, mark: Marked) -> Iterable[Head]:
    for name, entry in mark.entries.items():
        with ctx.problems.caught():
            span = mark.keys.get(name, entry.span)
            check.name(name, span)
            yield _head(ctx, name, entry, span)


def _head(ctx: Context, name: str, entry: Marked, span: Span | None) -> Head:
    if isinstance(entry.value, list):
        return Head(Group(read_body(ctx, entry, f"head `{name}`"), Common(span, name, span)), False)
    example = f"`{name}: [...]` or `{name}: {{from: ..., layers: [...]}}`"
    entries = check.mapping(entry, f"head `{name}`", example=example)
    check.only(entry, ("from", "training_only", "layers"), f"head `{name}`", ctx.problems)
    flag = entries.get("training_only", Marked(False))
    if not isinstance(flag.value, bool):
        ctx.problems.add("E203", f"`training_only` is true or false, not {kind_of(flag)}", flag.span)
    sources: tuple[Marked, ...] = ()
    if "from" in entries:
        source = entries["from"]
        check.word(source, "`from`")
        check_expressions(source, ctx.params, ctx.problems)
        sources = (source,)
    body = read_body(ctx, entries["layers"], f"`layers` of head `{name}`") if "layers" in entries else Body()
    return Head(Group(body, Common(span, name, span, sources)), flag.value is True)


def _freeze(top: Mapping[str, Marked], problems: Problems) -> tuple[Marked, ...]:
    if "freeze" not in top:
        return ()
    with problems.caught():
        patterns = check.sequence(top["freeze"], "`freeze`", example="`freeze: [stage1, conv*]`")
        texts = [check.word(pattern, "a pattern of `freeze`") for pattern in patterns]
        if sum(map(is_wildcard, texts)) > MAX_PATTERNS:
            problems.add("E105", f"`freeze` has more than {MAX_PATTERNS} patterns with wildcards", top["freeze"].span)
        return tuple(patterns)
    return ()


def is_wildcard(pattern: str) -> bool:
    """Returns whether a pattern of `freeze` has wildcards."""
    return any(character in pattern for character in "*?[")
