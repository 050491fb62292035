"""Functions torch has for modules without weights, and how the functions that cnnscope calls are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.ir import Shape, Value
from cnnscope.nn import functional, layers
from cnnscope.nn.export.code import UNSET, Call, Expr, Index, Infix, Items, Lit
from cnnscope.nn.export.pytorch.construct import Code, Inputs, apply, construct

_Function = Callable[[Any, Inputs], Expr]


def _functional(name: str, *given: str, renamed: dict[str, str] | None = None) -> _Function:
    """``F.name(x, a, b=...)`` with those of the module's arguments, the first by position if it has no default."""

    def write(module: nn.Module, inputs: Inputs) -> Expr:
        made = construct(module)
        arguments = [(arg.name, arg) for arg in made.args if isinstance(arg, Lit)] + list(made.named)
        wanted = [(key, value) for key, value in arguments if key in given]
        first = tuple(v for k, v in wanted if isinstance(v, Lit) and v.default is UNSET)
        rest = tuple(((renamed or {}).get(k, k), v) for k, v in wanted if isinstance(v, Lit) and v.default is not UNSET)
        return Call(f"F.{name}", (*inputs, *first), rest)

    return write


FUNCTIONS: dict[type[nn.Module], _Function] = {
    nn.ReLU: _functional("relu"), nn.ReLU6: _functional("relu6"), nn.SELU: _functional("selu"),
    nn.SiLU: _functional("silu"), nn.Hardswish: _functional("hardswish"), nn.Hardsigmoid: _functional("hardsigmoid"),
    nn.Sigmoid: lambda m, x: Call("sigmoid", target=x[0]), nn.Tanh: lambda m, x: Call("tanh", target=x[0]),
    nn.LogSigmoid: _functional("logsigmoid"), nn.Softplus: _functional("softplus", "beta", "threshold"),
    nn.Softsign: _functional("softsign"), nn.Mish: _functional("mish"),
    nn.LeakyReLU: _functional("leaky_relu", "negative_slope"), nn.ELU: _functional("elu", "alpha"),
    nn.GELU: _functional("gelu", "approximate"), nn.Hardtanh: _functional("hardtanh", "min_val", "max_val"),
    nn.Softmax: lambda m, x: Call("softmax", (Lit(m.dim, "dim"),), target=x[0]),
    nn.LogSoftmax: lambda m, x: Call("log_softmax", (Lit(m.dim, "dim"),), target=x[0]),
    nn.GLU: _functional("glu", "dim"), nn.Identity: lambda m, x: x[0],
    nn.Flatten: lambda m, x: Call("flatten", (Lit(m.start_dim), *_end(m.end_dim)), target=x[0]),
    nn.LocalResponseNorm: _functional("local_response_norm", "size", "alpha", "beta", "k"),
    nn.PixelShuffle: _functional("pixel_shuffle", "upscale_factor"),
    nn.PixelUnshuffle: _functional("pixel_unshuffle", "downscale_factor"),
    nn.Upsample: _functional("interpolate", "size", "scale_factor", "mode", "align_corners"),
}  # fmt: skip
for _axes in (1, 2, 3):
    _windows = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "count_include_pad", "norm_type")
    for _family, _name in (("MaxPool", "max_pool"), ("AvgPool", "avg_pool")):
        FUNCTIONS[getattr(nn, f"{_family}{_axes}d")] = _functional(f"{_name}{_axes}d", *_windows)
    for _family, _name in (("AdaptiveAvgPool", "adaptive_avg_pool"), ("AdaptiveMaxPool", "adaptive_max_pool")):
        FUNCTIONS[getattr(nn, f"{_family}{_axes}d")] = _functional(f"{_name}{_axes}d", "output_size")


def _end(axis: int) -> tuple[Lit, ...]:
    return () if axis == -1 else (Lit(axis),)


# -- functions cnnscope calls ------------------------------------------------------------------------------------------

_CALLED: dict[Callable[..., Any], Callable[..., Expr]] = {
    functional.add: lambda x: Infix("+", tuple(x)) if len(x) > 1 else x[0],
    functional.mul: lambda x: Infix("*", tuple(x)) if len(x) > 1 else x[0],
    torch.sub: lambda x: Infix("-", tuple(x)),
    functional.concat: lambda x, dim: Call("torch.cat", (Items(tuple(x)),), (("dim", Lit(dim)),)),
    torch.abs: lambda x: Call("abs", target=x[0]),
    functional.reshape: lambda x, shape: Call("reshape", (Lit(-1), *map(Lit, shape)), target=x[0]),
    torch.permute: lambda x, order: Call("permute", tuple(map(Lit, order)), target=x[0]),
    functional.take: lambda x, axis, picked: window(x[0], [slice(None)] * axis + [picked]),
    torch.roll: lambda x, shift, axis: Call("torch.roll", (*x, Lit(shift), Lit(axis))),
    torch.flip: lambda x, axes: Call("flip", tuple(map(Lit, axes)), target=x[0]),
    torch.select: lambda x, axis, index: Index(x[0], ", ".join([*[":"] * axis, str(index)])),
    torch.mean: lambda x, dim: Call("mean", (Lit(dim),), target=x[0]),
    functional.to_tokens: lambda x: Call("transpose", (Lit(1), Lit(2)), target=Call("flatten", (Lit(2),), target=x[0])),
    F.pad: lambda x, pads, mode, value: pad(x[0], pads, mode, value),
}  # fmt: skip


def called(module: layers.Call, x: Sequence[Value]) -> Code:
    """How to write a module that only calls a function."""
    if module.function is functional.crop:
        offset, size = module.args
        return _crop(offset, size, x[0].shape[2:])
    if module.function not in _CALLED:  # a function of cnnscope's own, which the file takes along
        name = module.function.__name__
        given = tuple(map(Lit, module.args))
        return Code(None, apply, lambda x: Call(name, (*x, *given)), plain=False, helper=name)
    write = _CALLED[module.function]
    return Code(None, apply, lambda x: write(x, *module.args, **module.kwargs), plain=False)


def _crop(offset: Shape, size: Shape, whole: Shape) -> Code:
    if all(first == (n - m) // 2 for first, m, n in zip(offset, size, whole, strict=True)):
        name = "center_crop"
        return Code(None, apply, lambda x: Call(name, (*x, Lit(size, "size"))), plain=False, helper=name)
    picked = [slice(None), slice(None), *(slice(first, first + n) for first, n in zip(offset, size, strict=True))]
    return Code(None, apply, lambda x: window(x[0], picked), plain=False)


def pad(x: Expr, pads: Sequence[int], mode: str, value: float | None) -> Expr:
    """``F.pad(x, ...)``."""
    named = (("mode", Lit(mode, "mode", "constant")), ("value", Lit(value or 0.0, "value", 0.0)))
    return Call("F.pad", (x, Lit(tuple(pads), "padding")), named)


def window(x: Expr, picked: Sequence[slice]) -> Expr:
    """``x[:, 3:8]``: these parts of the first axes."""
    texts: list[str] = []
    values: list[Expr] = []
    for part in picked:
        ends = [(part.start or None, "start"), (part.stop, "stop")]
        values += [Lit(end, name) for end, name in ends if end is not None]
        start, stop = ("" if end is None else "{}" for end, _ in ends)
        texts.append(f"{start}:{stop}" + (f":{part.step}" if part.step not in (None, 1) else ""))
    return Index(x, ", ".join(texts), tuple(values))
