"""Turns a checked spec into a graph: settles parameters, walks the layers, freezes weights. Shapes are inferred on the
way.

An expansion that would never end, or would be far too large, is refused before it starts.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate, pairwise

from cnnscope.errors import CnnscopeError, Diagnostic, Note, PartialError, did_you_mean
from cnnscope.ir import Graph, Value
from cnnscope.ir.declared import fitted
from cnnscope.ops.arguments import shown
from cnnscope.spec import expressions
from cnnscope.spec.document import is_wildcard
from cnnscope.spec.expressions import Bound, Env, ExpressionError, evaluate
from cnnscope.spec.marks import Marked, mark, parse
from cnnscope.spec.metadata import looks_like_hwc, read_shape
from cnnscope.spec.network import MAX_NODES, Flags, Network, Scope, too_many
from cnnscope.spec.problems import unknown
from cnnscope.spec.syntax import Block, Body, Document, Input, Item, Join, Residual, Use
from cnnscope.spec.walk import Frame, Library, channels, expand, walk


def build(document: Document, settings: Mapping[str, object], shapes: Mapping[str, Sequence[int]]) -> Graph:
    """Returns the graph of a spec with some parameters and input shapes replaced; raises `PartialError` if something
    does not fit.
    """
    order = refuse_recursion(document.blocks)
    env = _settled(document, {**_stated(document, shapes), **settings})
    least = refuse_huge(document, order, env)
    several = len(document.inputs) > 1
    inputs = {n: _value(n if several else "", entry, shapes.get(n), env) for n, entry in document.inputs.items()}
    layout = next(iter(document.inputs.values())).layout
    net = Network(document.name, layout, inputs)
    scope = Scope(net.names, reserved=document.body.reserved)
    start = next(iter(inputs)) if len(inputs) == 1 else None
    frame = Frame(
        net=net, library=Library(document.blocks, env, least), scope=scope, env=env, defaults=document.defaults,
        channels=channels(net, start),
    )  # fmt: skip
    try:
        outputs = _walk(document, frame, start)
        if not net.nodes:
            span = document.body.items[0].common.span
            raise CnnscopeError.of("E103", "every layer is left out by its `when`", span=span)
        _freeze(net, document)
    except CnnscopeError as error:
        raise PartialError(*error.diagnostics, graph=net.partial()) from None
    return net.graph(outputs)


def _walk(document: Document, frame: Frame, start: str | None) -> list[str]:
    node = walk(document.body, frame, start)
    if not document.heads:
        return [] if node is None else [node]
    outputs = []
    for head in document.heads:
        frame.net.step(head.group.common.span)
        inner = replace(frame, channels=channels(frame.net, node), flags=Flags(training_only=head.training_only))
        result = expand(head.group, inner, node)
        assert result is not None
        outputs.append(result)
    return outputs


def _stated(document: Document, shapes: Mapping[str, Sequence[int]]) -> dict[str, object]:
    """Returns the parameters that an input's shape consists of, with the extents given for it."""
    entries = ((document.inputs[name], shape) for name, shape in shapes.items())
    return {
        parameter: shape[axis]
        for entry, shape in entries if len(shape) == len(entry.shape)
        for axis, parameter in entry.parameters.items() if entry.layout == "HWC" or not looks_like_hwc(shape)
    }  # fmt: skip


def _value(name: str, entry: Input, given: Sequence[int] | None, env: Env) -> Value:
    """Returns an input at the size given, or else at its own."""
    own = [env[entry.parameters[i]].mark.value if i in entry.parameters else n for i, n in enumerate(entry.shape)]
    shape = read_shape(mark(own), "the shape of the input")
    if given is not None:
        axis = None if len(shape) == 1 else len(shape) - 1 if entry.layout == "HWC" else 0
        parameter = entry.parameters.get(-1 if axis is None else axis)
        remedy = f"`--set {parameter}=N` changes the channels" if parameter else _OTHER_CHANNELS
        shape = fitted(shape, tuple(given), axis, name, remedy=remedy)
    if entry.layout == "HWC" and len(shape) > 1:
        shape = (shape[-1], *shape[:-1])
    return Value((1, *shape), kind="flat" if len(shape) == 1 else "map")


_OTHER_CHANNELS = "for other channels change `shape` in the text that `cnnscope expand` prints"


def _settled(document: Document, settings: Mapping[str, object]) -> Env:
    """Returns the spec's parameters, each set from outside or by its default."""
    for name in settings:
        if name not in document.params:
            raise CnnscopeError(unknown("the spec has no parameter", name, document.params, None, code="E205"))
    env: dict[str, Bound] = {}
    for name, default in document.params.items():
        value = _setting(name, settings[name]) if name in settings else evaluate(default, env, None)
        if value.value is None:
            hint = f"give it one with `--set {name}=...`"
            raise CnnscopeError.of("E204", f"parameter `{name}` has no value", span=default.span, hint=hint)
        env[name] = Bound(value)
    return env


def _setting(name: str, value: object) -> Marked:
    """Returns a value given from outside. Text is read as YAML, so that ``"32"`` is a number."""
    if not isinstance(value, str):
        return mark(value)
    try:
        return mark(parse(value, name).plain() if value.strip() else None)
    except CnnscopeError as error:
        message = f"the value of parameter `{name}`, {shown(value)}, is {error.diagnostics[0].message}"
        raise CnnscopeError.of("E203", message) from None


def _freeze(net: Network, document: Document) -> None:
    """Makes every layer, group or single weight that a pattern of `freeze` matches untrainable."""
    if not document.freeze:
        return
    inside = _keys_inside(net)
    for pattern in document.freeze:
        text = str(pattern.value)
        paths = fnmatch.filter(inside, text) if is_wildcard(text) else [text] if text in inside else []
        if not paths:
            hint = did_you_mean(text, list(inside)[:2000])
            raise CnnscopeError.of("E205", f"`{text}` freezes nothing", span=pattern.span, hint=hint)
        for key in {key for path in paths for key in inside[path]}:
            net.params[key] = replace(net.params[key], trainable=False)


def _keys_inside(net: Network) -> dict[str, list[str]]:
    """Returns the weights in every layer and group by its path; the key of a weight is a path too."""
    inside: dict[str, list[str]] = {}
    for key, param in net.params.items():
        parts = key.split(".")
        for path in accumulate(parts, "{}.{}".format) if not param.buffer else ():
            inside.setdefault(path, []).append(key)
    return inside


def refuse_recursion(blocks: Mapping[str, Block]) -> list[str]:
    """Returns the blocks, each after those it uses; raises E110 and names the cycle if blocks use each other."""
    users = {name: {use.block for use in uses(block.body)} & blocks.keys() for name, block in blocks.items()}
    try:
        return list(TopologicalSorter(users).static_order())
    except CycleError as error:
        cycle: list[str] = error.args[1][::-1]
        arrows = " -> ".join(f"`{name}`" for name in cycle)
        spans = [
            next(use.common.span for use in uses(blocks[user].body) if use.block == used)
            for user, used in pairwise(cycle)
        ]
        notes = tuple(Note(f"`{used}` is used here", span) for used, span in zip(cycle[2:], spans[1:], strict=True))
        raise CnnscopeError(
            Diagnostic("E110", f"blocks use each other without end: {arrows}", spans[0], notes)
        ) from None


def refuse_huge(document: Document, order: Iterable[str], env: Env) -> dict[str, int]:
    """Returns how many layers each block expands to at least; raises E105 if that alone is too many.

    A repeat that depends on a block's parameters counts as one, and a layer with a `when` as none. Anything larger is
    stopped during the expansion.
    """
    least: dict[str, int] = {}
    for name in order:
        block = document.blocks[name]
        visible = {param: value for param, value in env.items() if param not in block.params}
        least[name] = _least(block.body, least, visible)
    for body in (document.body, *(head.group.body for head in document.heads)):
        _least(body, least, env)
    return least


def _least(body: Body, least: Mapping[str, int], env: Env) -> int:
    total = 0
    for item in _certain(body):
        count = _times(item, env) * least.get(item.block, 1) if isinstance(item, Use) else 1
        total += count
        if total > MAX_NODES:
            raise too_many(item.repeat.span if isinstance(item, Use) and item.repeat else item.common.span)
    return max(total, 1)


def _certain(body: Body) -> Iterator[Item]:
    """Yields the layers of a list that no `when` can leave out."""
    return (item for item in flattened(body) if item.common.when is None)


def _times(item: Use, env: Env) -> int:
    if item.each is not None:
        return len(item.each.rows)
    return _known(item.repeat, env) if item.repeat is not None else 1


def _known(value: Marked, env: Env) -> int:
    try:
        names = expressions.parse(str(value.value)).names if expressions.is_expression(value.value) else frozenset()
        result = evaluate(value, env, None).value if names <= env.keys() else 1
    except (CnnscopeError, ExpressionError):
        return 1  # the expansion reports it
    return result if isinstance(result, int) else 1


def uses(body: Body) -> Iterator[Use]:
    """Yields every `use` in a list of layers, also inside residuals and paths."""
    return (item for item in flattened(body) if isinstance(item, Use))


def flattened(body: Body) -> Iterator[Item]:
    """Yields every layer of a list and of the lists inside it."""
    items: list[Item] = list(reversed(body.items))
    while items:
        item = items.pop()
        yield item
        if isinstance(item, Residual):
            items += item.shortcut.items if isinstance(item.shortcut, Body) else ()
            items += reversed(item.body.items)
        elif isinstance(item, Join):
            for path in reversed(list((item.paths or {}).values())):
                items += reversed(path.items)
