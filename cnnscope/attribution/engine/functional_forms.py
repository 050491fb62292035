"""Functions and methods of tensors that a network may call, and the modules that compute the same.

`MODULES` maps a function, or the name of a method, to a maker. The maker takes the call's arguments and returns the
module and the values that it reads, or None where the call is better left as it is, as when it adds a number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.nn.ops import merge, records
from cnnscope.nn.ops.base import Call, Lacks

Made = tuple[nn.Module, tuple[fx.Node, ...]] | None
ATEN = torch.ops.aten


def _activation(module: Callable[..., nn.Module]) -> Callable[..., Made]:
    def make(input: fx.Node, *args: Any, **kwargs: Any) -> Made:
        kwargs.pop("inplace", None)
        if any(isinstance(arg, (Tensor, fx.Node)) for arg in (*args, *kwargs.values())):  # prelu's weight
            return None
        return module(*(arg for arg in args if not isinstance(arg, bool)), **kwargs), (input,)

    return make


def _activations() -> Iterator[tuple[Any, Callable[..., Made]]]:
    """Every way to call an activation for which torch has a module: ``F.relu_``, ``"relu"``, ``aten.relu.default``."""
    for record in records():
        roles = {} if isinstance(record.roles, Lacks) else record.roles
        kinds = [kind for kind, role in roles.items() if role == "activation"]
        for kind in (kind for kind in kinds if isinstance(kind, type)):
            aten = record.aten if isinstance(record.aten, tuple) and kind is kinds[0] else ()
            for name in dict.fromkeys((kind.__name__.lower(), *aten)):
                for spelling in (name, f"{name}_"):
                    for target in (spelling, *(getattr(home, spelling, None) for home in (F, torch, ATEN))):
                        yield getattr(target, "default", target), _activation(kind)


def _pool(module: Callable[..., nn.Module]) -> Callable[..., Made]:
    def make(input: fx.Node, *args: Any, **kwargs: Any) -> Made:
        kernel, *rest = args or (kwargs.pop("kernel_size"),)
        if rest and not rest[0]:
            rest[0] = None  # aten's way to say: as the kernel
        return module(kernel, *rest, **{k: v for k, v in kwargs.items() if k != "return_indices"}), (input,)

    return make


def _adaptive(module: Callable[..., nn.Module]) -> Callable[..., Made]:
    def make(input: fx.Node, output_size: Any) -> Made:
        return module(output_size), (input,)

    return make


def _along(module: Callable[..., nn.Module]) -> Callable[..., Made]:
    def make(input: fx.Node, dim: int | None = None, *rest: Any, **kwargs: Any) -> Made:
        return module(dim), (input,)

    return make


def _join(function: Callable[..., Tensor]) -> Callable[..., Made]:
    def make(input: Any, other: Any, **kwargs: Any) -> Made:
        tensors = isinstance(input, fx.Node) and isinstance(other, fx.Node)
        return (Call(function), (input, other)) if tensors and not kwargs else None

    return make


def _mean(input: fx.Node, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Made:
    return None if dim is None or kwargs else (Call(torch.mean, dim=dim, keepdim=keepdim), (input,))


def _layer_norm(
    input: fx.Node, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any
) -> Made:
    if isinstance(weight, fx.Node) or isinstance(bias, fx.Node):
        return None
    module = nn.LayerNorm(normalized_shape, eps, elementwise_affine=weight is not None, bias=bias is not None)
    if weight is not None:
        module.weight = weight
    if bias is not None:
        module.bias = bias
    return module, (input,)


_TABLE: list[tuple[Callable[..., Made], tuple[Any, ...]]] = [
    (_along(nn.Softmax), (F.softmax, torch.softmax, "softmax", ATEN.softmax.int)),
    (_along(nn.LogSoftmax), (F.log_softmax, torch.log_softmax, "log_softmax", ATEN.log_softmax.int)),
    (_pool(nn.MaxPool2d), (F.max_pool2d, torch.max_pool2d, ATEN.max_pool2d.default)),
    (_pool(nn.AvgPool2d), (F.avg_pool2d, ATEN.avg_pool2d.default)),
    (_adaptive(nn.AdaptiveAvgPool2d), (F.adaptive_avg_pool2d, ATEN.adaptive_avg_pool2d.default)),
    (_adaptive(nn.AdaptiveMaxPool2d), (F.adaptive_max_pool2d,)),
    (_join(merge.add), (operator.add, operator.iadd, torch.add, "add", "add_", ATEN.add.Tensor, ATEN.add_.Tensor)),
    (_join(merge.mul), (operator.mul, operator.imul, torch.mul, "mul", "mul_", ATEN.mul.Tensor, ATEN.mul_.Tensor)),
    (_join(torch.matmul), (operator.matmul, torch.matmul, torch.bmm, "matmul", "bmm", ATEN.matmul.default)),
    (_mean, (torch.mean, "mean", ATEN.mean.dim)),
    (_layer_norm, (F.layer_norm, ATEN.layer_norm.default)),
]  # fmt: skip

MODULES: dict[Any, Callable[..., Made]] = {
    **{target: make for target, make in _activations() if target is not None},
    **{target: make for make, targets in _TABLE for target in targets},
}
