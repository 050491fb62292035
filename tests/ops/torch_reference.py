"""What each op computes, written a second time with torch alone: nothing here comes from `cnnscope.nn` or the ops.

`RUN[tag]` takes the op's arguments as read (padding words unresolved), its weights by role and its inputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from inspect import signature
from types import SimpleNamespace as Args
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cnnscope.ir import Value
from cnnscope.ops import Case, Op

Run = Callable[..., Tensor]
RUN: dict[str, Run] = {}


def run(*tags: str) -> Callable[[Run], Run]:
    def enter(function: Run) -> Run:
        RUN.update(dict.fromkeys(tags, function))
        return function

    return enter


def by_rank(name: str, x: Tensor) -> Any:
    return getattr(F, f"{name}{x.dim() - 2}d")


def pads_of(a: Args, x: Tensor) -> list[tuple[int, int]]:
    """The words of the spec language, from their definitions."""
    sizes = list(x.shape[2:])
    if isinstance(a.pad, list):
        return [tuple(sides) for sides in a.pad]
    stride = getattr(a, "stride", None) or a.kernel
    dilation = getattr(a, "dilation", [1] * len(sizes))
    result = []
    for n, k, s, d in zip(sizes, a.kernel, stride, dilation, strict=True):
        reach = d * (k - 1)
        if a.pad == "same":  # ceil(n / s) outputs, the odd pixel behind
            total = max((math.ceil(n / s) - 1) * s + reach + 1 - n, 0)
            result.append((total // 2, total - total // 2))
        else:
            result.append({"valid": (0, 0), "half": (reach // 2, reach // 2), "full": (reach, reach)}[a.pad])
    return result


def padded(x: Tensor, pads: list[tuple[int, int]], mode: str = "zeros", value: float | None = None) -> Tensor:
    flat = [side for pair in reversed(pads) for side in pair]
    return F.pad(x, flat, "constant" if mode == "zeros" else mode, value)


@run("conv")
def conv(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    x = padded(x, pads_of(a, x), a.pad_mode)
    return by_rank("conv", x)(x, w["weight"], w.get("bias"), a.stride, 0, a.dilation, a.groups)


@run("depthwise")
def depthwise(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    a.groups = x.shape[1]
    return conv(a, w, x)


@run("upconv")
def upconv(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    refuses_groups = getattr(torch.nn, f"ConvTranspose{x.dim() - 2}d")
    refuses_groups(x.shape[1], a.out, a.kernel, groups=a.groups, device="meta")
    function = by_rank("conv_transpose", x)
    common = even(pads_of(a, x)) if a.pad != "same" else None
    if common is not None:
        return function(x, w["weight"], w.get("bias"), a.stride, common, a.out_pad, a.groups, a.dilation)
    full = function(x, w["weight"], None, a.stride, 0, a.out_pad, a.groups, a.dilation)
    for axis, (n, k, s, d) in enumerate(zip(x.shape[2:], a.kernel, a.stride, a.dilation, strict=True), start=2):
        if a.pad == "same":  # what the convolution pads that makes n of n * s
            total = max((n - 1) * s + d * (k - 1) + 1 - n * s, 0)
            full = F.pad(full, [0, 0] * (x.dim() - 1 - axis) + [0, n * s])  # where the kernel is shorter than the step
            full = full.narrow(axis, total // 2, n * s)
        else:
            low, high = pads_of(a, x)[axis - 2]
            if full.shape[axis] <= low + high:
                raise ValueError("nothing is left")
            full = full.narrow(axis, low, full.shape[axis] - low - high)
    return full + (along(w["bias"], 1, full) if "bias" in w else 0)


@run("linear")
def linear(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return F.linear(x, w["weight"], w.get("bias"))


def even(pads: list[tuple[int, int]]) -> list[int] | None:
    return [low for low, _ in pads] if all(low == high for low, high in pads) else None


def window_by_window(a: Args, x: Tensor, pads: list[tuple[int, int]]) -> Tensor:
    """Pooling with uneven padding, which torch does not have: every window's pixels are looked up."""
    dilation = getattr(a, "dilation", [1] * len(pads))
    per_axis = []
    for n, k, s, d, (low, high) in zip(x.shape[2:], a.kernel, a.stride or a.kernel, dilation, pads, strict=True):
        starts = range(-low, n + high, s)
        whole = [start for start in starts if start + d * (k - 1) < n + high]
        if a.ceil and whole[-1] + d * (k - 1) + 1 < n + high and whole[-1] + s < n:
            whole.append(whole[-1] + s)
        per_axis.append([[start + d * j for j in range(k) if start + d * j < n + high] for start in whole])
    results = []
    for window in itertools.product(*per_axis):
        pixels = x
        for axis, places in enumerate(window, start=2):
            inside = [i for i in places if 0 <= i < x.shape[axis]]
            pixels = pixels.index_select(axis, torch.tensor(inside, device=x.device))
        if a.tag == "maxpool":
            results.append(pixels.flatten(2).amax(2))
        else:
            count = math.prod(len(places) for places in window) if a.count_pad else pixels[0, 0].numel()
            results.append(pixels.flatten(2).sum(2) / count)
    return torch.stack(results, 2).reshape(*x.shape[:2], *map(len, per_axis))


@run("maxpool")
def maxpool(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    pads = even(pads_of(a, x))
    if pads is None:
        return window_by_window(a, x, pads_of(a, x))
    return by_rank("max_pool", x)(x, a.kernel, a.stride, pads, a.dilation, ceil_mode=a.ceil)


@run("avgpool")
def avgpool(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    pads = even(pads_of(a, x))
    if a.divisor is not None and len(a.kernel) == 1:
        return x.unfold(2, a.kernel[0], a.stride[0]).sum(-1) / a.divisor  # torch's 1-D pool has no divisor
    if a.divisor is not None:
        return by_rank("avg_pool", x)(x, a.kernel, a.stride, pads, a.ceil, a.count_pad, a.divisor)
    if pads is None:
        return window_by_window(a, x, pads_of(a, x))
    return by_rank("avg_pool", x)(x, a.kernel, a.stride, pads, ceil_mode=a.ceil, count_include_pad=a.count_pad)


@run("lppool")
def lppool(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    kernel, stride = (a.kernel[0], a.stride[0]) if x.dim() == 3 else (a.kernel, a.stride)
    return by_rank("lp_pool", x)(x, a.p, kernel, stride, ceil_mode=a.ceil)


@run("blurpool")
def blurpool(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    """One axis after the other: the filter is separable."""
    x = padded(x, pads_of(a, x), a.pad_mode)
    for axis, (k, s) in enumerate(zip(a.kernel, a.stride, strict=True), start=2):
        row = torch.tensor([math.comb(k - 1, i) for i in range(k)], dtype=x.dtype, device=x.device) / 2 ** (k - 1)
        x = (x.unfold(axis, k, s) * row).sum(-1)
    return x


@run("aps")
def aps(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    """Every offset tried, the largest norm so far kept, for each image by itself."""
    chosen, most = None, None
    for offset in itertools.product(*map(range, a.stride)):
        grid = x
        for axis, (first, s) in enumerate(zip(offset, a.stride, strict=True), start=2):
            grid = grid.index_select(axis, torch.arange(first, x.shape[axis], s, device=x.device))
        norm = torch.linalg.vector_norm(grid, a.p, tuple(range(1, x.dim())), keepdim=True)
        chosen = grid if chosen is None else torch.where(norm > most, grid, chosen)
        most = norm if most is None else torch.maximum(norm, most)
    return chosen


@run("adaptiveavgpool")
def adaptiveavgpool(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return by_rank("adaptive_avg_pool", x)(x, a.out)


@run("adaptivemaxpool")
def adaptivemaxpool(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return by_rank("adaptive_max_pool", x)(x, a.out)


@run("globalavgpool")
def globalavgpool(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


@run("globalmaxpool")
def globalmaxpool(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


@run("batchnorm")
def batchnorm(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    mean, var = w.get("running_mean"), w.get("running_var")
    return F.batch_norm(x, mean, var, w.get("weight"), w.get("bias"), training=not a.track, eps=a.eps)


def normalised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps)


def along(vector: Tensor, axis: int, x: Tensor) -> Tensor:
    return vector.reshape([-1 if i == axis else 1 for i in range(x.dim())])


@run("layernorm")
def layernorm(a: Args, w: dict[str, Tensor], x: Tensor, kind: str) -> Tensor:
    if kind == "map" and a.over == "channels":
        y = normalised(x, (1,), a.eps)
        scale, shift = (along(w[role], 1, x) if role in w else None for role in ("weight", "bias"))
    else:
        y = normalised(x, tuple(range(1, x.dim()))[-a.axes if a.over == "channels" else None :], a.eps)
        scale, shift = w.get("weight"), w.get("bias")
    y = y if scale is None else y * scale
    return y if shift is None else y + shift


@run("groupnorm")
def groupnorm(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return F.group_norm(x, a.groups, w.get("weight"), w.get("bias"), a.eps)


@run("instancenorm")
def instancenorm(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return F.instance_norm(x, None, None, w.get("weight"), w.get("bias"), True, 0.1, a.eps)


@run("rmsnorm")
def rmsnorm(a: Args, w: dict[str, Tensor], x: Tensor, kind: str) -> Tensor:
    axis = 1 if kind == "map" else x.dim() - 1
    return x * torch.rsqrt((x * x).mean(axis, keepdim=True) + a.eps) * along(w["weight"], axis, x)


@run("lrn")
def lrn(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return F.local_response_norm(x, a.size, a.alpha, a.beta, a.k)


RUN["softplus"] = lambda a, w, x: torch.where(
    a.beta * x > a.threshold, x, torch.log1p(torch.exp(a.beta * x)) / a.beta
)  # fmt: skip


@run("relu", "relu6", "selu", "silu", "hardswish", "hardsigmoid", "logsigmoid", "softsign", "mish")
def of_functional(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return getattr(F, a.tag)(x)


RUN["sigmoid"] = lambda a, w, x: 1 / (1 + torch.exp(-x))
RUN["tanh"] = lambda a, w, x: torch.tanh(x)
RUN["abs"] = lambda a, w, x: x.abs()
RUN["leakyrelu"] = lambda a, w, x: F.leaky_relu(x, a.slope)
RUN["elu"] = lambda a, w, x: F.elu(x, a.alpha)
RUN["gelu"] = lambda a, w, x: F.gelu(x, approximate="tanh" if a.tanh else "none")
RUN["hardtanh"] = lambda a, w, x: F.hardtanh(x, a.low, a.high)
RUN["prelu"] = lambda a, w, x: F.prelu(x, w["weight"])


@run("softmax", "logsoftmax", "glu")
def softmax(a: Args, w: dict[str, Tensor], x: Tensor, kind: str) -> Tensor:
    axis = (-1 if kind == "tokens" else 1) if a.axis is None else a.axis
    return {"softmax": F.softmax, "logsoftmax": F.log_softmax, "glu": F.glu}[a.tag](x, axis)


@run("dropout", "spatialdropout", "alphadropout", "stochasticdepth", "identity")
def same(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    return x.clone()


RUN["add"] = lambda a, w, *x: sum(x[1:], x[0])
RUN["sub"] = lambda a, w, x, y: x - y
RUN["mul"] = lambda a, w, *x: math.prod(x[1:], start=x[0])


@run("concat")
def concat(a: Args, w: dict[str, Tensor], *x: Tensor, kind: str) -> Tensor:
    return torch.cat(x, (-1 if kind == "tokens" else 1) if a.axis is None else a.axis)


RUN["flatten"] = lambda a, w, x: torch.flatten(x, a.start, a.end)
RUN["reshape"] = lambda a, w, x: x.reshape(1, *a.shape)
RUN["permute"] = lambda a, w, x: x.permute(0, *a.order)
RUN["roll"] = lambda a, w, x: torch.roll(x, a.shift, a.axis)
RUN["flip"] = lambda a, w, x: torch.flip(x, [a.axis])
RUN["pad"] = lambda a, w, x: padded(x, a.pad, a.pad_mode, a.value if a.pad_mode == "zeros" else None)
RUN["shuffle"] = lambda a, w, x: F.channel_shuffle(x, a.groups) if x.dim() > 3 else shuffle_1d(x, a.groups)


def shuffle_1d(x: Tensor, groups: int) -> Tensor:
    each = x.shape[1] // groups
    return torch.stack([x[:, group * each + i] for i in range(each) for group in range(groups)], 1)


@run("slice")
def slice_(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    indices = range(x.shape[a.axis])[a.start : a.stop : a.step]
    return x.index_select(a.axis, torch.tensor(list(indices), device=x.device))


@run("crop")
def crop(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    for axis, size in enumerate(a.size, start=2):
        first = (x.shape[axis] - size) // 2 if a.offset is None else a.offset[axis - 2]
        x = x.narrow(axis, first, size)
    return x


@run("pixelshuffle")
def pixelshuffle(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    """In two dimensions torch's; in others the inverse of the unshuffling below."""
    if x.dim() == 4:
        return F.pixel_shuffle(x, a.factor)
    size = [n * a.factor for n in x.shape[2:]]
    order = pixelunshuffle(a, w, torch.arange(x[0].numel()).reshape(1, -1, *size)).flatten()
    flat = torch.empty_like(x).flatten()
    flat[order] = x.flatten()
    return flat.reshape(1, -1, *size)


@run("pixelunshuffle")
def pixelunshuffle(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    """Channel c f^d + (i f + j) takes every f-th pixel from (i, j) of channel c."""
    rank, f = x.dim() - 2, a.factor
    corners = [tuple(index // f ** (rank - 1 - axis) % f for axis in range(rank)) for index in range(f**rank)]
    windows = [tuple(slice(first, None, f) for first in corner) for corner in corners]
    return torch.stack([x[(slice(None), slice(None), *window)] for window in windows], 2).flatten(1, 2)


@run("upsample")
def upsample(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.dim()] if a.mode == "bilinear" else a.mode
    corners = None if mode.startswith("nearest") else a.align_corners
    factors = None if a.scale is None else tuple(map(float, a.scale))
    return F.interpolate(x, a.size, factors, mode, corners, recompute_scale_factor=False, antialias=a.antialias)


@run("attention")
def attention(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    n, t, c = x.shape
    qkv = F.linear(x, w["in_proj_weight"], w.get("in_proj_bias"))
    q, k, v = qkv.reshape(n, t, 3, a.heads, c // a.heads).permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.mT / math.sqrt(c // a.heads), -1)
    return F.linear((weights @ v).transpose(1, 2).reshape(n, t, c), w["out_proj.weight"], w.get("out_proj.bias"))


@run("lstm", "gru", "rnn")
def recurrent(a: Args, w: dict[str, Tensor], x: Tensor) -> Tensor:
    """Step by step, from the equations of the papers in torch's order of the gates."""
    for layer in range(a.layers):
        ways = []
        for suffix in ("", "_reverse")[: 1 + a.bidirectional]:
            part = {name.split("_l")[0]: t for name, t in w.items() if name.endswith(f"_l{layer}{suffix}")}
            steps = x.flip(1).unbind(1) if suffix else x.unbind(1)
            way = torch.stack(states(a, part, steps), 1)
            ways.append(way.flip(1) if suffix else way)
        x = torch.cat(ways, -1)
    return x


def states(a: Args, w: dict[str, Tensor], steps: tuple[Tensor, ...]) -> list[Tensor]:
    found = []
    h = steps[0].new_zeros(len(steps[0]), w["weight_hh"].shape[1])
    c = steps[0].new_zeros(len(steps[0]), a.hidden)
    for x in steps:
        given = F.linear(x, w["weight_ih"], w.get("bias_ih"))
        kept = F.linear(h, w["weight_hh"], w.get("bias_hh"))
        if a.tag == "lstm":
            i, f, g, o = (given + kept).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            h = F.linear(h, w["weight_hr"]) if "weight_hr" in w else h
        elif a.tag == "gru":
            (r, z, n), (kr, kz, kn) = given.chunk(3, -1), kept.chunk(3, -1)
            z = torch.sigmoid(z + kz)
            h = (1 - z) * torch.tanh(n + torch.sigmoid(r + kr) * kn) + z * h
        else:
            h = torch.tanh(given + kept) if a.nonlinearity == "tanh" else torch.relu(given + kept)
        found.append(h)
    return found


RUN["tokens"] = lambda a, w, x: torch.stack([x.flatten(2)[:, :, i] for i in range(x[0, 0].numel())], 1)
RUN["classtoken"] = lambda a, w, x: torch.cat([w["weight"].expand(len(x), -1, -1), x], 1)
RUN["position"] = lambda a, w, x: x + w["weight"]
RUN["token"] = lambda a, w, x: x[:, a.index]
RUN["tokenmean"] = lambda a, w, x: x.mean(1)
RUN["layerscale"] = lambda a, w, x, kind: x * along(w["weight"], 1 if kind == "map" else x.dim() - 1, x)


def bound(op: type[Op], case: Case) -> tuple[Op, Op, tuple[Value, ...]]:
    """The op as read, the op bound to the case's inputs, and those."""
    x = case.inputs()
    read = op.read(case.args, len(x[0].spatial) or None)
    return read, read.bind(x), x


def reference(op: Op, weights: dict[str, Tensor], x: list[Tensor], kind: str) -> Tensor:
    args = Args(**op.arguments(), tag=op.tag)
    function = RUN[op.tag]
    wants_kind = {"kind": kind} if "kind" in signature(function).parameters else {}
    return function(args, weights, *x, **wants_kind)


def random_weights(op: Op, x: tuple[Value, ...], device: str = "cpu") -> dict[str, Tensor]:
    shapes = {**op.weights(x), **op.buffers(x)}
    return {
        role: torch.zeros((), dtype=torch.int64) if role == "num_batches_tracked"
        else torch.rand(shape, device=device, dtype=torch.float64) + 0.5
        for role, shape in shapes.items()
    }  # fmt: skip
