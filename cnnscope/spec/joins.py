"""Expands joins and residuals: several paths from one place whose results become one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnscope.errors import CnnscopeError, Span
from cnnscope.ops.base import REGISTRY, channel_axis, shape_text
from cnnscope.spec.layers import shortcut_word
from cnnscope.spec.marks import mark
from cnnscope.spec.network import Scope, Spot
from cnnscope.spec.place import follower, place
from cnnscope.spec.syntax import Arg, Args, Body, Common, Join, Residual
from cnnscope.spec.walk import Frame, channels, finish, flags, inputs, source, spot, walk


def joined(item: Join, frame: Frame, current: str | None) -> str:
    args = {**frame.defaults.get(item.op.tag, {}), **item.args}
    inherited = flags(frame, item.common)
    if item.paths is None:
        nodes = list(inputs(frame, item.common, current))
        labels = [str(frame.value(name).value) for name in item.common.sources]
        where = spot(frame, item.common, item.op.tag, alone=True)
        node = _joined(frame, item, args, nodes, labels, where)
        frame.net.names.nodes[where.path] = node
        return node
    node = source(frame, item.common, current)
    group, scope = _group(frame, item.common, item.op.tag)
    inner = frame.inside(item.common.span, scope=scope, flags=inherited)
    nodes = [_path(inner, item, name, body, i, node) for i, (name, body) in enumerate(item.paths.items())]
    where = _row(inner, item.op.tag, item.common.span)
    result = _joined(inner, item, args, nodes, list(item.paths), where)
    frame.net.names.nodes[where.path] = result
    return result if group is None else finish(frame, item, group, result)


def _group(frame: Frame, common: Common, base: str) -> tuple[Spot | None, Scope]:
    """Returns the place and scope of a named join or residual; an unnamed one opens no scope."""
    if common.name is None and frame.again is None:
        return None, frame.scope
    where = spot(frame, common, base)
    frame.net.scopes[where.path] = base
    return where, Scope(frame.net.names, where.path, where.weights, frame.scope)


def _row(frame: Frame, base: str, span: Span | None) -> Spot:
    return spot(frame, Common(span), base, alone=True)


def _path(frame: Frame, item: Join, name: str, body: Body, number: int, node: str) -> str:
    """One path of a join, in a scope of its name."""
    span = item.common.span
    where = spot(frame, Common(span), name, alone=True)
    scope = Scope(frame.net.names, where.path, where.weights, frame.scope, body.reserved)
    inner = frame.inside(span, scope=scope)
    if item.split:
        node = _share(inner, item, number, node)
    if body.items or item.split:
        frame.net.scopes[where.path] = "path"
    result = walk(body, replace(inner, channels=channels(frame.net, node)), node)
    assert result is not None
    frame.net.names.nodes[where.path] = result
    return result


def _share(frame: Frame, item: Join, number: int, node: str) -> str:
    """Adds the slice of channels that path ``number`` works on, and returns its node."""
    assert item.paths is not None
    total, paths = channels(frame.net, node) or 0, len(item.paths)
    if total % paths:
        message = f"`split: channels` cannot share {total} channels equally among {paths} paths"
        raise CnnscopeError.of("E301", message, span=item.common.span)
    share = total // paths
    axis = channel_axis(frame.net.values[node])
    args = _plain(axis=axis, start=number * share, stop=(number + 1) * share)
    span = item.common.span
    return place(frame, REGISTRY["slice"], args, [node], _row(frame, "split", span), span, frame.flags)


def _plain(**values: object) -> Args:
    return {name: Arg(mark(value), False, value) for name, value in values.items()}


def _joined(frame: Frame, item: Join, args: Args, nodes: Sequence[str], labels: Sequence[str], where: Spot) -> str:
    try:
        return place(frame, item.op, args, nodes, where, item.common.span, flags(frame, item.common))
    except CnnscopeError as error:
        if error.diagnostics[0].code != "E303" or len(labels) != len(nodes):
            raise
        sizes = [
            f"`{label}` is {shape_text(frame.net.values[node].features)}"
            for label, node in zip(labels, nodes, strict=True)
        ]
        message = f"paths have different sizes: {', '.join(sizes[:8])}{', ...' if len(sizes) > 8 else ''}"
        raise CnnscopeError(replace(error.diagnostics[0], message=message)) from None


def residual(item: Residual, frame: Frame, current: str | None) -> str:
    node, span = source(frame, item.common, current), item.common.span
    group, scope = _group(frame, item.common, "residual")
    if group is not None:
        scope.reserved = item.body.reserved
    inner = frame.inside(span, scope=scope, channels=channels(frame.net, node), flags=flags(frame, item.common))
    branch = walk(item.body, inner, node)
    assert branch is not None
    around = _shortcut(inner, item, node, branch)
    if around is not None:
        args = {"act": item.act} if item.act is not None else {}
        where = _row(inner, "add", span)
        result = place(inner, REGISTRY["add"], args, [branch, around], where, span, inner.flags)
        frame.net.names.nodes[where.path] = result
    else:
        result = _activated(inner, item, branch)
    return result if group is None else finish(frame, item, group, result)


def _activated(frame: Frame, item: Residual, branch: str) -> str:
    """Returns a branch to which nothing is added, followed by the activation that would have followed the sum."""
    found = follower(frame, "act", item.act) if item.act is not None else None
    if found is None:
        return branch
    where = spot(frame, Common(item.common.span), found.op.tag)
    args = {**frame.defaults.get(found.op.tag, {}), **found.args}
    result = place(frame, found.op, args, [branch], where, item.common.span, frame.flags)
    frame.net.names.nodes[where.path] = result
    return result


def _shortcut(frame: Frame, item: Residual, node: str, branch: str) -> str | None:
    """Returns the node to add to the branch; None if nothing is added."""
    span, net = item.common.span, frame.net
    if isinstance(item.shortcut, Body):
        where = spot(frame, Common(span), "shortcut", alone=True)
        scope = Scope(net.names, where.path, where.weights, frame.scope, item.shortcut.reserved)
        if item.shortcut.items:
            net.scopes[where.path] = "shortcut"
        around = walk(item.shortcut, frame.inside(span, scope=scope), node)
        assert around is not None
        net.names.nodes[where.path] = around
        return _same_size(frame, around, branch, span, None)
    word = shortcut_word(frame.value(item.shortcut))
    same = net.values[node] == net.values[branch]
    if word == "none" or (word == "identity_or_none" and not same):
        return None
    if word == "project" or (word == "identity_or_project" and not same):
        around = _projection(frame, node, branch, span)
        return _same_size(frame, around, branch, span, "write the shortcut as a list of layers")
    return _same_size(frame, node, branch, span, "set `shortcut: project`")


def _same_size(frame: Frame, around: str, branch: str, span: Span | None, hint: str | None) -> str:
    way, result = frame.net.values[around], frame.net.values[branch]
    if way.shape == result.shape and way.kind == result.kind:
        return around
    sizes = f"shortcut {shape_text(way.features)} to branch {shape_text(result.features)}"
    raise CnnscopeError.of("E302", f"cannot add {sizes}", span=span, hint=hint)


def _projection(frame: Frame, node: str, branch: str, span: Span | None) -> str:
    """Adds a 1x1 convolution to the branch's channels and returns its node. Its stride is the product of the branch's
    strides; bias and norm are those of `defaults`.

    Source: He et al. 2016, section 3.3, option B.
    """
    net = frame.net
    result = net.values[branch]
    axes = len(net.values[node].spatial)
    if axes == 0 or axes != len(result.spatial):
        message = "a projection is a convolution and needs maps on both sides"
        raise CnnscopeError.of("E302", message, span=span, hint="write the shortcut as a list of layers")
    defaults = frame.defaults.get("conv", {})
    args = {name: defaults[name] for name in ("bias", "norm") if name in defaults}
    out = _plain(out=result.shape[1], kernel=1, stride=list(_strides(frame, node, branch)))
    where = spot(frame, Common(span), "shortcut", alone=True)
    around = place(frame, REGISTRY["conv"], {**args, **out}, [node], where, span, frame.flags)
    net.names.nodes[where.path] = around
    return around


def _strides(frame: Frame, node: str, branch: str) -> tuple[int, ...]:
    """Returns the product of the strides between two nodes, along each spatial axis."""
    after = frame.net.strides.get(branch, (1,) * len(frame.net.values[branch].spatial))
    before = frame.net.strides.get(node, (1,) * len(after))
    return tuple(max(b // a, 1) for a, b in zip(before, after, strict=True))
