"""Other widths for layers by name, and for many layers at once."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm, prod

from cnnscope.edits.change import Scale, Width
from cnnscope.edits.rewiden import rewidened
from cnnscope.edits.select import matches, selected
from cnnscope.edits.widths import Widths, is_depthwise, widths_of
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node
from cnnscope.ops.conv import Conv


def divisible(width: Fraction, by: int) -> int:
    """The multiple of ``by`` nearest to ``width``, at least ``by``, and not below 90 % of it.

    Source: `_make_divisible` of torchvision, after Sandler et al. 2018 (MobileNetV2).
    """
    found = max(by, int(width + Fraction(by, 2)) // by * by)
    return found + by if found < Fraction(9, 10) * width else found


def scaled(graph: Graph, change: Scale) -> tuple[Graph, Widths]:
    """The graph with scaled widths, and the analysis that says what ties them."""
    if not 0 < change.factor < 1000 or change.round < 1:
        raise CnnscopeError.of("E203", f"a width cannot be scaled by {change.factor:g} and rounded to {change.round}")
    w = widths_of(graph, change.heads)
    for pattern in (*change.only, *change.exclude):
        selected(graph, pattern)
    makers = {name: graph.node(name) for name in w.makers}
    new: dict[str, int] = {}
    needs = _needed_divisors(w)
    factor = Fraction(str(change.factor))
    for name in w.equations.free:
        old, node = w.equations.old[name], makers.get(name)
        if node is None or not _chosen(node, change):
            new[name] = old
            continue
        ratio = _kept_ratio(w, node, old, new) if change.keep_ratio else None
        need = needs.get(name, 1)
        by = lcm(change.round, need) if old * factor >= change.round else need
        new[name] = ratio or (divisible(old * factor, by) if by > 1 else max(1, round(old * factor)))
    return rewidened(w, new), w


def _chosen(node: Node, change: Scale) -> bool:
    only = not change.only or any(matches(node, pattern) for pattern in change.only)
    return only and not any(matches(node, pattern) for pattern in change.exclude)


def _needed_divisors(w: Widths) -> dict[str, int]:
    needs: dict[str, int] = {}
    for form, divisor, _ in w.divisors:
        for name in w.equations.reduced(form).terms:
            needs[name] = lcm(needs.get(name, 1), divisor)
    return needs


def _kept_ratio(w: Widths, node: Node, old: int, new: dict[str, int]) -> int | None:
    """The width of an expansion that keeps its ratio to what it reads; None where the layer is none."""
    op = node.op
    if not isinstance(op, Conv) or prod(op.kernel) > 1 or not _feeds_depthwise(w.graph, node):
        return None
    axis = w.axes[node.inputs[0]][1]
    if old <= axis.size or not w.equations.reduced(axis.form).terms.keys() <= new.keys():
        return None
    return round(Fraction(old, axis.size) * w.equations.value(axis.form, new))


def _feeds_depthwise(graph: Graph, node: Node) -> bool:
    """Whether the first convolution behind a node, in a line, is depthwise."""
    for _ in range(4):
        readers = [other for other in graph.nodes if node.name in other.inputs]
        if len(readers) != 1:
            return False
        (node,) = readers
        if isinstance(node.op, Conv):
            return is_depthwise(graph, node)
    return False


def widened(graph: Graph, changes: Sequence[Width]) -> tuple[Graph, Widths]:
    """The graph with other widths of named layers and of all that is tied to them.

    `CnnscopeError`: E205 for no layer of that name, E202 for one that makes no channels, E491 for a width that a join
    or an output keeps, that is no whole number, or that two changes ask to be different.
    """
    w = widths_of(graph)
    new = {name: w.equations.old[name] for name in w.equations.free}
    asked: dict[str, Width] = {}
    for change in changes:
        if change.channels < 1:
            raise CnnscopeError.of("E203", f"`{change.layers}` cannot have {change.channels} channels")
        for node in _makers(w, change):
            name, value = _free(w, node, change)
            if asked.get(name, change).channels != change.channels or (name in asked and new[name] != value):
                raise _contradiction(w, node, change, asked[name])
            new[name], asked[name] = value, change
    return rewidened(w, new), w


def _makers(w: Widths, change: Width) -> list[Node]:
    found = selected(w.graph, change.layers)
    makers = [node for node in found if node.name in w.makers]
    if makers:
        return makers
    depthwise = next((node for node in found if isinstance(node.op, Conv)), None)
    if depthwise is not None and is_depthwise(w.graph, depthwise):
        source = next(iter(w.equations.reduced(w.axes[depthwise.name][1].form).terms), None)
        hint = None if source is None else f"set `{w.graph.node(source).layer}`, whose channels it passes on"
        raise CnnscopeError.of("E491", f"`{change.layers}` is depthwise: it has the channels that it reads", hint=hint)
    what = " and ".join(dict.fromkeys(f"`{node.op.tag}`" for node in found))
    hint = "only convolutions, linear layers and embeddings have a width of their own"
    raise CnnscopeError.of("E202", f"`{change.layers}` ({what}) makes no channels", hint=hint)


def _free(w: Widths, node: Node, change: Width) -> tuple[str, int]:
    """The free variable that a layer's width stands for, and its value for the width that is asked."""
    form = w.equations.reduced(w.makers[node.name])
    if not form.terms:
        why = w.equations.why.get(node.name)
        reason = f"`{why}` keeps it" if why else "it is an output of the network"
        if int(form.const) == change.channels:
            return node.name, change.channels
        raise CnnscopeError.of("E491", f"`{node.layer}` must have {int(form.const)} channels: {reason}")
    if len(form.terms) > 1:
        names = " and ".join(f"`{w.graph.node(name).layer}`" for name in form.terms if name in w.makers)
        raise CnnscopeError.of("E491", f"the width of `{node.layer}` is a sum of others", hint=f"set {names}")
    ((name, factor),) = form.terms.items()
    ties = [
        w.graph.node(other)
        for other, f in w.makers.items()
        if other != node.name and name in w.equations.reduced(f).terms
    ]
    if change.alone and ties:
        raise _tied(w, node, ties)
    value = (change.channels - form.const) / factor
    if value.denominator != 1 or value < 1:
        layer = w.graph.node(name).layer if name in w.makers else name
        raise CnnscopeError.of("E491", f"`{node.layer}` with {change.channels} needs {value} channels of `{layer}`")
    return name, int(value)


def _tied(w: Widths, node: Node, ties: Sequence[Node]) -> CnnscopeError:
    names = (node.name, *(other.name for other in ties))
    why = next((w.equations.why[name] for name in names if name in w.equations.why), "")
    listed = ", ".join(f"`{other.layer}`" for other in ties[:3]) + (
        f" and {len(ties) - 3} more" if len(ties) > 3 else ""
    )
    message = f"`{node.layer}` is tied to {listed} by `{why}`"
    return CnnscopeError.of("E491", message, hint="without --alone all of them change together")


def _contradiction(w: Widths, node: Node, change: Width, other: Width) -> CnnscopeError:
    message = f"`{change.layers}` with {change.channels} channels contradicts `{other.layers}` with {other.channels}"
    why = w.equations.why.get(node.name)
    return CnnscopeError.of("E491", message, hint=f"`{why}` ties them" if why else "they are the same layer")
