"""Normalisation in torch, and what torch lacks: norms over the channels of a map, which torch wants last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cnnscope.nn.code import Call, Expr, Items, Lit, Raw
from cnnscope.nn.ops.base import NONE, Lacks, Module, Role, TorchOp, X, of_rank, of_role, ranks
from cnnscope.ops import norm
from cnnscope.ops.base import channel_axis


class ChannelsLast(nn.Module):
    """Runs the norm it is mixed into over the channels of a map, which torch wants last."""

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = super().forward(x.movedim(1, -1))
        return normalised.movedim(-1, 1)


class ChannelLayerNorm(ChannelsLast, nn.LayerNorm):
    """Layer norm over the channels of each pixel (Liu et al. 2022, section 2.6)."""


class ChannelRMSNorm(ChannelsLast, nn.RMSNorm):
    """Root mean square norm over the channels of each pixel."""


def _batchnorm(op: norm.BatchNorm, x: X) -> Module:
    family = nn.BatchNorm1d if len(x[0].shape) < 4 else of_rank("BatchNorm", x)
    args = {"eps": op.eps, "momentum": op.momentum, "affine": op.affine, "track_running_stats": op.track}

    def applied(x: Expr, own: Mapping[str, Expr]) -> Expr:
        roles = ("running_mean", "running_var", "weight", "bias")
        training = Raw("self.training" if op.track else "True")
        rest = (("training", training), ("momentum", Lit(op.momentum, "momentum")), ("eps", Lit(op.eps, "eps")))
        return Call("F.batch_norm", (x, *(own.get(role, NONE) for role in roles)), rest)

    return Module(family, {"num_features": x[0].shape[1], **args}, applied=applied)


def _layernorm(op: norm.LayerNorm, x: X) -> Module:
    shape = [x[0].shape[axis] for axis in op.normalised(x[0])]
    args: dict[str, Any] = {"eps": op.eps, "elementwise_affine": op.affine, "bias": op.bias or not op.affine}
    on_map = x[0].kind == "map" and op.over == "channels"

    def applied(x: Expr, own: Mapping[str, Expr]) -> Expr:
        sizes = (
            Call("", tuple(Lit(n, "channels") for n in shape))
            if len(shape) > 1
            else Items((Lit(shape[0], "channels"),))
        )
        given = Call("movedim", (Lit(1), Lit(-1)), target=x) if on_map else x
        weights = (own.get("weight", NONE), own.get("bias", NONE))
        made = Call("F.layer_norm", (given, sizes, *weights), (("eps", Lit(op.eps, "eps")),))
        return Call("movedim", (Lit(-1), Lit(1)), target=made) if on_map else made

    if on_map:
        args["normalized_shape"] = shape[0]
        return Module(ChannelLayerNorm, args, defines=(ChannelsLast, ChannelLayerNorm), applied=applied)
    return Module(nn.LayerNorm, {"normalized_shape": shape, **args}, applied=applied)


def _rmsnorm(op: norm.RMSNorm, x: X) -> Module:
    args: dict[str, Any] = {"normalized_shape": x[0].shape[channel_axis(x[0])], "eps": op.eps}
    if x[0].kind == "map":
        return Module(ChannelRMSNorm, args, defines=(ChannelsLast, ChannelRMSNorm))
    return Module(nn.RMSNorm, args)


def _groupnorm(op: norm.GroupNorm, x: X) -> Module:
    args = {"num_groups": op.groups, "num_channels": x[0].shape[1], "eps": op.eps, "affine": op.affine}
    return Module(nn.GroupNorm, args)


def _instancenorm(op: norm.InstanceNorm, x: X) -> Module:
    args = {"num_features": x[0].shape[1], "eps": op.eps, "affine": op.affine}
    return Module(of_rank("InstanceNorm", x), args)


def _lrn(op: norm.LRN, x: X) -> Module:
    args = {"size": op.size, "alpha": op.alpha, "beta": op.beta, "k": op.k}
    return Module(nn.LocalResponseNorm, args, "F.local_response_norm")


def _scales(module: nn.Module) -> Role:
    """A batch norm scales each channel where its statistics are stored, not taken from the batch."""
    return "scale" if not module.training and module.running_mean is not None else "other"


TORCH_OPS = (
    TorchOp(
        op=norm.BatchNorm, make=_batchnorm, roles={_BatchNorm: _scales},
        aten=("batch_norm", "native_batch_norm"), onnx=("BatchNormalization",),
    ),
    TorchOp(
        op=norm.LayerNorm, make=_layernorm, roles={nn.LayerNorm: "other"},
        aten=("layer_norm", "native_layer_norm"), onnx=("LayerNormalization",),
    ),
    TorchOp(
        op=norm.RMSNorm, make=_rmsnorm, roles={nn.RMSNorm: "other"}, aten=("rms_norm",), onnx=("RMSNormalization",),
    ),
    TorchOp(
        op=norm.GroupNorm, make=_groupnorm, roles={nn.GroupNorm: "other"}, aten=("group_norm",),
        onnx=("GroupNormalization",),
    ),
    TorchOp(
        op=norm.InstanceNorm, make=_instancenorm, roles=of_role("other", *ranks("InstanceNorm")),
        aten=("instance_norm",), onnx=("InstanceNormalization",),
    ),
    TorchOp(
        op=norm.LRN, make=_lrn, roles={nn.LocalResponseNorm: "other"},
        aten=Lacks("ATen has squares, an average pool over channels, a power and a division"), onnx=("LRN",),
    ),
)  # fmt: skip
