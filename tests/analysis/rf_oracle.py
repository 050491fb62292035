"""Receptive fields by automatic differentiation: the pixels with a gradient, in a network made monotone.

Weights are random and positive, activations the identity, maximum the mean, products sums, so that no path cancels
or dies. Every op is written out in torch once more, by what it is and without its `reads`. In a local run, what a
reduction over the whole image returns is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from cnnscope.ir import Graph, Node, Value
from cnnscope.ops.base import along

Box = tuple[tuple[int, int], ...]
PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
SAME = {
    "relu", "leakyrelu", "gelu", "silu", "sigmoid", "tanh", "batchnorm", "dropout", "identity", "layerscale",
    "position",
}  # fmt: skip


MOST = 24
"""Units of a layer that are looked at: these many evenly spaced ones, and the last."""


def fields(graph: Graph, layer: str, *, local: bool = False) -> dict[tuple[int, ...], Box | None]:
    """The bounding box of units of a map, or of tokens, by position."""
    masks = touched(graph, layer, local=local)
    return {position: box(mask) for position, mask in masks.items()}


def touched(graph: Graph, layer: str, *, local: bool = False) -> dict[tuple[int, ...], Tensor]:
    """The pixels, as an image of booleans, that each unit depends on."""
    (name,) = graph.inputs
    value = graph.value(layer)
    axes = range(2, len(value.shape)) if value.kind == "map" else range(1, 2) if value.kind == "tokens" else range(0)
    everywhere = list(product(*(range(value.shape[a]) for a in axes)))
    positions = [*everywhere[:: -(-len(everywhere) // MOST)], everywhere[-1]]
    torch.manual_seed(0)
    x = torch.rand((len(positions), *graph.inputs[name].shape[1:]), dtype=torch.float64, requires_grad=True)
    output = run(graph, x, local)[layer]
    units = [output[i][_at(value, position)].sum() for i, position in enumerate(positions)]
    total = torch.stack(units).sum()
    if not total.requires_grad:
        return {position: torch.zeros(x.shape[2:], dtype=torch.bool) for position in positions}
    (gradient,) = torch.autograd.grad(total, x)
    return {position: gradient[i].ne(0).any(0) for i, position in enumerate(positions)}


def _at(value: Value, position: tuple[int, ...]) -> tuple[slice | int, ...]:
    return (slice(None), *position) if value.kind == "map" else position


def box(mask: Tensor) -> Box | None:
    if not mask.any():
        return None
    lines = (mask.any(tuple(a for a in range(mask.dim()) if a != axis)) if mask.dim() > 1 else mask
             for axis in range(mask.dim()))  # fmt: skip
    return tuple((int(line.nonzero().min()), int(line.nonzero().max())) for line in lines)


def run(graph: Graph, x: Tensor, local: bool) -> dict[str, Tensor]:
    """Every value of the network on a batch of images, by name."""
    (name,) = graph.inputs
    values = {name: x}
    for node in graph.nodes:
        inputs = [values[source] for source in node.inputs]
        values[node.name] = _compute(node, inputs, graph.values(node), local)
    return values


def _compute(node: Node, x: list[Tensor], shapes: Sequence[Value], local: bool) -> Tensor:
    op, tag = node.op, node.op.tag
    result = x[0] if tag in SAME else OPS[tag](op, x, shapes, local)
    assert result.shape[1:] == node.output.shape[1:], (tag, result.shape, node.output.shape)
    return result


def _positive(*shape: int) -> Tensor:
    return (0.5 + torch.rand(shape, dtype=torch.float64)) / prod(shape[1:])


def _far(x: Tensor, local: bool, extent: int) -> Tensor:
    """What a reduction over the whole of ``extent`` positions reads."""
    return x.detach() if local and extent > 1 else x


def _extent(value: Value) -> int:
    return prod(value.shape[2:])


def _padded(x: Tensor, pad: Sequence[tuple[int, int]], mode: str = "zeros") -> Tensor:
    if not any(map(any, pad)):
        return x
    for axis, sides in enumerate(pad):  # torch pads at most as many axes at once as suit it
        flat = [0, 0] * (len(pad) - axis - 1) + list(sides)
        x = functional.pad(x, flat) if mode == "zeros" else _bordered(x, axis + 2, sides, mode)
    return x


def _bordered(x: Tensor, axis: int, sides: tuple[int, int], mode: str) -> Tensor:
    lines = x.movedim(axis, -1)
    flat = functional.pad(lines.flatten(1, -2), sides, PAD_MODES[mode])
    return flat.unflatten(1, lines.shape[1:-1]).movedim(-1, axis)


CONVOLVE = (functional.conv1d, functional.conv2d, functional.conv3d)
TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
ADAPTIVE = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)


def _conv(op, x, shapes, local):
    kernel = _positive(op.out, x[0].shape[1] // op.groups, *op.kernel)
    padded = _padded(x[0], op.pad, op.pad_mode)
    return CONVOLVE[len(op.kernel) - 1](padded, kernel, stride=op.stride, dilation=op.dilation, groups=op.groups)


def _upconv(op, x, shapes, local):
    kernel = _positive(x[0].shape[1], op.out // op.groups, *op.kernel)
    transposed = TRANSPOSED[len(op.kernel) - 1]
    full = transposed(x[0], kernel, None, op.stride, 0, op.out_pad, op.groups, op.dilation)
    for axis, (low, high) in enumerate(op.pad, start=2):
        full = full.narrow(axis, low, full.shape[axis] - low - high)
    return full


def _pool(op, x, shapes, local):
    channels = x[0].shape[1]
    dilation = getattr(op, "dilation", (1,) * len(op.kernel))
    padded = _padded(x[0], op.pad, getattr(op, "pad_mode", "zeros"))
    windows = zip(op.output(shapes).shape[2:], op.step, op.kernel, dilation, strict=True)
    for axis, (n, s, k, d) in enumerate(windows, start=2):
        short = (n - 1) * s + d * (k - 1) + 1 - padded.shape[axis]
        if short > 0:  # ceil: the last window hangs over
            beyond = torch.zeros_like(padded.narrow(axis, 0, 1)).repeat_interleave(short, axis)
            padded = torch.cat([padded, beyond], axis)
    kernel = _positive(channels, 1, *op.kernel)
    pooled = CONVOLVE[len(op.kernel) - 1](padded, kernel, None, op.step, 0, dilation, channels)
    return pooled[(..., *(slice(n) for n in op.output(shapes).shape[2:]))]


def _adaptive(op, x, shapes, local):
    whole = any(m == 1 and n > 1 for m, n in zip(op.out, shapes[0].shape[2:], strict=True))
    return ADAPTIVE[len(op.out) - 1](_far(x[0], local, 2 if whole else 1), op.out)


def _global(op, x, shapes, local):
    return _far(x[0], local, _extent(shapes[0])).mean(tuple(range(2, x[0].dim())), keepdim=True)


def _normalised(x: Tensor, axes: tuple[int, ...], local: bool) -> Tensor:
    extent = prod(x.shape[a] for a in axes if a > 1)
    return x + _far(x, local, extent).mean(axes, keepdim=True)


def _layernorm(op, x, shapes, local):
    return _normalised(x[0], tuple(op.normalised(shapes[0])), local)


def _groupnorm(op, x, shapes, local):
    groups = x[0].unflatten(1, (op.groups, -1))
    statistic = _far(groups, local, _extent(shapes[0])).mean(tuple(range(2, groups.dim())), keepdim=True)
    return x[0] + statistic.expand_as(groups).flatten(1, 2)


def _instancenorm(op, x, shapes, local):
    return _normalised(x[0], tuple(range(2, x[0].dim())), local)


def _linear(op, x, shapes, local):
    return functional.linear(x[0], _positive(op.out, x[0].shape[-1]))


def _flatten(op, x, shapes, local):
    assert not local or _extent(shapes[0]) == 1, "flat positions are not followed here"
    return x[0].flatten(1)


def _attention(op, x, shapes, local):
    tokens = x[0].shape[1]
    mixed = torch.einsum("st,ntc->nsc", _positive(tokens, tokens), _far(x[0], local, tokens))
    return functional.linear(mixed, _positive(x[0].shape[2], x[0].shape[2]))


def _slice(op, x, shapes, local):
    axis = op.axis % x[0].dim()
    stop = x[0].shape[axis] if op.stop is None else op.stop
    picked = range(*slice(op.start, stop, op.step).indices(x[0].shape[axis]))
    return x[0].index_select(axis, torch.tensor(list(picked)))


def _upsample(op, x, shapes, local):
    modes = {"nearest": "nearest", "bilinear": ("linear", "bilinear", "trilinear")[len(shapes[0].spatial) - 1]}
    mode = modes.get(op.mode, op.mode)
    size = op.output(shapes).shape[2:]
    corners = None if mode == "nearest" else op.align_corners
    return functional.interpolate(x[0], size=size, mode=mode, align_corners=corners)


def _shuffle(op, x, shapes, local):
    return x[0].unflatten(1, (op.groups, -1)).transpose(1, 2).flatten(1, 2)


def _cells(factor: int, axes: int) -> list[tuple[slice, ...]]:
    """Every place in a cell of factor pixels an axis, in row-major order, as a stride over the whole map."""
    return [tuple(slice(i, None, factor) for i in place) for place in product(range(factor), repeat=axes)]


def _pixelshuffle(op, x, shapes, local):
    result = x[0].new_zeros((len(x[0]), *op.output(shapes).shape[1:]))
    cells = _cells(op.factor, len(shapes[0].spatial))
    for k, cell in enumerate(cells):
        result[(..., *cell)] = x[0][:, k :: len(cells)]
    return result


def _pixelunshuffle(op, x, shapes, local):
    cells = _cells(op.factor, len(shapes[0].spatial))
    return torch.stack([x[0][(..., *cell)] for cell in cells], 2).flatten(1, 2)


def _crop(op, x, shapes, local):
    cut = zip(op.offsets(shapes[0].shape[2:]), op.size, strict=True)
    return x[0][(..., *(slice(low, low + n) for low, n in cut))]


def _pad(op, x, shapes, local):
    return _padded(x[0], op.pad, op.pad_mode)


def _sum(op, x, shapes, local):
    return sum(x[1:], x[0])


def _concat(op, x, shapes, local):
    return torch.cat(x, along(shapes[0], op.axis))


def _classtoken(op, x, shapes, local):
    return torch.cat([torch.ones_like(x[0][:, :1]), x[0]], 1)


Rule = Callable[..., Tensor]
OPS: dict[str, Rule] = {
    "conv": _conv, "upconv": _upconv, "maxpool": _pool, "avgpool": _pool, "lppool": _pool, "blurpool": _pool,
    "adaptiveavgpool": _adaptive, "adaptivemaxpool": _adaptive, "globalavgpool": _global, "globalmaxpool": _global,
    "layernorm": _layernorm, "groupnorm": _groupnorm, "instancenorm": _instancenorm, "linear": _linear,
    "flatten": _flatten, "attention": _attention, "slice": _slice, "upsample": _upsample, "shuffle": _shuffle,
    "crop": _crop, "pad": _pad, "add": _sum, "mul": _sum, "concat": _concat, "classtoken": _classtoken,
    "softmax": lambda op, x, shapes, local: _normalised(x[0], (along(shapes[0], op.axis),), local),
    "permute": lambda op, x, shapes, local: x[0].permute(0, *op.order),
    "reshape": lambda op, x, shapes, local: x[0].reshape(-1, *op.output(shapes).shape[1:]),
    "roll": lambda op, x, shapes, local: x[0].roll(op.shift, op.axis),
    "flip": lambda op, x, shapes, local: x[0].flip(op.axis),
    "pixelshuffle": _pixelshuffle, "pixelunshuffle": _pixelunshuffle,
    "tokens": lambda op, x, shapes, local: x[0].flatten(2).transpose(1, 2),
    "token": lambda op, x, shapes, local: x[0][:, op.index],
    "tokenmean": lambda op, x, shapes, local: _far(x[0], local, x[0].shape[1]).mean(1),
}  # fmt: skip
