"""Reading a whole spec: the top level, its parameters, blocks and heads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span, did_you_mean
from cnnscope.ops.arguments import ArgumentError, Integers
from cnnscope.spec import problems as check
from cnnscope.spec.arguments import Context, check_expressions, read_defaults
from cnnscope.spec.layers import read_body
from cnnscope.spec.marks import Marked
from cnnscope.spec.metadata import KEYS, read_metadata
from cnnscope.spec.problems import Problems, kind_of
from cnnscope.spec.syntax import Block, Body, Common, Document, Group, Head, Input, Item, Join, Residual, Use
from cnnscope.spec.values import CHANNELS

VERSION = 1
TOP = (
    "cnnscope", "name", "input", "inputs", "params", "defaults", "blocks", "layers", "heads", "freeze", *KEYS,
)  # fmt: skip




def read_document(root: Marked, default_name: str) -> Document:
    """The checked spec, or `CnnscopeError` with every problem found."""
    problems = Problems()
    top = _top(root, problems)
    params = _params(top, problems)
    inputs = _inputs(root, top, problems)
    blocks_mark = _mapping(top, "blocks", problems)
    headers = {name: _block_params(entry, params, problems) for name, entry in blocks_mark.entries.items()}
    spec_level = Context(problems, (*params, CHANNELS), headers, {}, spec_level=True)
    defaults = read_defaults(spec_level, _mapping(top, "defaults", problems))
    blocks: dict[str, Block] = {}
    for name, entry in blocks_mark.entries.items():
        with problems.caught():
            key = blocks_mark.keys.get(name, entry.span)
            blocks[name] = _block(name, entry, key, headers, params, defaults, problems)
    ctx = Context(problems, (*params, CHANNELS), headers, defaults)
    body = _layers(root, top, ctx)
    heads = tuple(_heads(ctx, _mapping(top, "heads", problems)))
    _refuse_recursion(blocks, problems)
    freeze = _freeze(top, problems)
    metadata = read_metadata(top, problems)
    name = _name(top, problems, default_name)
    problems.raise_all()
    return Document(name, inputs, params, defaults, blocks, body, heads, freeze, metadata)


def _top(root: Marked, problems: Problems) -> dict[str, Marked]:
    if not isinstance(root.value, dict):
        raise CnnscopeError.of(
            "E103", f"a spec is a mapping, not {kind_of(root)}", span=root.span, hint="start it with `cnnscope: 1`"
        )
    top = root.value
    aliases = {"model": "layers", "backbone": "layers", "nc": "params", "outputs": "heads", "parameters": "params"}
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
    """The mapping under ``key``, empty if it is missing or something else."""
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


def _params(top: Mapping[str, Marked], problems: Problems) -> dict[str, Marked]:
    mark = _mapping(top, "params", problems)
    return _parameters(mark, (), problems)


def _parameters(mark: Marked, visible: Collection[str], problems: Problems) -> dict[str, Marked]:
    """Parameters in order; a default may use those above it and ``visible`` ones."""
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


def _block(
    name: str, entry: Marked, span: Span | None, headers: Mapping[str, Mapping[str, Marked]],
    params: Mapping[str, Marked], defaults: Mapping[str, Any], problems: Problems,
) -> Block:  # fmt: skip
    check.name(name, span)
    check.mapping(entry, f"block `{name}`", example=f"`{name}: {{layers: [...]}}`")
    check.only(entry, ("params", "defaults", "layers"), f"block `{name}`", problems)
    own = headers[name]
    ctx = Context(problems, (*params, *own, CHANNELS), headers, {})
    laid_over: dict[str, Any] = dict(defaults)
    if "defaults" in entry.entries:
        mark = check.mapping(entry.entries["defaults"], "`defaults`") and entry.entries["defaults"]
        for tag, args in (read_defaults(ctx, mark) if mark else {}).items():
            laid_over[tag] = {**defaults.get(tag, {}), **args}
    body = Body()
    if "layers" in entry.entries:
        body = read_body(Context(problems, ctx.params, headers, laid_over), entry.entries["layers"], "`layers`")
    else:
        problems.add("E204", f"block `{name}` needs `layers`", span)
    return Block(name, own, laid_over, body, span)


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
    entries = check.mapping(entry, f"head `{name}`", example=f"`{name}: [...]` or `{name}: {{from: ..., layers: [...]}}`")
    check.only(entry, ("from", "training_only", "layers"), f"head `{name}`", ctx.problems)
    flag = entries.get("training_only", Marked(False))
    if not isinstance(flag.value, bool):
        ctx.problems.add("E203", f"`training_only` is true or false, not {kind_of(flag)}", flag.span)
    sources: tuple[Marked, ...] = ()
    if "from" in entries:
        source = entries["from"]
        check_expressions(Marked(check.word(source, "`from`"), source.span), ctx.params, ctx.problems)
        sources = (source,)
    body = read_body(ctx, entries["layers"], f"head `{name}`") if "layers" in entries else Body()
    return Head(Group(body, Common(span, name, span, sources)), flag.value is True)


def _freeze(top: Mapping[str, Marked], problems: Problems) -> tuple[Marked, ...]:
    patterns: list[Marked] = []
    if "freeze" in top:
        with problems.caught():
            for pattern in check.sequence(top["freeze"], "`freeze`", example="`freeze: [stage1, conv*]`"):
                check.word(pattern, "a pattern of `freeze`")
                patterns.append(pattern)
    return tuple(patterns)


def _inputs(root: Marked, top: Mapping[str, Marked], problems: Problems) -> dict[str, Input]:
    start = root.span and Span(root.span.file, 1, 1)
    if "input" in top and "inputs" in top:
        problems.add("E103", "`input` and `inputs` exclude each other", root.keys.get("inputs", start))
    if "input" not in top and "inputs" not in top:
        hint = "write `input: {shape: [3, 224, 224]}`"
        problems.add("E103", "`input` is missing", start, hint=hint)
    marks = {"input": top["input"]} if "input" in top else _mapping(top, "inputs", problems).entries
    keys = root.keys if "input" in top else top["inputs"].keys if "inputs" in top else {}
    result: dict[str, Input] = {}
    for name, mark in marks.items():
        with problems.caught():
            check.name(name, keys.get(name, mark.span))
            result[name] = read_input(name, mark, problems)
    if "inputs" in top and "input" not in top and isinstance(top["inputs"].value, dict) and not top["inputs"].value:
        problems.add("E103", "`inputs` is empty", top["inputs"].span)
    if len({entry.layout for entry in result.values()}) > 1:
        problems.add("E203", "all inputs share one `layout`", top["inputs"].span)
    return result


def read_input(name: str, mark: Marked, problems: Problems) -> Input:
    """One input, in the author's layout."""
    entries = check.mapping(mark, f"`{name}`", example=f"`{name}: {{shape: [3, 224, 224]}}`")
    check.only(mark, ("shape", "layout"), f"`{name}`", problems, aliases={"size": "shape", "format": "layout"})
    layout = entries["layout"].value if "layout" in entries else "CHW"
    if layout not in ("CHW", "HWC"):
        hint = did_you_mean(str(layout), ("CHW", "HWC"))
        problems.add("E203", f"`layout` is CHW or HWC, not {kind_of(entries['layout'])}", entries["layout"].span, hint=hint)
        layout = "CHW"
    if "shape" not in entries:
        hint = f"write `{name}: {{shape: [3, 224, 224]}}`"
        raise CnnscopeError.of("E204", f"`{name}` needs `shape`", span=mark.span, hint=hint)
    shape = read_shape(entries["shape"], name)
    if "layout" not in entries:
        _refuse_guess(name, shape, entries["shape"])
    return Input(shape, "HWC" if layout == "HWC" else "CHW", entries["shape"].span)


def read_shape(mark: Marked, name: str) -> tuple[int, ...]:
    """A shape of one number (a vector) or of channels and one to three spatial sizes, or E203."""
    try:
        shape = Integers(1).read(mark.plain(), None)
    except ArgumentError as error:
        raise CnnscopeError.of("E203", f"`shape` of `{name}`: {error.message}", span=mark.find(error.where)) from None
    if len(shape) > 4:
        message = f"`shape` of `{name}` has {len(shape)} numbers; channels and at most three spatial sizes are read"
        raise CnnscopeError.of("E203", message, span=mark.span, hint="leave the batch out")
    return shape


def _refuse_guess(name: str, shape: tuple[int, ...], mark: Marked) -> None:
    """224x224x3 without a layout is nearly always HWC; silence would give plausible nonsense."""
    if len(shape) == 3 and shape[0] == shape[1] > 4 and shape[2] in (1, 3, 4):
        message = f"`shape` of `{name}` says {shape[0]} channels of {shape[1]}x{shape[2]}"
        hint = "say `layout: HWC`, or `layout: CHW` if that is meant"
        raise CnnscopeError.of("E203", message, span=mark.span, hint=hint)


Layout = Literal["CHW", "HWC"]


def _refuse_recursion(blocks: Mapping[str, Block], problems: Problems) -> None:
    users = {name: dict(_used(block.body)) for name, block in blocks.items()}
    try:
        TopologicalSorter({name: used.keys() & blocks.keys() for name, used in users.items()}).prepare()
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        arrows = " -> ".join(f"`{name}`" for name in cycle)
        span = users[cycle[0]][cycle[1]]
        notes = (Note(f"block `{cycle[0]}` is defined here", blocks[cycle[0]].span),)
        problems.found.append(Diagnostic("E110", f"blocks use each other without end: {arrows}", span, notes))


def _used(body: Body) -> Iterable[tuple[str, Span | None]]:
    """The blocks a list of layers uses, and where."""
    items: list[Item] = list(body.items)
    while items:
        item = items.pop()
        if isinstance(item, Use):
            yield item.block, item.common.span
        elif isinstance(item, Residual):
            items += item.body.items
            items += item.shortcut.items if isinstance(item.shortcut, Body) else ()
        elif isinstance(item, Join):
            for path in (item.paths or {}).values():
                items += path.items
