"""Ops of traces in torch, if they have all the information: movement, joins, reductions, arithmetic, weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.ir.steps import Border, Expand, Permute, Reshape, Shape, Step, Taps
from cnnscope.nn.code import Call, Expr, Lit, Raw
from cnnscope.nn.ops.base import Function, Inputs, Lacks, Module, TorchOp, X, attributes, inline, of_role, write_pad
from cnnscope.nn.ops.called import Calling, called, tensor_of
from cnnscope.nn.ops.merge import add, concatenated, infix, mul
from cnnscope.nn.ops.movement import window
from cnnscope.ops import generic
from cnnscope.ops.call import Literal
from cnnscope.ops.traced import moved

Move = Callable[[Tensor], Tensor]
_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "mean": torch.mean, "sum": torch.sum, "amax": torch.amax, "amin": torch.amin,
}  # fmt: skip


class Weight(nn.Module):
    """A weight or buffer as a value of the network, without a batch axis."""

    value: Tensor

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if dtype.is_floating_point or dtype.is_complex:
            self.register_parameter("value", nn.Parameter(torch.zeros(shape, dtype=dtype)))
        else:
            self.register_buffer("value", torch.zeros(shape, dtype=dtype))

    def forward(self) -> Tensor:
        return self.value


def chain(x: Tensor, moves: Sequence[Move]) -> Tensor:
    """One move after the other."""
    for move in moves:
        x = move(x)
    return x


def _movement(op: generic.Movement, x: X) -> Module | Function | None:
    """Steps one after the other, whatever the size of the batch."""
    if not op.steps and op.dtype is None:
        return Module(nn.Identity, code=inline(lambda x: x[0]))
    batch = op.batch
    if batch is None:
        if x[0].batch_axis != 0 or op.output(x[:1]).batch_axis != 0:
            return None
        batch = (0,) * len(op.steps)
    shapes = [moved(x[0], op.steps[:i]).shape for i in range(len(op.steps))]
    found = [_move(step, shape, axis, op.value) for step, shape, axis in zip(op.steps, shapes, batch, strict=True)]
    moves = [pair for pair in found if pair is not None]
    if op.dtype is not None:
        moves.append(_cast(op.dtype))

    def write(inputs: Inputs) -> Expr:
        result = inputs[0]
        for _, writer in moves:
            result = writer(result)
        return result

    whole = all(found)
    return Function(chain, (tuple(move for move, _ in moves),), write=write) if whole else None


_Move = tuple[Move, Callable[[Expr], Expr]]


def _cast(name: str) -> _Move:
    dtype = getattr(torch, name)
    return lambda x: x.to(dtype), lambda x: Call("to", (Raw(f"torch.{name}"),), target=x)


def _move(step: Step, shape: Shape, batch: int | None, value: float = 0.0) -> _Move | None:
    """One step of a tensor of ``shape`` as a function and as an expression; None if it may change the batch.

    ``batch`` is the axis that grows with the batch behind the step, ``value`` what new positions have.
    """
    match step:
        case Permute(order):
            return lambda x: x.permute(order), lambda x: Call("permute", tuple(map(Lit, order)), target=x)
        case Reshape(whole):
            return _method("reshape", [-1 if axis == batch else n for axis, n in enumerate(whole)])
        case Expand(whole):
            return _method("expand", [-1 if axis == batch else n for axis, n in enumerate(whole)])
        case Taps(axis=axis) if axis != batch:
            return _window(step, shape, value)
    return None


def _method(name: str, sizes: Sequence[int]) -> _Move:
    arguments = tuple(Lit(n) if n == -1 else Lit(n, "size") for n in sizes)
    return lambda x: getattr(x, name)(sizes), lambda x: Call(name, arguments, target=x)


def _window(step: Taps, shape: Shape, value: float) -> _Move | None:
    """Elements along an axis, each at most once in a place of the result."""
    axis, size, end = step.axis, step.size, shape[step.axis]
    if any(len(taps) != 1 for taps in step.taps):
        return None
    phases = len(step.taps)
    places = [step.n * (i // phases) + step.taps[i % phases][0] for i in range(size)]
    first, inside = places[0] if places else 0, all(0 <= place < end for place in places)
    regular = phases == 1 and step.n > 0
    if regular and inside and step.border == "drop":
        picked = [slice(None)] * axis + [slice(first, first + step.n * (size - 1) + 1, step.n)]
        return lambda x: x[tuple(picked)], lambda x: window(x, picked)
    if regular and step.n == 1 and step.border == "drop":
        pads = [0, 0] * (len(shape) - 1 - axis) + [-first, first + size - end]
        return lambda x: F.pad(x, pads, value=value), lambda x: write_pad(x, pads, "constant", value)
    if regular and step.n == 1 and step.border == "wrap" and size == end:
        return lambda x: x.roll(-first, axis), lambda x: Call("roll", (Lit(-first), Lit(axis)), target=x)
    if places == list(range(end))[::-1]:
        return lambda x: x.flip(axis), lambda x: Call("flip", (Lit(axis),), target=x)
    if step.border != "drop":
        places, inside = [_inside(place, end, step.border) for place in places], True
    if not inside:
        return None

    def write(x: Expr) -> Expr:
        made = Call("new_tensor", (Lit(tuple(places)),), (("dtype", Raw("torch.int64")),), x)
        return Call("index_select", (Lit(axis), made), target=x)

    return lambda x: x.index_select(axis, torch.tensor(places, device=x.device)), write


def _inside(place: int, end: int, border: Border) -> int:
    """The place of the pixel that stands for one beyond the border."""
    if border == "clamp":
        return min(max(place, 0), end - 1)
    if border == "reflect":
        turn = place % max(2 * end - 2, 1)
        return min(turn, 2 * end - 2 - turn)
    return place % end


def overwritten(
    x: Tensor,
    part: Tensor,
    axis: int,
    start: int,
    stop: int,
    step: int,
    shape: tuple[int, ...] | None,
    batch: int | None,
) -> Tensor:
    """``x`` with a part along an axis replaced. What has no batch is the same for every image."""
    part = part if shape is None else part.reshape(shape)
    if batch is not None:
        images = max(x.shape[batch], part.shape[batch])
        x, part = (t.expand([images if i == batch else -1 for i in range(t.dim())]) for t in (x, part))
    return torch.slice_scatter(x, part, axis, start, stop, step)


def _overwrite(op: generic.Overwrite, x: X) -> Function | None:
    """A slice that is written to; None if it is along the batch, or if its elements come in another order."""
    *before, cut = op.steps
    if not isinstance(cut, Taps) or not all(isinstance(step, Reshape) for step in before) or len(before) > 1:
        return None
    part = moved(x[1], before)
    batch = x[0].batch_axis if part.batch_axis is None else part.batch_axis
    phases = len(cut.taps)
    read = {o: tap + cut.n * (o // phases) for o in range(cut.size) for tap in cut.taps[o % phases]}
    places = [o for o, i in read.items() if 0 <= i < part.shape[cut.axis]]
    step = places[1] - places[0] if len(places) > 1 else 1
    if cut.axis == batch or not places or [read[o] for o in places] != list(range(part.shape[cut.axis])):
        return None
    if places != list(range(places[0], places[-1] + 1, step)):
        return None
    shape = tuple(-1 if i == part.batch_axis else n for i, n in enumerate(part.shape)) if before else None
    given = (cut.axis, places[0], places[-1] + 1, step, shape, batch)
    return Function(overwritten, given, defines=(overwritten,))


def _reduce(op: generic.Reduce, x: X) -> Function | Module | None:
    if op.fn not in _REDUCTIONS or op.dtype is not None or (op.call is not None and op.call.named):
        return called(op)
    axes = op.axes[0] if len(op.axes) == 1 else op.axes
    named = (("keepdim", Lit(op.keep, "keepdim", False)),)
    return Function(_REDUCTIONS[op.fn], (op.axes, op.keep), write=lambda x: Call(op.fn, (Lit(axes),), named, x[0]))


def _elementwise(op: generic.Elementwise, x: X) -> Function | Module | None:
    """The call; a sum or product of two inputs as the function of layers."""
    plain = op.call is None or op.call.is_plain
    if not plain or op.fn not in ("add", "mul") or op.dtype is not None or len(x) != 2:
        return called(op)
    return Function(add if op.fn == "add" else mul, write=infix("+" if op.fn == "add" else "*"))


def _join(op: generic.Join, x: X) -> Function:
    return concatenated(op.axis, x)


def unit_norm(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Scales what lies along ``axes`` to a norm of 1. Source: `keras.layers.UnitNormalization`."""
    return x * torch.rsqrt(x.square().sum(axes, keepdim=True).clamp_min(1e-12))


def softmax_over(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Softmax over all elements along several axes together."""
    return torch.exp(x - torch.logsumexp(x, axes, keepdim=True))


_SCANS: dict[str, Callable[..., Tensor]] = {"unit norm": unit_norm, "softmax": softmax_over}
"""Functions of `Scan` that no single function of ATen computes."""


def _scan(op: generic.Scan, x: X) -> Function | Module | None:
    """The call, if it is known; otherwise the function of that name."""
    found = _SCANS.get(op.fn)
    if op.call is not None or found is None:
        return called(op)
    return Function(found, (op.axes,), defines=(found,))


class Vectors(nn.Embedding):
    """torch.nn.Embedding for indices of any type."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.long())


def _embedding(op: generic.Embedding, x: X) -> Module:
    args = {"num_embeddings": op.size, "embedding_dim": op.dim}
    return Module(Vectors, args, defines=(Vectors,))


class Fixed(nn.Module):
    """A constant as a value of the network."""

    value: Tensor

    def __init__(self, literal: Literal) -> None:
        super().__init__()
        self.register_buffer("value", tensor_of(literal), persistent=False)

    def forward(self) -> Tensor:
        return self.value


def _parameter(op: generic.Parameter, x: X) -> Module:
    args: dict[str, Any] = {"shape": op.shape}
    args |= {} if op.dtype == "float32" else {"dtype": getattr(torch, op.dtype)}
    return Module(Weight, args, code=attributes("value"))


def _constant(op: generic.Constant, x: X) -> Module | None:
    return None if op.literal is None else Module(Fixed, {"literal": op.literal}, code=attributes(op.literal))


_OTHERS = (nn.CELU, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Threshold)
"""Activations for which the spec language has no op."""
_MANY = Lacks("it stands for many functions, which the rules of sources list")
_NAMED_ELSEWHERE = Lacks("the functions it is made of are those of other ops")
_UNKNOWN = {
    generic.EmbeddingBag: "its input is a tensor of indices, not an image",
    generic.Renorm: "it writes to a table of weights, which a built network never does",
    generic.Select: "a module has one output",
    generic.Unsupported: "no rule covers the function",
}
TORCH_OPS = (
    TorchOp(op=generic.Elementwise, make=_elementwise, roles=of_role("activation", *_OTHERS), aten=_MANY, onnx=_MANY),
    TorchOp(op=generic.Movement, make=_movement, roles={chain: "move"}, aten=_MANY, onnx=_MANY),
    TorchOp(op=generic.View, make=_movement, roles={chain: "move"}, aten=_MANY, onnx=_MANY),
    TorchOp(op=generic.Join, make=_join, roles=_NAMED_ELSEWHERE, aten=_MANY, onnx=_MANY),
    TorchOp(
        op=generic.Reduce, make=_reduce, roles={torch.sum: "average", torch.mean: "average", torch.amax: "max"},
        aten=_MANY, onnx=_MANY,
    ),
    TorchOp(
        op=generic.Parameter, make=_parameter, roles={Weight: "other"},
        aten=_MANY, onnx=_MANY,
    ),
    TorchOp(
        op=generic.Scan, make=_scan, roles={Calling: "other", unit_norm: "other", softmax_over: "other"},
        aten=_MANY, onnx=_MANY,
    ),
    TorchOp(
        op=generic.Embedding, make=_embedding, roles={Vectors: "other", nn.Embedding: "other"},
        aten=("embedding",), onnx=_MANY,
    ),
    TorchOp(op=generic.Gather, make=lambda op, x: called(op), roles=_NAMED_ELSEWHERE, aten=_MANY, onnx=_MANY),
    TorchOp(op=generic.Overwrite, make=_overwrite, roles={overwritten: "other"}, aten=_MANY, onnx=_MANY),
    TorchOp(op=generic.Constant, make=_constant, roles={Fixed: "other"}, aten=_MANY, onnx=_MANY),
    *(TorchOp(op=op, make=Lacks(why), roles=Lacks(why), aten=_MANY, onnx=_MANY) for op, why in _UNKNOWN.items()),
)  # fmt: skip
