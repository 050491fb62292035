"""A program as a torch module: its calls, inside modules of the paths and classes that it was exported from.

The module can be traced like any other (`cnnscope.sources.torch`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnscope.sources.exported.document import Call, Program
from cnnscope.sources.exported.functions import arithmetic, aten, is_check
from cnnscope.sources.exported.running import NO_GRADIENTS, SIZE, Running, plain, submodule

Values = Callable[[str], Tensor | None]
"""The values of a tensor of the program by its key; None where they are not wanted."""


def runs(program: Program) -> bool:
    """Returns whether all calls of a program can be computed here."""
    return all(
        aten(call.target) is not None or arithmetic(call.target) or is_check(call.target)
        or call.target in (NO_GRADIENTS, SIZE) for call in program.block.all_calls()
    )  # fmt: skip


def module_of(program: Program, name: str, values: Values) -> nn.Module:
    """Returns a program as a module called ``name``. Tensors without ``values`` are on the meta device."""
    accepted = [inspect.Parameter(word, inspect.Parameter.POSITIONAL_OR_KEYWORD) for word in ("self", *program.inputs)]
    root = _made(name, Root)
    root.program, root.constants = program, {}

    def forward(self: Root, *args: Any, **kwargs: Any) -> Any:
        given = inspect.Signature(accepted[1:]).bind(*args, **kwargs).arguments
        return self.run(given)

    forward.__signature__ = inspect.Signature(accepted)  # type: ignore[attr-defined]  # so that sizes are given by name
    type(root).forward = forward
    for call in program.block.all_calls():
        for scope in call.scopes:
            _place(root, plain(scope.path), scope.kind)
    _fill(root, program, values)
    made: nn.Module = root.eval()
    return made


class Scope(nn.Module):
    """A module of the program: running it is to run its calls, and those of the modules inside."""

    def forward(self, running: Running, calls: Sequence[Call], depth: int) -> None:
        running.all(calls, depth)


class Root(nn.Module):
    """The program itself."""

    program: Program
    constants: dict[str, Tensor]

    def run(self, given: Mapping[str, Any]) -> Any:
        """Returns what the program returns for these inputs: a tensor, or a tuple of them."""
        program = self.program
        held = {weight.name: self._held(weight.key, weight.constant) for weight in program.weights}
        running = Running(self, program.block.metas, {**program.fixed, **held, **given}, set(program.fixed) | set(held))
        running.bind(given, program.block.calls)
        running.all(program.block.calls, 0)
        found = tuple(running.value(output) for output in program.outputs)
        return found[0] if len(found) == 1 else found

    def _held(self, key: str, constant: bool) -> Any:
        if constant:
            return self.constants[key]
        path, _, name = key.rpartition(".")
        owner = submodule(self, path)
        return owner._parameters[name] if name in owner._parameters else owner._buffers[name]


# -- making it ---------------------------------------------------------------------------------------------------------


def _made(kind: str, base: type) -> Any:
    """Returns a module of a new class of this name, which is what rows and messages call it."""
    return type(kind, (base,), {})()


def _place(root: nn.Module, path: str, kind: str | None = None) -> nn.Module:
    """Returns the module of a path, which is made if there is none."""
    module = root
    names = path.split(".") if path else []
    for i, name in enumerate(names):
        if name not in module._modules:
            module._modules[name] = _made(kind if kind and i == len(names) - 1 else "Module", Scope)
        found = module._modules[name]
        assert found is not None
        module = found
    return module


def _fill(root: Any, program: Program, values: Values) -> None:
    """Gives a module the weights, buffers and constants of its program."""
    tied: dict[int, nn.Parameter] = {}
    for weight in program.weights:
        meta = program.meta(weight.name)
        tensor = values(weight.key)
        if tensor is None:
            shape = [n for n in meta.shape if isinstance(n, int)]
            tensor = torch.empty(shape, dtype=getattr(torch, meta.dtype), device="meta")
        if tuple(tensor.shape) != meta.shape:
            raise ValueError(f"`{weight.key}` is stored as {tuple(tensor.shape)}, not {meta.shape}")
        if weight.constant:
            root.constants[weight.key] = tensor
            continue
        path, _, name = weight.key.rpartition(".")
        owner = _place(root, path)
        if weight.parameter:
            trainable = meta.trainable and tensor.is_floating_point()
            if id(tensor) not in tied:
                tied[id(tensor)] = nn.Parameter(tensor, requires_grad=trainable)
            owner._parameters[name] = tied[id(tensor)]
            continue
        owner._buffers[name] = tensor
        if not weight.persistent:
            owner._non_persistent_buffers_set.add(name)
