"""PyTorch's own databases of modules and operators, each sample as a module of one input."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch_databases import module_db, op_db

OPERATORS = (
    "nn.functional.conv", "nn.functional.avg_pool", "nn.functional.max_pool", "nn.functional.max_unpool",
    "nn.functional.lp_pool", "nn.functional.adaptive", "nn.functional.fractional", "nn.functional.interpolate",
    "nn.functional.upsample", "nn.functional.pixel", "nn.functional.channel_shuffle", "nn.functional.pad",
    "nn.functional.grid_sample", "nn.functional.unfold", "nn.functional.fold", "nn.functional.batch_norm",
    "nn.functional.group_norm", "nn.functional.layer_norm", "nn.functional.instance_norm", "nn.functional.local",
    "nn.functional.rms_norm", "nn.functional.normalize", "nn.functional.linear", "nn.functional.bilinear",
    "nn.functional.embedding", "nn.functional.relu", "nn.functional.leaky", "nn.functional.prelu", "nn.functional.elu",
    "nn.functional.celu", "nn.functional.selu", "nn.functional.gelu", "nn.functional.silu", "nn.functional.mish",
    "nn.functional.glu", "nn.functional.hard", "nn.functional.soft", "nn.functional.log", "nn.functional.dropout",
    "nn.functional.unflatten", "nn.functional.threshold", "nn.functional.scaled_dot", "matmul", "bmm", "mm", "addmm",
    "baddbmm", "addbmm", "einsum", "cat", "stack", "chunk", "split", "narrow", "permute", "transpose", "reshape",
    "flatten", "flip", "roll", "softmax", "mean", "sum", "amax", "add", "mul", "sub", "div", "sigmoid", "tanh",
    "squeeze", "unsqueeze", "gather", "index_select", "where", "clamp", "expand", "tile", "rot90",
)  # fmt: skip
"""What convolutional networks call, by the first letters of a name with a dot and by the whole of the others."""


class Applied(nn.Module):
    """``call`` with everything as the sample has it but its first float tensor, which is the input."""

    def __init__(self, call: Any, args: Any, kwargs: Any) -> None:
        super().__init__()
        leaves, self.spec = tree_flatten((args, kwargs))
        floats = (i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.dtype == torch.float32)
        self.place = next(floats)
        self.shape = tuple(leaves[self.place].shape)
        self.leaves = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.call = call

    def forward(self, x: Tensor) -> Any:
        # the other tensors are where the input is: on the meta device for the counter
        leaves = [leaf.to(x.device) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        args, kwargs = tree_unflatten(
            [*leaves[: self.place], x.reshape(self.shape), *leaves[self.place + 1 :]], self.spec
        )
        return self.call(*args, **kwargs)


@cache
def modules() -> dict[str, Any]:
    """The entries of the database of modules by name."""
    return {info.name: info for info in module_db()}


@cache
def operators() -> dict[str, Any]:
    """The entries of the database of operators that `OPERATORS` names."""
    families = tuple(name for name in OPERATORS if "." in name)
    names = (f"{info.name} {info.variant_test_name}".strip() for info in op_db())
    chosen = (name.startswith(families) or name.split()[0] in OPERATORS for name in names)
    return {
        f"{info.name} {info.variant_test_name}".strip(): info
        for info, keep in zip(op_db(), chosen, strict=True)
        if keep
    }


def module_samples(name: str) -> Iterator[Applied]:
    """The samples of a module that have a float tensor as input, in evaluation mode."""
    info = modules()[name]
    for sample in info.module_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=False):
        made, given = sample.constructor_input, sample.forward_input
        if given is not None and has_float((given.args, given.kwargs)):
            module = info.module_cls(*made.args, **made.kwargs)
            yield Applied(module.eval(), copy.deepcopy(given.args), copy.deepcopy(given.kwargs))


def operator_samples(name: str) -> Iterator[Applied]:
    """The samples of an operator that have a float tensor as input and are not made by writing into it."""
    info = operators()[name]
    for sample in info.sample_inputs("cpu", torch.float32, requires_grad=False):
        args = (sample.input, *sample.args)
        if has_float((args, sample.kwargs)):
            yield Applied(info.op, args, sample.kwargs)


def has_float(tree: Any) -> bool:
    return any(isinstance(leaf, Tensor) and leaf.dtype == torch.float32 for leaf in tree_flatten(tree)[0])
