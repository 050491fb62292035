"""Which widths of a network depend on which.

Every layer that makes channels (convolution, linear layer, embedding) has a variable; layers that share a weight share
it. Depthwise convolutions, norms, pools and activations pass channels on, a concatenation joins their segments, a
flatten multiplies. What is added, multiplied or contracted must be equal. Outputs of the network are pinned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from cnnscope.edits.axes import Axes, Axis, fixed, merged, reshaped, stepped, still, unknown
from cnnscope.edits.change import Heads
from cnnscope.edits.forms import ConflictError, Equations, Form
from cnnscope.ir import Graph, Node
from cnnscope.ops.activation import GLU
from cnnscope.ops.affine import Affine
from cnnscope.ops.conv import Conv, TransposedConv
from cnnscope.ops.generic import (
    Constant,
    Elementwise,
    Embedding,
    EmbeddingBag,
    Gather,
    Join,
    Movement,
    Overwrite,
    Parameter,
    Reduce,
    Select,
    Unsupported,
)  # fmt: skip
from cnnscope.ops.merge import Concat
from cnnscope.ops.movement import Flatten, PermuteOp, ReshapeOp, Slice
from cnnscope.ops.norm import GroupNorm
from cnnscope.ops.product import Bilinear, Linear, MatMul, ScaledDotProduct
from cnnscope.ops.rearrange import PixelShuffle, PixelUnshuffle, Shuffle
from cnnscope.ops.recurrent import Recurrent
from cnnscope.ops.tokens import Attention, ClassToken, Token, TokenMean, Tokens
from cnnscope.ops.traced import Called


@dataclass(slots=True)
class Widths:
    """The axes of every value of ``graph`` as forms, and the equations between them.

    ``steps`` has the axes behind each step of a movement. ``divisors`` are forms that a number must divide.
    """

    graph: Graph
    heads: Heads = "dim"
    equations: Equations = field(default_factory=Equations)
    axes: dict[str, Axes] = field(default_factory=dict)
    steps: dict[str, list[Axes]] = field(default_factory=dict)
    divisors: list[tuple[Form, int, str]] = field(default_factory=list)
    made: dict[str, Form] = field(default_factory=dict)
    makers: dict[str, Form] = field(default_factory=dict)

    def equal(self, a: Axis, b: Axis, why: str) -> Axis:
        """Two axes that must be equal, segment by segment where they have the same; the finer of both."""
        try:
            if [size for _, size in a.segments] == [size for _, size in b.segments]:
                for (one, _), (other, _) in zip(a.segments, b.segments, strict=True):
                    self.equations.equal(one, other, why)
            else:
                self.equations.equal(a.form, b.form, why)
        except ConflictError:
            raise unknown(why, "it joins widths that can only be equal as they are") from None
        return a if len(a.segments) >= len(b.segments) else b

    def pin(self, axes: Sequence[Axis], why: str) -> None:
        """Keeps axes as they are."""
        for axis in axes:
            for form, size in axis.segments:
                if form.terms:
                    self.equal(Axis(((form, size),)), fixed(size), why)

    def variable(self, node: Node, width: int) -> Form:
        """The width of a layer; layers with the same weight have the same."""
        key = node.params.get("weight", node.name)
        if key not in self.made:
            self.made[key] = self.equations.variable(node.name, width)
        self.makers[node.name] = self.made[key]
        return self.made[key]


def widths_of(graph: Graph, heads: Heads = "dim") -> Widths:
    """The widths of a graph. E492 where they cannot be followed."""
    found = Widths(graph, heads)
    found.axes.update({name: still(value.shape) for name, value in graph.inputs.items()})
    for node in graph.nodes:
        found.axes[node.name] = _node(found, node)
    for name in graph.outputs:
        found.pin(found.axes[name], "")
    return found


def _node(w: Widths, node: Node) -> Axes:
    """The axes of a node's output; adds the equations that it asks for."""
    op: Any = node.op
    xs, x, out = [w.axes[name] for name in node.inputs], w.graph.values(node), node.output.shape
    match op:
        case Gather() | Select() | Overwrite() | Unsupported() | Bilinear() | EmbeddingBag():
            return _pinned(w, node)
        case Conv() | TransposedConv() | Linear() if isinstance(op, Called):  # other ops compute its weights
            return _pinned(w, node)
        case Conv() | TransposedConv():
            return (xs[0][0], _convolved(w, node, xs[0][1]), *still(out[2:]))
        case Linear():
            return (*xs[0][:-1], Axis(((w.variable(node, op.out), op.out),)))
        case Embedding():
            return (*xs[0], Axis(((w.variable(node, op.dim), op.dim),)))
        case Parameter() | Constant():
            return _table(w, node)
        case Recurrent():
            return (*xs[0][:-1], *still(out[-1:])) if len(xs) == 1 and len(xs[0]) == len(out) else _pinned(w, node)
        case Concat() | Join():
            return _joined(w, node, op.axis if isinstance(op, Join) else _axis(op, x[0]))
        case Movement(steps=steps):
            return _moved(w, node, steps)
        case MatMul():
            w.equal(xs[0][-1], xs[1][-2], node.layer)
            return (*max(xs, key=len)[:-2], xs[0][-2], xs[1][-1])
        case ScaledDotProduct():
            w.equal(xs[0][-1], xs[1][-1], node.layer)
            return (*xs[0][:-1], xs[2][-1])
        case Reduce(axes=gone, keep=keep):
            return tuple(fixed(1) if i in gone else a for i, a in enumerate(xs[0]) if keep or i not in gone)
        case Affine() if max(len(op.scale), len(op.shift)) > 1:
            return _pinned(w, node)
    return _rearranged(w, node)


def _rearranged(w: Widths, node: Node) -> Axes:
    """The axes behind ops of the spec language that move axes; all others pass them on or broadcast them."""
    op: Any = node.op
    xs, x, out = [w.axes[name] for name in node.inputs], w.graph.values(node), node.output.shape
    match op:
        case Flatten():
            start, end = op._range(x[0])
            return (*xs[0][:start], merged(xs[0][start : end + 1], node.layer), *xs[0][end + 1 :])
        case ReshapeOp():
            return reshaped(xs[0], out, node.layer, count=w.heads == "count")
        case PermuteOp(order=order):
            return (xs[0][0], *(xs[0][i] for i in order))
        case Tokens():
            return (xs[0][0], fixed(out[1]), xs[0][1])
        case ClassToken():
            return (xs[0][0], fixed(out[1]), xs[0][2])
        case Token() | TokenMean():
            return (xs[0][0], xs[0][2])
        case Slice():
            return _moved(w, node, node.op.reads(x)[0] if (node.op.reads(x)) else ())  # type: ignore[index]  # known
        case PixelShuffle() | PixelUnshuffle():
            return (xs[0][0], xs[0][1].share(out[1]), *still(out[2:]))
        case GLU():
            return tuple(a if a.size == n else a.share(n) for a, n in zip(xs[0], out, strict=True))
        case GroupNorm() | Shuffle():
            w.divisors.append((xs[0][1].form, op.groups, node.layer))
        case Attention():
            w.divisors.append((xs[0][2].form, op.heads, node.layer))
    if len(xs) > 1 or isinstance(op, Elementwise):
        return _broadcast(w, node)
    same = xs and len(xs[0]) == len(out)
    return tuple(a if a.size == n else fixed(n) for a, n in zip(xs[0], out, strict=True)) if same else _pinned(w, node)


def _pinned(w: Widths, node: Node) -> Axes:
    for name in node.inputs:
        w.pin(w.axes[name], node.layer)
    return still(node.output.shape)


def _axis(op: Concat, x: Any) -> int:
    from cnnscope.ops.base import along

    return along(x, op.axis)


def _convolved(w: Widths, node: Node, channels: Axis) -> Axis:
    op: Any = node.op
    if is_depthwise(w.graph, node):
        return channels.times(op.out // op.groups)
    form = w.variable(node, op.out)
    if op.groups > 1:
        w.divisors += [(form, op.groups, node.layer), (channels.form, op.groups, node.layer)]
    return Axis(((form, op.out),))


def is_depthwise(graph: Graph, node: Node) -> bool:
    """Whether a convolution has kernels of its own for each channel."""
    op: Any = node.op
    return isinstance(op, Conv) and op.groups == graph.values(node)[0].shape[1] > 1 and op.out % op.groups == 0


def _table(w: Widths, node: Node) -> Axes:
    """A table or constant follows what it is joined with."""
    sizes = enumerate(node.output.shape)
    if isinstance(node.op, Constant) and node.op.literal is not None:
        return still(node.output.shape)
    return tuple(
        fixed(1) if n == 1 else Axis(((w.equations.variable(f"{node.name}[{i}]", n, follows=True), n),))
        for i, n in sizes
    )


def _joined(w: Widths, node: Node, along: int) -> Axes:
    xs = [w.axes[name] for name in node.inputs]
    result = list(xs[0])
    for i in range(len(result)):
        if i == along:
            result[i] = Axis(tuple(segment for axes in xs for segment in axes[i].segments))
            continue
        for axes in xs[1:]:
            result[i] = w.equal(result[i], axes[i], node.layer)
    return tuple(result)


def _moved(w: Widths, node: Node, steps: Sequence[Any]) -> Axes:
    axes = w.axes[node.inputs[0]]
    record: list[Axes] = []
    for step in steps:
        after = stepped(step, axes, node.layer, count=w.heads == "count")
        if after is None:
            return _pinned(w, node)
        axes = after
        record.append(axes)
    w.steps[node.name] = record
    return axes


def _broadcast(w: Widths, node: Node) -> Axes:
    out = node.output.shape
    result: list[Axis | None] = [None] * len(out)
    for name in node.inputs:
        axes = w.axes[name]
        for i, axis in enumerate(axes, start=len(out) - len(axes)):
            if axis.size == 1 != out[i]:
                continue
            known = result[i]
            result[i] = axis if known is None else w.equal(known, axis, node.layer)
    return tuple(fixed(n) if axis is None else axis for axis, n in zip(result, out, strict=True))


def tied(w: Widths, name: str) -> tuple[Fraction, dict[str, Fraction]]:
    """The width of a layer in free variables: a constant, and the coefficient of each."""
    form = w.equations.reduced(w.makers[name])
    return form.const, dict(form.terms)
