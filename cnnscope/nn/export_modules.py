"""How the modules of `cnnscope.nn.modules` are written as code: what constructs them, and what calls them.

Modules of torch need no entry: their arguments are read back from attributes of the same name, and those at their
default are left out. Entries here are for the functions torch has for modules without weights, and for what only
cnnscope has.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.ir import Shape, Value
from cnnscope.nn import export_helpers, functional, layers
from cnnscope.nn.export_code import UNSET, Call, Expr, Index, Infix, Items, Lit, Raw
from cnnscope.nn.functional import torch_pads


@dataclass(frozen=True, slots=True)
class Code:
    """One op as code: ``construct`` makes the module to register, ``call`` applies it to its inputs.

    Without ``construct`` there is nothing to register. ``plain`` says that calling is nothing but calling the module on
    its input, so that it can stand in an `nn.Sequential`. ``stateless`` modules have a ``function`` as well, which
    needs no registering. ``helper`` is what the file must define, by name in `HELPERS`.
    """

    construct: Expr | None
    call: Callable[[Expr, Sequence[Expr]], Expr]
    function: Callable[[Sequence[Expr]], Expr] | None = None
    plain: bool = True
    helper: str | None = None


Inputs = Sequence[Expr]


def code_of(module: nn.Module, x: Sequence[Value]) -> Code:
    """How to write a module that was made for inputs ``x``."""
    if isinstance(module, layers.Call):
        return _called(module, x)
    if type(module) in _SPECIAL:
        return _SPECIAL[type(module)](module, x)
    function = _FUNCTIONS.get(type(module))
    return Code(construct(module), _apply, None if function is None else lambda inputs: function(module, inputs))


def _apply(module: Expr, inputs: Inputs) -> Expr:
    return Call(module.text, tuple(inputs)) if isinstance(module, Raw) else Call("", tuple(inputs), target=module)


# -- constructors ------------------------------------------------------------------------------------------------------


def construct(module: nn.Module) -> Call:
    """``nn.Conv2d(3, 64, kernel_size=7, ...)``: the first two arguments without a default by position."""
    positional: list[Expr] = []
    named: list[tuple[str, Expr]] = []
    for parameter in inspect.signature(type(module)).parameters.values():
        if parameter.name in ("device", "dtype", "inplace") or not hasattr(module, parameter.name):
            continue
        value = _argument(module, parameter.name)
        if parameter.default is inspect.Parameter.empty:
            if len(positional) < 2 and not named:
                positional.append(Lit(value, parameter.name))
            else:
                named.append((parameter.name, Lit(value, parameter.name)))
        else:
            default = parameter.default
            if parameter.name == "stride" and default is None:  # of pools: the kernel's size
                default = _argument(module, "kernel_size")
            named.append((parameter.name, Lit(value, parameter.name, default)))
    return Call(f"nn.{type(module).__name__}", tuple(positional), tuple(named))


def _argument(module: nn.Module, name: str) -> Any:
    value = getattr(module, name)
    if name == "bias":
        return value is not None or getattr(module, "weight", None) is None  # a norm without weights has no say in it
    return plain(value)


def plain(value: Any) -> Any:
    """One number where all axes agree, and whole numbers without a point."""
    if isinstance(value, (tuple, list, torch.Size)):
        items = tuple(plain(item) for item in value)
        return items[0] if len(set(items)) == 1 and isinstance(items[0], int) else items
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
        return int(value)
    return value


# -- functions in place of modules -------------------------------------------------------------------------------------

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


_FUNCTIONS: dict[type[nn.Module], _Function] = {
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
        _FUNCTIONS[getattr(nn, f"{_family}{_axes}d")] = _functional(f"{_name}{_axes}d", *_windows)
    for _family, _name in (("AdaptiveAvgPool", "adaptive_avg_pool"), ("AdaptiveMaxPool", "adaptive_max_pool")):
        _FUNCTIONS[getattr(nn, f"{_family}{_axes}d")] = _functional(f"{_name}{_axes}d", "output_size")


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
    F.pad: lambda x, pads, mode, value: _pad(x[0], pads, mode, value),
}  # fmt: skip


def _called(module: layers.Call, x: Sequence[Value]) -> Code:
    if module.function is functional.crop:
        return _crop(*module.args, x[0].shape[2:])
    if module.function not in _CALLED:  # a function of cnnscope's own, which the file takes along
        name = module.function.__name__
        given = tuple(map(Lit, module.args))
        return Code(None, _apply, lambda x: Call(name, (*x, *given)), plain=False, helper=name)
    write = _CALLED[module.function]
    return Code(None, _apply, lambda x: write(x, *module.args, **module.kwargs), plain=False)


def _crop(offset: Shape, size: Shape, whole: Shape) -> Code:
    if all(first == (n - m) // 2 for first, m, n in zip(offset, size, whole, strict=True)):
        name = "center_crop"
        return Code(None, _apply, lambda x: Call(name, (*x, Lit(size, "size"))), plain=False, helper=name)
    picked = [slice(None), slice(None), *(slice(first, first + n) for first, n in zip(offset, size, strict=True))]
    return Code(None, _apply, lambda x: window(x[0], picked), plain=False)


def _pad(x: Expr, pads: Sequence[int], mode: str, value: float | None) -> Expr:
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


# -- modules of cnnscope's own -----------------------------------------------------------------------------------------


def _padded_conv(module: Any, x: Sequence[Value]) -> Code:
    """A convolution of an input that is padded first; torch's own does that where both sides are alike."""
    torch_conv = _as(module, type(module).__mro__[2])
    low, high = module.pads[-2::-2], module.pads[-1::-2]
    own = {"padding": Lit(plain(low), "padding", 0), "padding_mode": Lit(module.pad_mode, "padding_mode", "zeros")}
    if low == high and module.pad_mode != "constant":
        return Code(replace(torch_conv, named=tuple((n, own.get(n, arg)) for n, arg in torch_conv.named)), _apply)
    made = replace(torch_conv, named=tuple((n, arg) for n, arg in torch_conv.named if n not in own))

    def call(conv: Expr, inputs: Inputs) -> Expr:
        return _apply(conv, [_pad(inputs[0], module.pads, module.pad_mode, None)])

    return Code(made, call, plain=False)


def _as(module: nn.Module, family: type[nn.Module]) -> Call:
    """How the torch module a class of ours builds on would be constructed."""
    twin = nn.Module.__new__(family)
    twin.__dict__ = module.__dict__
    return construct(twin)


def _padded_maxpool(module: layers.PaddedMaxPool, x: Sequence[Value]) -> Code:
    def write(inputs: Inputs) -> Expr:
        padded = _pad(inputs[0], module.covered(x[0].shape[2:]), "constant", -torch.inf)
        named = (("stride", Lit(plain(module.stride), "stride")), ("dilation", Lit(plain(module.gaps), "dilation", 1)))
        pool = f"F.max_pool{len(module.kernel)}d"
        return Call(pool, (padded, Lit(plain(module.kernel), "kernel_size")), named)

    return Code(None, _apply, write, plain=False)


def _padded_avgpool(module: layers.PaddedAvgPool, x: Sequence[Value]) -> Code:
    covered = tuple(module.covered(x[0].shape[2:]))
    counted = tuple(torch_pads(module.pads)) if module.count_pad else (0,) * len(covered)
    given = tuple(map(Lit, (module.kernel, module.stride, covered, counted)))
    name = "padded_avg_pool"
    return Code(None, _apply, lambda inputs: Call(name, (*inputs, *given)), plain=False, helper=name)


def _own(*attributes: str, named: Sequence[str] = ()) -> Callable[[Any, Sequence[Value]], Code]:
    """A class the file defines, constructed from these attributes (dotted where nested) of the module."""

    def write(module: nn.Module, x: Sequence[Value]) -> Code:
        name = type(module).__name__
        args = tuple(Lit(plain(_attribute(module, a)), a) for a in attributes)
        keywords = tuple((a, Lit(_attribute(module, a), a)) for a in named)
        return Code(Call(name, args, keywords), _apply, helper=name)

    return write


def _attribute(module: nn.Module, name: str) -> Any:
    weight = getattr(module, "weight", None)
    known: dict[str, Callable[[], Any]] = {
        "channels": lambda: module.embed_dim if weight is None else weight.shape[-1],
        "tokens": lambda: weight.shape[1],  # type: ignore[union-attr]  # asked of modules with a weight
        "heads": lambda: module.num_heads,
        "bias": lambda: module.in_proj_bias is not None,
    }
    return known[name]() if name in known else getattr(module, name)


def _channel_norm(module: nn.Module, x: Sequence[Value]) -> Code:
    name, made = type(module).__name__, _as(module, type(module).__mro__[2])
    return Code(Call(name, made.args, made.named), _apply, helper=name)


def _layerscale(module: layers.LayerScale, x: Sequence[Value]) -> Code:
    args = (Lit(module.weight.shape[0], "channels"), Lit(module.init, "init"), Lit(module.axis, "axis"))
    return Code(Call("LayerScale", args), _apply, helper="LayerScale")


def _blurpool(module: layers.BlurPool, x: Sequence[Value]) -> Code:
    values: tuple[Any, ...] = (tuple(module.binomial.shape), module.stride, tuple(module.pads), module.pad_mode)
    return Code(Call("BlurPool", tuple(map(Lit, values))), _apply, helper="BlurPool")


_SPECIAL: dict[type[nn.Module], Callable[[Any, Sequence[Value]], Code]] = {
    **dict.fromkeys(layers.PADDED_CONV, _padded_conv),
    layers.PaddedMaxPool: _padded_maxpool, layers.PaddedAvgPool: _padded_avgpool, layers.BlurPool: _blurpool,
    layers.ChannelLayerNorm: _channel_norm, layers.ChannelRMSNorm: _channel_norm,
    layers.StochasticDepth: _own("p"), layers.SelfAttention: _own("channels", "heads", named=("bias",)),
    layers.ClassToken: _own("channels"), layers.Position: _own("tokens", "channels"), layers.LayerScale: _layerscale,
}  # fmt: skip

HELPERS: dict[str, tuple[Any, ...]] = {
    "BlurPool": (export_helpers.BlurPool,), "padded_avg_pool": (export_helpers.padded_avg_pool,),
    "center_crop": (export_helpers.center_crop,),
    "ChannelLayerNorm": (layers.ChannelsLast, layers.ChannelLayerNorm),
    "ChannelRMSNorm": (layers.ChannelsLast, layers.ChannelRMSNorm),
    "StochasticDepth": (layers.StochasticDepth,), "SelfAttention": (layers.SelfAttention,),
    "ClassToken": (layers.ClassToken,), "Position": (layers.Position,), "LayerScale": (layers.LayerScale,),
    "shuffle": (functional.shuffle,), "pixel_shuffle": (functional.pixel_shuffle,),
    "pixel_unshuffle": (functional.pixel_unshuffle,),
}  # fmt: skip
"""What a helper's name stands for, in the order it must be defined."""


def helper_source(names: Sequence[str]) -> list[str]:
    """The definitions of helpers, each once, without cnnscope's own remarks to its type checker."""
    parts = dict.fromkeys(part for name in names for part in HELPERS[name])
    return [re.sub(r"  # type: ignore.*", "", inspect.getsource(part)).rstrip() for part in parts]
