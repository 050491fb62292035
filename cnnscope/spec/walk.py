"""Walks a list of layers: what is known at each point, and the step from one layer to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span, did_you_mean
from cnnscope.ir import Value
from cnnscope.ops.arguments import shown
from cnnscope.ops.base import channel_axis
from cnnscope.registry import Registry
from cnnscope.spec import expressions
from cnnscope.spec.arguments import condition
from cnnscope.spec.expressions import Env, evaluate
from cnnscope.spec.marks import Marked
from cnnscope.spec.network import Flags, Network, Scope, Spot, join
from cnnscope.spec.problems import kind_of
from cnnscope.spec.syntax import Arg, Block, Body, Common, Defaults, Item

MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Again:
    """Where the layer that is reused goes, and the path of the weights it uses."""

    scope: Scope
    name: str
    weights: str


@dataclass(frozen=True, slots=True)
class Run:
    """A layer or group that was expanded and can be expanded again: its place, how it was written, and its weights."""

    path: str
    weights: str
    item: Item
    frame: Frame


@dataclass(frozen=True, slots=True)
class Library:
    """What a spec has for the whole walk: its blocks, its own parameters, and what can be reused, by path.

    ``least`` is the least number of layers that each block expands to.
    """

    blocks: Mapping[str, Block]
    env: Env
    least: Mapping[str, int]
    runs: dict[str, Run] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known during the walk over one list of layers."""

    net: Network
    library: Library
    scope: Scope
    env: Env
    defaults: Defaults
    channels: int | None
    flags: Flags = field(default_factory=Flags)
    depth: int = 0
    again: Again | None = None

    def value(self, mark: Marked) -> Marked:
        """Returns ``mark`` with its expressions evaluated."""
        return evaluate(mark, self.env, self.channels)

    def argument(self, arg: Arg) -> Marked:
        """Returns an argument with its expressions evaluated."""
        if not arg.moving:
            return arg.mark
        return evaluate(arg.mark, self.library.env if arg.spec_level else self.env, self.channels)

    def inside(self, span: Span | None, **changes: Any) -> Frame:
        """Returns the frame of a list inside this one; raises E105 when lists are nested too deeply."""
        if max(self.depth, changes.get("depth", 0)) >= MAX_DEPTH:
            raise CnnscopeError.of("E105", f"blocks and paths nest deeper than {MAX_DEPTH} levels", span=span)
        return replace(self, **{"depth": self.depth + 1, "again": None, **changes})


_HERE = "cnnscope.spec"
EXPANDERS: Registry[Callable[[Any, Frame, str | None], str | None]] = Registry(
    "cnnscope.structures",
    "structure of specs",
    {
        "Layer": f"{_HERE}.place:layer",
        "Join": f"{_HERE}.joins:joined",
        "Residual": f"{_HERE}.joins:residual",
        "Use": f"{_HERE}.blocks:use",
        "Group": f"{_HERE}.blocks:group",
        "Reuse": f"{_HERE}.blocks:reuse",
    },
)
"""The functions that add an entry of a list of layers to the network, by the name of its class in
`cnnscope.spec.syntax`.
"""


def expand(item: Item, frame: Frame, current: str | None) -> str | None:
    """Adds one entry of a list, fed by the node ``current``, and returns the node that is current after it."""
    return EXPANDERS.find(type(item).__name__)(item, frame, current)


def walk(body: Body, frame: Frame, current: str | None) -> str | None:
    """Adds the layers of a list one after the other and returns the node of the last one."""
    for item in body.items:
        frame.net.step(item.common.span)
        if item.common.when is not None and not condition(frame.value(item.common.when)):
            if item.common.name is not None:
                frame.net.names.omitted[join(frame.scope.path, item.common.name)] = item.common.span
            continue
        current = expand(item, frame, current)
    return current


def channels(net: Network, node: str | None) -> int | None:
    """Returns the number of channels (or features) of a node; None if there is not exactly one current node."""
    if node is None:
        return None
    value: Value = net.values[node]
    return value.shape[channel_axis(value)]


def spot(frame: Frame, common: Common, base: str, *, alone: bool = False) -> Spot:
    """Returns the place of a layer: its own name or, without one, ``base`` with a number (with ``alone`` only from 2
    on).
    """
    again, scope = frame.again, frame.scope
    if again is not None:
        path, weights = join(again.scope.path, again.name), again.weights
    else:
        name = common.name or (scope.alone(base) if alone else scope.fresh(base))
        path, weights = join(scope.path, name), join(scope.weights, name)
    scope.names.take(path, common.name_span or common.span)
    return Spot(path, weights, weights != path)


def finish(frame: Frame, item: Item, where: Spot, node: str) -> str:
    """Makes a finished layer or group available by its name, for `from` and for `reuse`."""
    frame.net.names.nodes[where.path] = node
    frame.library.runs[where.path] = Run(where.path, where.weights, item, frame)
    return node


MAX_NOTES = 6


def noted(error: CnnscopeError, note: Note) -> CnnscopeError:
    """Returns the same error with one more note on each of its diagnostics; after many notes the last is replaced."""
    return CnnscopeError(*(replace(d, notes=(*d.notes[: MAX_NOTES - 1], note)) for d in error.diagnostics))


def flags(frame: Frame, common: Common) -> Flags:
    """Returns the frame's flags, changed by the layer's own ``frozen``."""
    if frame.flags.frozen or common.frozen is None:
        return frame.flags
    value = frame.value(common.frozen)
    if not isinstance(value.value, bool):
        message = f"`frozen` is true or false, not {kind_of(value)}"
        raise CnnscopeError.of("E203", message, span=value.span)
    return replace(frame.flags, frozen=value.value)


def inputs(frame: Frame, common: Common, current: str | None) -> tuple[str, ...]:
    """Returns the nodes that a name in ``from`` or ``like`` means; a parameter may be a list of several."""
    if not common.sources:
        return (start(frame, common, current),)
    return tuple(node for source in common.sources for node in named(frame, source))


def start(frame: Frame, common: Common, current: str | None) -> str:
    """Returns the current node; raises E205 if there are several inputs and none was chosen."""
    if current is None:
        names = ", ".join(f"`{name}`" for name in frame.net.inputs)
        raise CnnscopeError.of(
            "E205", f"the network has several inputs: {names}", span=common.span, hint="say which with `from`"
        )
    return current


def source(frame: Frame, common: Common, current: str | None) -> str:
    """Returns the only node from which a block, a residual or a set of paths starts."""
    nodes = inputs(frame, common, current)
    if len(nodes) > 1:
        raise CnnscopeError.of(
            "E203", f"`from` names {len(nodes)} layers where one is read", span=common.sources[0].span
        )
    return nodes[0]


def named(frame: Frame, mark: Marked) -> list[str]:
    """Returns the nodes that a name in ``from`` or ``like`` stands for; a parameter may hold several."""
    scope, value = lookup_scope(frame, mark), frame.value(mark)
    names = value.value if isinstance(value.value, list) else [value]
    return [_node(frame, scope, name) for name in names]


def lookup_scope(frame: Frame, mark: Marked) -> Scope:
    """Returns the scope in which a name is looked up. A name in a parameter belongs to the scope that set it."""
    if isinstance(mark.value, str) and expressions.is_expression(mark.value):
        bound = frame.env.get(expressions.parse(mark.value).name or "")
        if bound is not None and bound.scope is not None:
            return bound.scope
    return frame.scope


def _node(frame: Frame, scope: Scope, name: Marked) -> str:
    if not isinstance(name.value, str):
        raise CnnscopeError.of("E203", f"a layer's name is a word, not {kind_of(name)}", span=name.span)
    node = scope.find(name.value) or (name.value if name.value in frame.net.inputs else None)
    if node is None:
        raise unknown_layer(frame, scope, name)
    return node


def unknown_layer(frame: Frame, scope: Scope, name: Marked) -> CnnscopeError:
    """Returns E205 with the nearest visible name, or the reason why this one is not visible."""
    text, names = str(name.value), frame.net.names
    around = list(scope.outward())
    for level in around:
        path = join(level.path, text)
        if path in names.omitted:
            notes = (Note("it is written here", names.omitted[path]),)
            return CnnscopeError(Diagnostic("E205", f"`{text}` is left out by its `when`", name.span, notes))
        if text in level.reserved or path in names.taken:
            message = f"`{text}` is not finished here" if path in names.taken else f"`{text}` stands below this layer"
            return CnnscopeError.of("E205", message, span=name.span, hint="a layer reads only what stands above it")
    prefixes = [f"{level.path}." if level.path else "" for level in around]
    visible = [path.removeprefix(prefix) for prefix in prefixes for path in names.nodes if path.startswith(prefix)]
    near = did_you_mean(text, [*frame.net.inputs, *dict.fromkeys(visible[:2000])])
    edge = "a block sees its own layers, its parameters and the inputs; pass other names in as parameters"
    hint = near or (edge if around[-1].path and around[-1].parent is None else None)
    return CnnscopeError.of("E205", f"no layer is called {shown(text)} here", span=name.span, hint=hint)
