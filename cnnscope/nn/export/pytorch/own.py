"""How the modules that only cnnscope has are written: as classes the file takes along, or as functions of torch's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cnnscope.ir import Value
from cnnscope.nn import functional, layers
from cnnscope.nn.export.code import Call, Expr, Lit
from cnnscope.nn.export.pytorch import helpers
from cnnscope.nn.export.pytorch.construct import Code, Inputs, apply, construct, plain
from cnnscope.nn.export.pytorch.functions import pad
from cnnscope.nn.functional import torch_pads


def _padded_conv(module: Any, x: Sequence[Value]) -> Code:
    """A convolution of an input that is padded first; torch's own does that where both sides are alike."""
    torch_conv = _as(module, type(module).__mro__[2])
    low, high = module.pads[-2::-2], module.pads[-1::-2]
    own = {"padding": Lit(plain(low), "padding", 0), "padding_mode": Lit(module.pad_mode, "padding_mode", "zeros")}
    if low == high and module.pad_mode != "constant":
        return Code(replace(torch_conv, named=tuple((n, own.get(n, arg)) for n, arg in torch_conv.named)), apply)
    made = replace(torch_conv, named=tuple((n, arg) for n, arg in torch_conv.named if n not in own))

    def call(conv: Expr, inputs: Inputs) -> Expr:
        return apply(conv, [pad(inputs[0], module.pads, module.pad_mode, None)])

    return Code(made, call, plain=False)


def _as(module: nn.Module, family: type[nn.Module]) -> Call:
    """How the torch module a class of ours builds on would be constructed."""
    twin = nn.Module.__new__(family)
    twin.__dict__ = module.__dict__
    return construct(twin)


def _padded_maxpool(module: layers.PaddedMaxPool, x: Sequence[Value]) -> Code:
    def write(inputs: Inputs) -> Expr:
        padded = pad(inputs[0], module.covered(x[0].shape[2:]), "constant", -torch.inf)
        named = (("stride", Lit(plain(module.stride), "stride")), ("dilation", Lit(plain(module.gaps), "dilation", 1)))
        pool = f"F.max_pool{len(module.kernel)}d"
        return Call(pool, (padded, Lit(plain(module.kernel), "kernel_size")), named)

    return Code(None, apply, write, plain=False)


def _padded_avgpool(module: layers.PaddedAvgPool, x: Sequence[Value]) -> Code:
    covered = tuple(module.covered(x[0].shape[2:]))
    counted = tuple(torch_pads(module.pads)) if module.count_pad else (0,) * len(covered)
    given = tuple(map(Lit, (module.kernel, module.stride, covered, counted)))
    name = "padded_avg_pool"
    return Code(None, apply, lambda inputs: Call(name, (*inputs, *given)), plain=False, helper=name)


def _own(*attributes: str, named: Sequence[str] = ()) -> Callable[[Any, Sequence[Value]], Code]:
    """A class the file defines, constructed from these attributes (dotted where nested) of the module."""

    def write(module: nn.Module, x: Sequence[Value]) -> Code:
        name = type(module).__name__
        args = tuple(Lit(plain(_attribute(module, a)), a) for a in attributes)
        keywords = tuple((a, Lit(_attribute(module, a), a)) for a in named)
        return Code(Call(name, args, keywords), apply, helper=name)

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
    return Code(Call(name, made.args, made.named), apply, helper=name)


def _layerscale(module: layers.LayerScale, x: Sequence[Value]) -> Code:
    args = (Lit(module.weight.shape[0], "channels"), Lit(module.init, "init"), Lit(module.axis, "axis"))
    return Code(Call("LayerScale", args), apply, helper="LayerScale")


def _blurpool(module: layers.BlurPool, x: Sequence[Value]) -> Code:
    values: tuple[Any, ...] = (tuple(module.binomial.shape), module.stride, tuple(module.pads), module.pad_mode)
    return Code(Call("BlurPool", tuple(map(Lit, values))), apply, helper="BlurPool")


OWN: dict[type[nn.Module], Callable[[Any, Sequence[Value]], Code]] = {
    **dict.fromkeys(layers.PADDED_CONV, _padded_conv),
    layers.PaddedMaxPool: _padded_maxpool, layers.PaddedAvgPool: _padded_avgpool, layers.BlurPool: _blurpool,
    layers.ChannelLayerNorm: _channel_norm, layers.ChannelRMSNorm: _channel_norm,
    layers.StochasticDepth: _own("p"), layers.SelfAttention: _own("channels", "heads", named=("bias",)),
    layers.ClassToken: _own("channels"), layers.Position: _own("tokens", "channels"), layers.LayerScale: _layerscale,
}  # fmt: skip

HELPERS: dict[str, tuple[Any, ...]] = {
    "BlurPool": (helpers.BlurPool,), "padded_avg_pool": (helpers.padded_avg_pool,),
    "center_crop": (helpers.center_crop,),
    "ChannelLayerNorm": (layers.ChannelsLast, layers.ChannelLayerNorm),
    "ChannelRMSNorm": (layers.ChannelsLast, layers.ChannelRMSNorm),
    "StochasticDepth": (layers.StochasticDepth,), "SelfAttention": (layers.SelfAttention,),
    "ClassToken": (layers.ClassToken,), "Position": (layers.Position,), "LayerScale": (layers.LayerScale,),
    "shuffle": (functional.shuffle,), "pixel_shuffle": (functional.pixel_shuffle,),
    "pixel_unshuffle": (functional.pixel_unshuffle,), "adaptive_polyphase": (functional.adaptive_polyphase,),
}  # fmt: skip
"""What a helper's name stands for, in the order it must be defined."""


def helper_source(names: Sequence[str]) -> list[str]:
    """The definitions of helpers, each once, without cnnscope's reasons for its remarks to the type checker."""
    parts = dict.fromkeys(part for name in names for part in HELPERS[name])
    return [re.sub(r"(# type: ignore\[[\w-]+\]).*", r"\1", inspect.getsource(part)).rstrip() for part in parts]
