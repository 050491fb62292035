"""Reads the arguments of a layer: names, expressions, literal values, and the layers that ``norm`` and ``act`` add."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass

from cnnscope.errors import CnnscopeError, Diagnostic, Span, did_you_mean
from cnnscope.ops.arguments import ArgumentError, shown
from cnnscope.ops.base import REGISTRY, Op
from cnnscope.spec import expressions
from cnnscope.spec import problems as check
from cnnscope.spec.expressions import ExpressionError
from cnnscope.spec.marks import Marked
from cnnscope.spec.problems import Problems, kind_of, reported, unknown
from cnnscope.spec.syntax import Arg, Args, Common, Defaults, Follower

ROLES = ("norm", "act")
COMMON = ("name", "from", "when", "frozen")


@dataclass(frozen=True, slots=True)
class Context:
    """What a reader of layers knows: the ``params`` that expressions may use, and each block's parameters in
    ``blocks``.
    """

    problems: Problems
    params: Collection[str]
    blocks: Mapping[str, Mapping[str, Marked]]
    defaults: Defaults
    spec_level: bool = False


def check_expressions(value: Marked, params: Collection[str], problems: Problems) -> bool:
    """Returns whether ``value`` contains an expression. Expressions that cannot be read, or use unknown names, are
    recorded.
    """
    if isinstance(value.value, list):
        return max([check_expressions(item, params, problems) for item in value.value], default=False)
    if isinstance(value.value, dict):
        return max([check_expressions(item, params, problems) for item in value.value.values()], default=False)
    if not expressions.is_expression(value.value):
        return False
    try:
        names = expressions.parse(str(value.value)).names
    except ExpressionError as error:
        problems.add("E206", error.message, value.span, hint=error.hint)
        return True
    for name in sorted(names - set(params)):
        hint = did_you_mean(name, params) or "declare it under `params`"
        problems.add("E205", f"there is no parameter {shown(name)}", value.span, hint=hint)
    return True


def read_args(ctx: Context, op: type[Op], value: Marked, others: Iterable[str]) -> dict[str, Arg]:
    """Returns the arguments of a layer of type ``op``, from a mapping or from the bare value of its short argument.

    Keys in ``others`` are read by the caller and ignored here.
    """
    others = (*others, *(ROLES if op.decorates else ()))
    args: dict[str, Arg] = {}
    for key, entry in _entries(op, value).items():
        if op.decorates and key in ROLES:
            args[key] = read_role(ctx, key, entry)
        elif key in op.parameters():
            args[key] = _arg(ctx, op, key, entry)
        elif key not in others:
            ctx.problems.record(_unknown_argument(op, key, others, value.keys.get(key)))
    return args


def _entries(op: type[Op], value: Marked) -> Mapping[str, Marked]:
    if isinstance(value.value, dict):
        return value.value
    if value.value is None:
        hint = f"write `{_example(op)}`" if _required(op) else f"write `- {op.tag}`"
        raise CnnscopeError.of("E104", f"`{op.tag}:` has no arguments", span=value.span, hint=hint)
    if op.short is None:
        hint = f"write `{_example(op)}`"
        raise CnnscopeError.of("E203", f"`{op.tag}` does not take {kind_of(value)}", span=value.span, hint=hint)
    return {op.short: value}


def _required(op: type[Op]) -> list[str]:
    return [name for name, (_, default) in op.parameters().items() if default is MISSING]


def _example(op: type[Op]) -> str:
    names = _required(op) or list(op.parameters())[:1]
    return f"- {op.tag}: {{{', '.join(f'{name}: ...' for name in names)}}}" if names else f"- {op.tag}"


def _unknown_argument(op: type[Op], key: str, others: Iterable[str], span: Span | None) -> Diagnostic:
    choices = [*op.parameters(), *others]
    right = op.aliases.get(key)
    hint = f"did you mean `{right}`?" if right in choices else did_you_mean(key, choices)
    if key in ROLES:
        hint = f"put a layer of its own behind it, such as `- {'batchnorm' if key == 'norm' else 'relu'}`"
    return Diagnostic("E202", f"`{op.tag}` has no argument {shown(key)}", span, hint=hint)


def _arg(ctx: Context, op: type[Op], key: str, value: Marked) -> Arg:
    moving = check_expressions(value, ctx.params, ctx.problems)
    plain = None if moving else value.plain()
    if not moving:
        try:
            op.parameters()[key][0].read(plain, None)
        except ArgumentError as error:
            place = value.find(error.where)
            ctx.problems.add(error.code, f"`{key}` of `{op.tag}`: {error.message}", place, hint=error.hint)
    return Arg(value, moving, plain, ctx.spec_level)


def missing(op: type[Op], given: Collection[str]) -> tuple[str, str] | None:
    """Returns the first required argument that is not in ``given``, with its description; None if none is missing."""
    for name, (kind, default) in op.parameters().items():
        if default is MISSING and name not in given:
            return name, kind.describe()
    return None


def read_role(ctx: Context, role: str, value: Marked) -> Arg:
    """Returns ``norm`` or ``act`` as an argument."""
    if check_expressions(value, ctx.params, ctx.problems):
        return Arg(value, True, None, ctx.spec_level)
    with ctx.problems.caught():
        return Arg(value, False, read_follower(role, value), ctx.spec_level)
    return Arg(value, False, None, ctx.spec_level)


def role_words(role: str) -> dict[str, type[Op]]:
    """Returns the words for ``norm:`` or ``act:`` and their layer types; ``batch`` is short for ``batchnorm``."""
    category = {"norm": "norm", "act": "activation"}[role]
    ops = {tag: op for tag, op in REGISTRY.items() if op.category == category}
    return {tag.removesuffix("norm"): op for tag, op in ops.items()} if role == "norm" else ops


def _role_op(role: str, word: str) -> type[Op] | None:
    """Returns the layer type that `role_words` has for a word, without importing any other layer type."""
    tags = [word] if role == "act" else [] if word.endswith("norm") else [f"{word}norm", word]
    found = (REGISTRY.find(tag) for tag in tags if tag in REGISTRY)
    return next((op for op in found if op.category == {"norm": "norm", "act": "activation"}[role]), None)


def read_follower(role: str, value: Marked) -> Follower | None:
    """Returns the layer that ``act: relu`` or ``norm: {batch: {eps: 1e-3}}`` means, None for ``none``. Expressions are
    not allowed.
    """
    word, arguments = value, Marked({}, value.span)
    if isinstance(value.value, dict):
        if len(value.value) != 1:
            message = f"`{role}` is one layer type, found {len(value.value)} keys"
            raise CnnscopeError.of("E104", message, span=value.span)
        ((key, arguments),) = value.value.items()
        word = Marked(key, value.keys.get(key, value.span))
    if word.value == "none" and word is value:
        return None
    if not isinstance(word.value, str):
        example = "batch" if role == "norm" else "relu"
        message = f"`{role}` is a word such as `{example}`, not {kind_of(word)}"
        raise CnnscopeError.of("E203", message, span=word.span)
    op = _role_op(role, word.value)
    if op is None:
        words = role_words(role)
        choices = [*words, "none"]
        full = REGISTRY.get(word.value)
        near = next((short for short, known in words.items() if known is full), None)
        diagnostic = unknown(f"unknown {role}", word.value, choices, word.span, code="E203")
        hint = f"did you mean `{near}`?" if near else diagnostic.hint
        raise CnnscopeError(Diagnostic("E203", diagnostic.message, diagnostic.span, hint=hint))
    with reported() as problems:
        args = read_args(Context(problems, (), {}, {}), op, arguments, ())
    return Follower(op, args)


def read_defaults(ctx: Context, value: Marked) -> Defaults:
    """Returns ``defaults:``, arguments by layer type."""
    result: dict[str, Args] = {}
    for tag, arguments in value.entries.items():
        span = value.keys.get(tag, value.span)
        if tag not in REGISTRY:
            hint = did_you_mean(tag, REGISTRY) or "defaults are arguments by layer type, such as `conv: {bias: false}`"
            ctx.problems.add("E201", f"unknown layer type {shown(tag)}", span, hint=hint)
            continue
        with ctx.problems.caught():
            result[tag] = read_args(ctx, REGISTRY[tag], arguments, ())
    return result


def read_common(ctx: Context, value: Marked, span: Span | None) -> Common:
    """Returns what any layer may state (name, source, condition); ``span`` is the place of its type."""
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
    return Common(
        span=span, name=text, name_span=name.span if name else None, sources=_sources(ctx, entries.get("from")),
        when=when, frozen=frozen,
    )  # fmt: skip


def _flag(ctx: Context, what: str, value: Marked) -> None:
    if not isinstance(value.value, bool):
        ctx.problems.add("E203", f"`{what}` is true or false, not {kind_of(value)}", value.span)


def condition(value: Marked) -> bool:
    """Returns whether ``when`` holds: false and 0 leave the layer out."""
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
