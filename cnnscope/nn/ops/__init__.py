"""Ops in torch: `torch_op` finds the record of an op, `module_of` builds its module, `role_of` returns its role.

The record of an op of ``cnnscope/ops/norm.py`` is in ``cnnscope/nn/ops/norm.py``, in the tuple ``TORCH_OPS``. Any other
op has its record in the module that defines it, or in the one that its attribute ``in_torch`` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

from cnnscope.errors import CnnscopeError
from cnnscope.ir.graph import Operation, Value
from cnnscope.nn.ops.base import Call, Definition, Function, Lacks, Module, Role, TorchOp, X
from cnnscope.ops.base import REGISTRY
from cnnscope.ops.traced import TRACED

__all__ = ["TorchOp", "is_gate", "is_known", "make", "module_of", "records", "role_of", "torch_op"]

_FOUND: dict[ModuleType, dict[type[Operation], TorchOp]] = {}
"""The records of each Python module that was read."""
_ROLES: dict[Definition, Role | Callable[[nn.Module], Role]] = {}
"""The role of every class and function that a record names."""
_GATES: set[Definition] = set()
_OTHER: Role = "other"


def torch_op(op: type[Operation]) -> TorchOp | None:
    """Returns the record of an op, or None if it has none."""
    home = getattr(op, "in_torch", None) or op.__module__.replace("cnnscope.ops.", "cnnscope.nn.ops.", 1)
    try:
        module = import_module(home)
    except ModuleNotFoundError as error:
        if error.name != home:
            raise
        return None
    if module not in _FOUND:
        _FOUND[module] = _read(module)
    return _FOUND[module].get(op)


def _read(module: ModuleType) -> dict[type[Operation], TorchOp]:
    """The records in a module by op. Their roles become known."""
    found: dict[type[Operation], TorchOp] = {}
    for record in getattr(module, "TORCH_OPS", ()):
        if record.op in found:
            raise TypeError(f"`{module.__name__}` has two records of `{record.op.__name__}`")
        found[record.op] = record
        roles = {} if isinstance(record.roles, Lacks) else record.roles
        for thing, role in roles.items():
            if _ROLES.setdefault(thing, role) != role:
                raise TypeError(f"`{module.__name__}` and another module give {thing} two roles")
        if record.gate:
            _GATES.update(roles)
    return found


def records() -> Iterator[TorchOp]:
    """The records of all ops that are registered."""
    for op in (*REGISTRY.values(), *TRACED.values()):
        record = torch_op(op)
        if record is not None:
            yield record


def make(op: Operation, x: X) -> Module | Function:
    """Returns how torch computes ``op`` on inputs like ``x`` at any batch size. Raises E428 if it cannot."""
    record = torch_op(type(op))
    if record is None:
        hint = f"`{op.tag}` needs a record for torch: docs/add-an-op.md"
    elif isinstance(record.make, Lacks):
        hint = record.make.reason
    else:
        made = record.make(op, [_as_map(op, value) for value in x])
        if made is not None:
            return made
        hint = "the trace does not have all its operands"
    raise CnnscopeError.of("E428", f"`{op.tag}` cannot be run in torch", hint=hint)


def module_of(op: Operation, x: X) -> nn.Module:
    """Returns a new module that computes ``op`` on inputs like ``x`` at any batch size. Raises E428 if torch cannot."""
    return make(op, x).build()


def _as_map(op: Operation, value: Value) -> Value:
    """The value; for layers that accept maps but no tokens, a traced tensor as a map."""
    tensor = value.kind == "tensor" and len(value.shape) > 2 and "tokens" not in getattr(op, "accepts", ())
    return replace(value, kind="map") if tensor else value


def role_of(module: nn.Module) -> Role:
    """The role of a module in eval mode for the rules of attribution, ``other`` if it is unknown."""
    role = next((_ROLES[thing] for thing in _things(module) if thing in _ROLES), _OTHER)
    return role(module) if callable(role) else role


def is_gate(module: nn.Module) -> bool:
    """Whether the output of a module is a factor that only scales the other factor of a product."""
    return any(thing in _GATES for thing in _things(module))


def is_known(module: nn.Module) -> bool:
    """Whether a record names the class of a module itself, not only a base of it; or whether it is a `Call`."""
    return isinstance(module, Call) or any(thing is type(module) for thing in _things(module) if thing in _ROLES)


def _things(module: nn.Module) -> tuple[Any, ...]:
    """What a record may name of a module: the function that it calls, or its class and the bases of that."""
    _read_all(REGISTRY.names())
    return (module.function,) if isinstance(module, Call) else type(module).__mro__


@cache
def _read_all(names: tuple[str, ...]) -> None:
    """Reads the records of all ops, once for each state of the registry, so that all roles are known."""
    tuple(records())
