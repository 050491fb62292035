"""Places a plain layer: its op, the normalisation and activation after it, or the layers of a composite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from cnnscope.errors import CnnscopeError, Diagnostic, Note, ShapeError, Span
from cnnscope.ops.arguments import ArgumentError
from cnnscope.ops.base import Op, shape_text
from cnnscope.ops.composite import Composite
from cnnscope.spec.arguments import ROLES, Context, read_follower
from cnnscope.spec.layers import read_body
from cnnscope.spec.marks import Marked, mark
from cnnscope.spec.network import Flags, Scope, Spot
from cnnscope.spec.problems import reported
from cnnscope.spec.syntax import Arg, Args, Body, Follower, Join, Layer
from cnnscope.spec.walk import Frame, channels, finish, flags, inputs, named, noted, source, spot, walk


def layer(item: Layer, frame: Frame, current: str | None) -> str:
    nodes = inputs(frame, item.common, current)
    args = _with_size(item, frame, {**frame.defaults.get(item.op.tag, {}), **item.args})
    where = spot(frame, item.common, item.op.tag)
    inherited = flags(frame, item.common)
    if issubclass(item.op, Composite):
        node = _composite(frame, item, item.op, args, source(frame, item.common, current), where, inherited)
    else:
        node = place(frame, item.op, args, nodes, where, item.common.span, inherited)
    return finish(frame, item, where, node)


def place(
    frame: Frame, op: type[Op], args: Args, nodes: Sequence[str], where: Spot, span: Span | None, inherited: Flags
) -> str:
    """Places an op and its followers as one row and returns the last node."""
    roles = [role for role in ROLES if op.decorates and role in args]
    followers = [(role, found) for role in roles if (found := follower(frame, role, args[role]))]
    plain = {name: arg for name, arg in args.items() if name in op.parameters()}
    node = _node(frame, op, plain, nodes, where, "" if followers else None, span, inherited)
    for role, found in followers:
        laid = {**frame.defaults.get(found.op.tag, {}), **found.args}
        try:
            node = _node(frame, found.op, laid, [node], where, role, span, inherited)
        except CnnscopeError as error:
            raise noted(error, Note(f"`{role}` is asked for here", args[role].mark.span)) from None
    return node


def _node(
    frame: Frame, op: type[Op], args: Args, nodes: Sequence[str], where: Spot, part: str | None, span: Span | None,
    inherited: Flags,
) -> str:  # fmt: skip
    plain = {name: frame.argument(arg).plain() if arg.moving else arg.plain for name, arg in args.items()}
    try:
        like = next((arg.like for arg in args.values() if arg.like), None)
        return frame.net.place(op, plain, nodes, where, part=part, span=span, flags=inherited, like=like)
    except ShapeError as error:
        raise error.at(span) from None
    except ArgumentError as error:
        raise _misfit(frame, args, error, span) from None


def _misfit(frame: Frame, args: Args, error: ArgumentError, span: Span | None) -> CnnscopeError:
    """Returns an argument's error with the place where the value was written."""
    place, notes, hint = span, tuple[Note, ...](), error.hint
    if error.where and error.where[0] in args:
        arg = args[str(error.where[0])]
        mark = frame.argument(arg)
        written = mark.span != arg.mark.span or str(arg.mark.value).startswith("${")
        if written and isinstance(mark.value, float) and "whole number" in error.message:
            hint = hint or "`round(x, 8)` in an expression is a multiple of 8, `ceil(x)` and `x // 1` a whole number"
        place = mark.find(error.where[1:]) or span
        if span and place and (mark.span != arg.mark.span or place.line < span.line):
            notes = (Note("in this layer", span),)
    return CnnscopeError(Diagnostic(error.code, error.message, place, notes, hint))


def follower(frame: Frame, role: str, arg: Arg) -> Follower | None:
    """Returns the layer that ``norm`` or ``act`` means at this place."""
    if not arg.moving:
        assert arg.plain is None or isinstance(arg.plain, Follower)
        return arg.plain
    return read_follower(role, frame.argument(arg))


def _with_size(item: Layer, frame: Frame, args: dict[str, Arg]) -> dict[str, Arg]:
    """Returns the arguments with ``like: NAME`` replaced by the spatial size of that layer."""
    like = args.pop("like", None)
    if like is None:
        return args
    assert item.op.like is not None
    nodes = named(frame, like.mark)
    value = frame.net.values[nodes[0]]
    if len(nodes) > 1 or value.kind != "map":
        message = f"`like` needs one layer with a map, not {shape_text(value.features)}"
        raise CnnscopeError.of("E301", message, span=like.mark.span)
    return args | {item.op.like: Arg(Marked(None, like.mark.span), False, list(value.spatial), like=nodes[0])}


def _composite(
    frame: Frame, item: Layer, op: type[Composite], args: Args, node: str, where: Spot, inherited: Flags
) -> str:
    """Places the layers of a composite in a scope of its name and returns the last node; norm and act follow the last
    layer.
    """
    span = item.common.span
    plain = {name: frame.argument(arg).plain() for name, arg in args.items() if name in op.parameters()}
    value = frame.net.values[node]
    try:
        op.check([value])
        body = _stands_for(op.read(plain, len(value.spatial)), channels(frame.net, node) or 0, span)
    except ShapeError as error:
        raise error.at(span) from None
    except ArgumentError as error:
        raise _misfit(frame, args, error, span) from None
    if op.decorates:
        roles = {role: _settled(frame, role, args[role]) for role in ROLES if role in args}
        last = body.items[-1]
        assert isinstance(last, (Layer, Join))
        body = replace(body, items=(*body.items[:-1], replace(last, args={**last.args, **roles})))
    frame.net.scopes[where.path] = op.tag
    scope = Scope(frame.net.names, where.path, where.weights, None, body.reserved)
    inner = frame.inside(span, scope=scope, env={}, defaults={}, channels=channels(frame.net, node), flags=inherited)
    result = walk(body, inner, node)
    assert result is not None
    return result


@lru_cache(maxsize=512)
def _stands_for(op: Composite, channels: int, span: Span | None) -> Body:
    with reported() as problems:
        return read_body(Context(problems, (), {}, {}), mark(op.layers(channels), span), f"`{op.tag}`")


def _settled(frame: Frame, role: str, arg: Arg) -> Arg:
    """Returns ``norm`` or ``act`` without expressions, so that it means the same everywhere."""
    found = follower(frame, role, arg)
    if found is None:
        return Arg(arg.mark, False, None)
    laid = {**frame.defaults.get(found.op.tag, {}), **found.args}
    values = {name: frame.argument(value) for name, value in laid.items()}
    settled = {name: Arg(value, False, value.plain()) for name, value in values.items()}
    return Arg(arg.mark, False, Follower(found.op, settled))
