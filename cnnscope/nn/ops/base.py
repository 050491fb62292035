"""One op in torch: the record that the files of this folder have for the ops of the files of the same name in `ops/`.

A record says how torch computes the op (`Module` or `Function`), how exported PyTorch source writes that, what rules of
attribution take it for, and what ATen and ONNX call it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from typing import Literal as Word

import torch
from torch import Tensor, nn

from cnnscope.ir.graph import Operation, Value
from cnnscope.nn.code import Call as CallExpr
from cnnscope.nn.code import Expr, Lit, Raw
from cnnscope.ops.arguments import Pair
from cnnscope.ops.call import Literal

X = Sequence[Value]
Inputs = Sequence[Expr]
Writer = Callable[[Inputs], Expr]
Definition = type[nn.Module] | Callable[..., Any]

Role = Word["conv", "scale", "average", "move", "add", "product", "bilinear", "activation", "max", "other"]
"""``conv``: linear with weights, ``scale``: linear within each channel, ``average``: linear without weights of its own,
``move``: values copied, moved or dropped, ``product``: of elements, ``bilinear``: of matrices, ``activation``: one
number to one number, ``max``: the largest of a window, ``other``: anything else."""


@dataclass(frozen=True)
class Lacks:
    """The answer to a question that has none, with the reason."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class TorchOp:
    """All that is known of one op in torch.

    ``make`` returns how torch computes the op on inputs like ``x`` at any batch size; None if this op does not have
    enough information. ``roles`` has the module classes and functions that compute the op, in any network, each with
    its role for rules of attribution: a `Role`, or a function that returns the role of a module. The output of a
    ``gate`` is a factor that only scales the other factor of a product. ``aten`` and ``onnx`` are the names of the
    functions and operators that always are this op, without overloads.
    """

    op: type[Operation]
    make: Callable[[Any, X], Module | Function | None] | Lacks
    roles: Mapping[Definition, Role | Callable[[nn.Module], Role]] | Lacks
    aten: tuple[str, ...] | Lacks
    onnx: tuple[str, ...] | Lacks
    gate: bool = False


# -- how torch computes an op, and how source writes that --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Code:
    """One op as code: ``construct`` makes the module to register, ``call`` applies it to its inputs.

    Without ``construct`` there is nothing to register. ``plain`` says that a call is no more than the module called on
    its input, so that it can stand in an `nn.Sequential`. Modules without weights may have a ``function``, which needs
    no registering. ``defines`` are the definitions that the file must have, in this order. ``own`` are tensors that the
    class around the op has as attributes: weights and buffers by their role, constants as they are. ``call`` gets the
    expressions for them behind the inputs.
    """

    construct: CallExpr | None
    call: Callable[[Expr, Inputs], Expr]
    function: Writer | None = None
    plain: bool = True
    defines: tuple[Definition, ...] = ()
    own: tuple[str | Literal, ...] = ()


@dataclass(frozen=True)
class Module:
    """A torch module, ``kind(**args)``.

    A class of `torch.nn` is written as ``nn.NAME(args)``, and where ``function`` computes the same without a module
    (``F.relu``, or a writer), exported source may use that. Of any other class either the file ``defines`` all that it
    needs (its bases, then the class itself; their source may refer to torch alone), or ``code`` says how it is written.
    ``applied`` writes the layer as a function of its input and of its weights by role, for weights that the module
    around it has itself.
    """

    kind: type[nn.Module]
    args: Mapping[str, Any] = field(default_factory=dict)
    function: str | Writer | None = None
    defines: tuple[Definition, ...] = ()
    code: Code | None = None
    applied: Callable[[Expr, Mapping[str, Expr]], Expr] | None = None

    def build(self) -> nn.Module:
        """A fresh module with weights as torch initialises them."""
        return self.kind(**self.args)

    @property
    def written(self) -> Code | None:
        """The code for it; None for a class that `torch.nn` does not have and no record defines."""
        if self.code is not None:
            return self.code
        if self.defines:
            return Code(construct(self.kind.__name__, self.kind, self.args), apply, defines=self.defines)
        if getattr(nn, self.kind.__name__, None) is not self.kind:
            return None
        args = {name: plain(value) for name, value in self.args.items()}
        return Code(construct(f"nn.{self.kind.__name__}", self.kind, args), apply, self._function(args))

    def _function(self, args: Mapping[str, Any]) -> Writer | None:
        if not isinstance(self.function, str):
            return self.function
        name, made = self.function, construct("", self.kind, args)
        return lambda x: CallExpr(name, (*x, *made.args), made.named)

    @property
    def name(self) -> str:
        return self.kind.__name__


@dataclass(frozen=True)
class Function:
    """A function of tensors, ``function(*x, *args, **named)``, which runs as the module `Call`.

    ``write`` makes the expression for it. Without, exported source ``defines`` the function and calls it.
    """

    function: Callable[..., Tensor]
    args: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    write: Writer | None = None
    defines: tuple[Definition, ...] = ()

    def build(self) -> nn.Module:
        """The function as a module that hooks and listings can see."""
        return Call(self.function, *self.args, **self.named)

    @property
    def written(self) -> Code | None:
        """The code for it; None if there is neither an expression nor a definition."""
        write = self.write or (self._call if self.defines else None)
        return None if write is None else inline(write, *self.defines)

    def _call(self, inputs: Inputs) -> Expr:
        named = tuple((name, Lit(value)) for name, value in self.named.items())
        return CallExpr(self.name, (*inputs, *map(Lit, self.args)), named)

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", "function")


class Call(nn.Module):
    """A function of tensors with its other arguments fixed, as a module that hooks and listings can see."""

    def __init__(self, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.function, self.args, self.kwargs = function, args, kwargs

    def forward(self, *x: Tensor) -> Tensor:
        return self.function(*x, *self.args, **self.kwargs)

    def extra_repr(self) -> str:
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return ", ".join([getattr(self.function, "__name__", "function"), *given])


def apply(module: Expr, inputs: Inputs) -> Expr:
    """The module called on its inputs."""
    if isinstance(module, Raw):
        return CallExpr(module.text, tuple(inputs))
    return CallExpr("", tuple(inputs), target=module)


def inline(write: Writer, *defines: Definition) -> Code:
    """An expression, with nothing to register."""
    return Code(None, lambda _, inputs: write(inputs), write, plain=False, defines=defines)


def construct(name: str, kind: Callable[..., Any], args: Mapping[str, Any]) -> CallExpr:
    """``nn.Conv2d(3, 64, kernel_size=7, ...)``: arguments without a default by position, of torch's classes two."""
    most = 2 if name.startswith("nn.") or not name else len(args)
    positional: list[Expr] = []
    named: list[tuple[str, Expr]] = []
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.name not in args:
            continue
        value, default = args[parameter.name], parameter.default
        required = default is inspect.Parameter.empty
        if required and parameter.kind is not parameter.KEYWORD_ONLY and len(positional) < most and not named:
            positional.append(Lit(value, parameter.name))
        elif required:
            named.append((parameter.name, Lit(value, parameter.name)))
        else:
            whole = parameter.name == "stride" and default is None  # a pool's stride is its kernel
            named.append((parameter.name, Lit(value, parameter.name, args["kernel_size"] if whole else default)))
    return CallExpr(name, tuple(positional), tuple(named))


def plain(value: Any) -> Any:
    """One number where all axes agree, and whole numbers without a point."""
    if isinstance(value, (tuple, list, torch.Size)):
        items = tuple(plain(item) for item in value)
        return items[0] if len(set(items)) == 1 and isinstance(items[0], int) else items
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
        return int(value)
    return value


def applied_to(call: Callable[[Expr, Mapping[str, Expr]], Expr], roles: Sequence[str]) -> Code:
    """Code for a layer whose weights with these roles are those of the class around it."""

    def write(inputs: Inputs) -> Expr:
        count = len(inputs) - len(roles)
        return call(inputs[0], dict(zip(roles, inputs[count:], strict=True)))

    return attributes(*roles, write=write)


NONE = Raw("None")
"""A weight that a layer does not have."""


def attributes(*own: str | Literal, write: Writer = lambda x: x[-1]) -> Code:
    """Code for an op that computes with these tensors of the class around it; by default it is the only one."""
    return Code(None, lambda _, inputs: write(inputs), plain=False, own=own)


# -- what the families share -------------------------------------------------------------------------------------------


def of_role(role: Role, *things: Definition) -> dict[Definition, Role | Callable[[nn.Module], Role]]:
    """The same role for several classes or functions."""
    return dict.fromkeys(things, role)


PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
"""Torch's words for the modes of padding."""


def ranks(family: str) -> tuple[type[nn.Module], ...]:
    """torch's classes of a family for one, two and three spatial axes: ``Conv`` -> ``nn.Conv1d``, ``nn.Conv2d`` ..."""
    return tuple(getattr(nn, f"{family}{axes}d") for axes in (1, 2, 3))


def of_rank(family: str, x: X) -> type[nn.Module]:
    """torch's class for maps of this many axes: ``Conv`` -> ``nn.Conv2d``."""
    return ranks(family)[len(x[0].spatial) - 1]


def even_pads(pads: str | tuple[Pair, ...]) -> tuple[int, ...] | None:
    """A bound op's padding as one number for each axis; None where the two sides differ."""
    assert not isinstance(pads, str)
    return tuple(low for low, _ in pads) if all(low == high for low, high in pads) else None


def torch_pads(pads: str | Sequence[Pair]) -> list[int]:
    """A bound op's padding in the order of torch's ``pad``: the last axis first, low and high."""
    return [side for sides in reversed(cast("Sequence[Pair]", pads)) for side in sides]


def write_pad(x: Expr, pads: Sequence[int], mode: str, value: float = 0.0) -> Expr:
    """``F.pad(x, ...)``."""
    named = (("mode", Lit(mode, "mode", "constant")), ("value", Lit(value, "value", 0.0)))
    return CallExpr("F.pad", (x, Lit(tuple(pads), "padding")), named)
