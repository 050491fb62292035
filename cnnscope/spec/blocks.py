"""Expands blocks: binds their parameters, chains repetitions, and runs layers again for `reuse`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cnnscope.errors import CnnscopeError, Note
from cnnscope.spec import walk
from cnnscope.spec.expressions import Bound, Env, bind, evaluate
from cnnscope.spec.marks import Marked
from cnnscope.spec.network import MAX_NODES, Scope, Spot, join, too_many
from cnnscope.spec.problems import kind_of
from cnnscope.spec.syntax import Block, Group, Reuse, Use
from cnnscope.spec.uses import times


def use(item: Use, frame: walk.Frame, current: str | None) -> str:
    node = walk.source(frame, item.common, current)
    inner = replace(frame, flags=walk.flags(frame, item.common))
    if item.each is not None and "name" in item.each.columns:
        for row in item.each.rows:
            common = replace(item.common, name=row.name, name_span=row.span, sources=(), when=None)
            single = Use(item.block, {**item.values, **row.values}, common)
            node = _once(single, inner, node)
        return node
    if item.each is None and item.repeat is None:
        return _once(item, inner, node)
    where = walk.spot(frame, item.common, item.block)
    for i, values in enumerate(_repetitions(item, inner)):
        part = Spot(f"{where.path}.{i}", f"{where.weights}.{i}", where.again)
        node = _repetition(item, inner, values, part, node)
    return walk.finish(frame, item, where, node)


def _once(item: Use, frame: walk.Frame, node: str) -> str:
    where = walk.spot(frame, item.common, item.block)
    return walk.finish(frame, item, where, _repetition(item, frame, item.values, where, node))


def _repetitions(item: Use, frame: walk.Frame) -> Iterable[Mapping[str, Marked]]:
    """Yields the parameters set for each repetition."""
    if item.each is not None:
        yield from ({**item.values, **row.values} for row in item.each.rows)
        return
    assert item.repeat is not None
    count = times(frame.value(item.repeat))
    if frame.net.steps + count * frame.library.least[item.block] > MAX_NODES:
        raise too_many(item.repeat.span)
    yield {**item.values, **item.first}
    for _ in range(count - 1):
        yield item.values


def _repetition(item: Use, frame: walk.Frame, values: Mapping[str, Marked], where: Spot, node: str) -> str:
    """One expansion of a block; what goes wrong inside says where it was expanded from."""
    block, net = frame.library.blocks[item.block], frame.net
    entering = walk.channels(net, node)
    scope = Scope(net.names, where.path, where.weights, None, block.body.reserved)
    try:
        env = _bound(block, values, frame, scope, entering)
        inner = frame.inside(item.common.span, scope=scope, env=env, defaults=block.defaults, channels=entering)
        net.scopes[where.path] = block.name
        result = walk.walk(block.body, inner, node)
    except CnnscopeError as error:
        span = item.common.span
        line = f", expanded from line {span.line}" if span else ""
        raise walk.noted(error, Note(f"in `{where.path}`{line}", span)) from None
    assert result is not None
    net.names.nodes[where.path] = result
    return result


def _bound(block: Block, values: Mapping[str, Marked], frame: walk.Frame, scope: Scope, entering: int | None) -> Env:
    """Returns the spec's parameters and the block's own, in order. Each is set by the caller or by its default."""
    env: dict[str, Bound] = dict(frame.library.env)
    for name, default in block.params.items():
        if name in values:
            env[name] = bind(values[name], frame.env, frame.channels, frame.scope)
        else:
            env[name] = Bound(evaluate(default, env, entering), scope)
    return env


def group(item: Group, frame: walk.Frame, current: str | None) -> str:
    node = walk.source(frame, item.common, current) if item.common.sources or frame.again else current
    where = walk.spot(frame, item.common, "head")
    net = frame.net
    net.scopes[where.path] = "head"
    scope = Scope(net.names, where.path, where.weights, frame.scope, item.body.reserved)
    inner = frame.inside(
        item.common.span, scope=scope, channels=walk.channels(net, node), flags=walk.flags(frame, item.common)
    )
    return walk.finish(frame, item, where, walk.start(frame, item.common, walk.walk(item.body, inner, node)))


def reuse(item: Reuse, frame: walk.Frame, current: str | None) -> str | None:
    node = walk.source(frame, item.common, current)
    run = _reusable(frame, item.layer)
    name = item.common.name or frame.scope.alone(run.path.rpartition(".")[2])
    common = replace(run.item.common, name_span=item.common.name_span or item.common.span, sources=(), when=None)
    again = run.frame.inside(
        item.common.span, depth=frame.depth + 1, again=walk.Again(frame.scope, name, run.weights),
        flags=replace(run.frame.flags, training_only=frame.flags.training_only),
    )  # fmt: skip
    try:
        return walk.expand(replace(run.item, common=common), again, node)
    except CnnscopeError as error:
        note = Note(f"in `{join(frame.scope.path, name)}`, where `{run.path}` is reused", item.common.span)
        raise walk.noted(error, note) from None


def _reusable(frame: walk.Frame, mark: Marked) -> walk.Run:
    """Returns the layer or group that a `reuse` names; raises E205 if there is none of that name that can
    be run again.
    """
    scope, name = walk.lookup_scope(frame, mark), frame.value(mark)
    if not isinstance(name.value, str):
        raise CnnscopeError.of("E203", f"a layer's name is a word, not {kind_of(name)}", span=name.span)
    paths = (join(level.path, name.value) for level in scope.outward())
    path = next((path for path in paths if path in frame.net.names.nodes), None)
    if path is None:
        raise walk.unknown_layer(frame, scope, name)
    if path not in frame.library.runs:
        hint = "name the whole repeated block, a named residual, a head or a plain layer"
        raise CnnscopeError.of("E205", f"`{name.value}` cannot be reused by itself", span=name.span, hint=hint)
    return frame.library.runs[path]
