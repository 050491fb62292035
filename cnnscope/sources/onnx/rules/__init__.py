"""Which rule lowers which ONNX operator. Teaching cnnscope an operator is one function under ``@rule("ItsType")``.

    @rule("Relu")
    def _relu(call: OperatorCall) -> list[Operand]:
        return [call.emit(ReLU(), call.tensor(0))]

Each topic is a file of this folder; a plugin adds rules with the same decorator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Intent, Kind, Node, Shape, Value
from cnnscope.ir.builder import Builder, bind, settled
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ops.arguments import Argument, ArgumentError, Integer, Integers, Number
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Constant, Parameter, Select, Unsupported
from cnnscope.ops.traced import Called
from cnnscope.registry import Registry, load_files
from cnnscope.sources.files import clean
from cnnscope.sources.onnx.batches import Batches
from cnnscope.sources.onnx.calls import call_of, known_constant, leaves, literal
from cnnscope.sources.onnx.lazy import ConstantNode
from cnnscope.sources.onnx.values import Const, Operand, invalid
from cnnscope.sources.onnx.weights import Weights

Stated = tuple[Shape, str]
MOST_NUMBERS = 2**10
"""No operator has as many axes, bounds or parts."""


@dataclass
class OperatorCall:
    """One ONNX node while it is lowered: its inputs, attributes and names.

    ``base`` is the name for its op, ``layer`` its row. ``stated`` returns the shape and dtype that the file states for
    a value, or None.
    """

    builder: Builder
    type: str
    base: str
    layer: str
    inputs: Sequence[Operand | None]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]
    opset: int
    stated: Callable[[str], Stated | None]
    weights: Weights
    rounds: Rounds
    reads: Sequence[str] = ()
    """The names of the inputs in the file."""
    placed: dict[bytes, str] = field(default_factory=dict)
    """The nodes of constants by the digest of the constant, shared by all nodes."""
    batches: Batches = field(default_factory=Batches)

    # -- arguments --------------------------------------------------------------------------------------------------

    def has(self, index: int) -> bool:
        """Returns whether an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def operand(self, index: int) -> Operand:
        """Returns an input; raises E447 if it is missing."""
        operand = self.inputs[index] if index < len(self.inputs) else None
        if operand is None:
            raise invalid(f"`{self.type}` has no input {index + 1}")
        return operand

    def constant(self, index: int) -> Const | None:
        """Returns an input if it is a constant, otherwise None."""
        operand = self.inputs[index] if index < len(self.inputs) else None
        return operand if isinstance(operand, Const) else None

    def attribute(self, name: str, kind: Argument, default: Any = None) -> Any:
        """Returns an attribute as ``kind`` reads it; raises E447 if it is of another kind."""
        raw = self.attributes.get(name, default)
        try:
            return kind.read(raw, None)
        except ArgumentError as error:
            raise invalid(f"`{name}` of `{self.type}`: {error.message}", error.hint) from None

    def integer(self, name: str, default: int | None = None) -> int:
        return int(self.attribute(name, Integer(), default))

    def number(self, name: str, default: float | None = None) -> float:
        """Returns a real attribute as it was written. The file has 32 bits of it: 1e-5 is stored as 9.99999974e-06."""
        return float(f"{self.attribute(name, Number(), default):.7g}")

    def integers(self, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        """Returns a list attribute; ``default`` if it is missing."""
        if name not in self.attributes:
            return None if default is None else list(default)
        raw = self.attributes[name]
        return [] if isinstance(raw, list) and not raw else list(self.attribute(name, Integers()))

    def given_integers(self, index: int, name: str) -> list[int] | None:
        """Returns whole numbers that are an input in newer opsets and an attribute in older ones; None if they are
        missing.

        Raises `UnreadableError` if they are computed from the image, since no shape follows from them.
        """
        if not self.has(index):
            return self.integers(name)
        constant = self.constant(index)
        values = None if constant is None else constant.integers()
        if constant is not None and prod(constant.shape) > MOST_NUMBERS:
            raise invalid(f"`{name}` of `{self.type}` is a constant of {prod(constant.shape):,} numbers")
        if values is None:
            raise UnreadableError(f"`{self.type}` takes `{name}` from the network itself")
        return values

    def computed(self, index: int) -> tuple[int, ...]:
        """Returns the positions of the numbers in a constant input that were computed from shapes, or are to
        be (-1).
        """
        constant = self.constant(index)
        if constant is None or constant.value is None:
            return ()
        free = constant.value < 1
        marks = free if constant.from_shape is None else free | constant.from_shape
        return tuple(int(i) for i in marks.reshape(-1).nonzero()[0])

    def of_constants(self) -> ConstantNode:
        """Returns the node with those of its inputs that are constants."""
        inputs = [self.constant(i) for i in range(len(self.inputs))]
        return ConstantNode(self.type, inputs, self.outputs, self.attributes, self.opset)

    def text(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def positions(self, least: int = 1) -> Shape:
        """Returns the spatial extents of the first input, a map; raises E447 if it has fewer than ``least``."""
        shape = self.shape(0)
        if len(shape) < 2 + least:
            raise invalid(f"`{self.type}` needs {least + 2} axes or more, but its input is {list(shape)}")
        return shape[2:]

    def axis(self, axis: int, rank: int) -> int:
        """Returns an axis counted from the front; raises E447 if it does not exist."""
        if not -rank <= axis < rank:
            raise invalid(f"`{self.type}` along axis {axis} of {rank} axes")
        return axis % rank

    # -- values -----------------------------------------------------------------------------------------------------

    def value(self, name: str) -> Value:
        return self.builder.values[name]

    def shape(self, index: int) -> Shape:
        operand = self.operand(index)
        return operand.shape if isinstance(operand, Const) else self.value(operand).shape

    def tensor(self, index: int) -> str:
        """Returns an input as a node of the graph. A constant becomes a node."""
        operand = self.operand(index)
        return self.held(operand) if isinstance(operand, Const) else operand

    def held(self, constant: Const) -> str:
        """Returns the node of a constant. It is a row of its own, and all readers share it."""
        if constant.digest not in self.placed:
            shape, dtype = constant.shape, constant.dtype
            op: Op = Parameter(shape, dtype) if constant.is_weight else Constant(
                shape, dtype, literal=None if constant.measured else literal(constant))  # fmt: skip
            name = self.builder.unique(clean(constant.name))
            params = {"value": self._enter(constant, constant.shape)} if constant.is_weight else {}
            self.builder.add(Node(name, op, (), op.output(()), params))
            self.placed[constant.digest] = name
        return self.placed[constant.digest]

    # -- result -----------------------------------------------------------------------------------------------------

    def emit(
        self, op: Op, *inputs: str, part: str = "", as_kind: Kind | None = None,
        params: Mapping[str, Const | None] | None = None, constants: Sequence[Const] = (), apart: bool = False,
        intent: Intent = NO_INTENT, batch: int | None = None, lost: Sequence[str] = (),
    ) -> str:  # fmt: skip
        """Appends an op and returns its name. The last op of a node has no ``part``.

        ``params`` are its weights by role. ``constants`` are further operands; stored ones count as parameters. With
        ``apart`` the op is a further output of the node, in a row of its own. ``batch`` is the axis of the output that
        has the batch, where the file says so. ``lost`` are operands that the op lacks, so that it is not run.
        """
        x = [self._seen(op, self.rounds.seen(name, self.value(name), self.reads), as_kind) for name in inputs]
        bound = bind(op, x)
        shapes = {**bound.weights, **bound.buffers}
        keys = {role: self._enter(c, shapes[role], role in bound.buffers) for role, c in (params or {}).items() if c}
        roles = {f"constant{i}": c for i, c in enumerate(constants)}
        used = {role: c for role, c in roles.items() if c.is_weight or role in bound.buffers}
        keys |= {role: self._enter(c, c.shape, role in bound.buffers) for role, c in used.items()}
        name = self.builder.unique(f"{self.base}.{part}" if part else self.base)
        layer = name if apart else self.layer
        found, output = self.batches.locate(name, bound.op, inputs, x, settled(op, bound.output), batch)
        of_integers = [i for i in inputs if i in self.rounds.types and self.value(i).dtype == output.dtype]
        if of_integers and not self.rounds.names.isdisjoint(self.reads):  # it only moves them
            self.rounds.types[name] = self.rounds.types[of_integers[0]]
            self.rounds.names.update(self.outputs[:1])
        return self.builder.add(Node(name, found, inputs, output, keys, layer=layer, intent=intent, lost=tuple(lost)))

    def emit_call(
        self, op: Called, function: str, *operands: Any, named: Mapping[str, Any] | None = None,
        item: int | None = None, part: str = "", lost: Sequence[str] = (), apart: bool = False,
        as_kind: Kind | None = None, intent: Intent = NO_INTENT,
    ) -> str:  # fmt: skip
        """Appends an op that torch computes as the call of ATen's ``function`` and returns its name.

        Of the ``operands`` tensors are inputs, constants are further operands, numbers are arguments. With no
        ``function`` torch has none for it.
        """
        operands = tuple(known_constant(x) if isinstance(x, Const) else x for x in operands)
        inputs = [x for x in leaves(operands) if isinstance(x, str)]
        constants = [x for x in leaves(operands) if isinstance(x, Const)]
        call = call_of(function, operands, tuple((named or {}).items()), item) if function else None
        return self.emit(replace(op, call=call), *inputs, constants=constants, part=part, lost=lost, apart=apart,
                         as_kind=as_kind, intent=intent)  # fmt: skip

    @staticmethod
    def _seen(op: Op, value: Value, as_kind: Kind | None) -> Value:
        if as_kind is None and value.kind in (*op.accepts, "tensor"):
            return value
        return replace(value, kind=as_kind or "tensor")

    def _enter(self, constant: Const, shape: Shape, buffer: bool = False) -> str:
        return self.weights.enter(constant, shape, self.type, buffer)

    def rounded(self, name: str, dtype: str) -> str:
        """Says that the file rounds a value to integers of a type, which stand for real numbers. An input of the
        network stays what it is.
        """
        node = self.builder.nodes.get(name)
        if node is not None:
            self.rounds.types.setdefault(name, node.output.dtype)
            value = replace(node.output, dtype=dtype)
            self.builder.nodes[name], self.builder.values[name] = replace(node, output=value), value
        self.rounds.names.update(self.outputs[:1])
        return name

    def unsupported(self, why: str = "") -> list[str]:
        """Adds a row for a node without a rule, in the shape that the file states for it; raises E447 if it
        states none.
        """
        constants = [c for c in self.inputs if isinstance(c, Const)]
        inputs = [name for name in self.inputs if isinstance(name, str)]
        results: list[str] = []
        first = ""
        for index, output in enumerate(self.outputs):
            known = self.stated(output) if output else None
            if known is None and output:
                raise self._unknown(why, output)
            if known is None:
                results.append("")
                continue
            shape, dtype = known
            batch = 0 if shape and shape[0] == 1 else None
            if not first:
                op: Op = Unsupported(shape, dtype, batch, self.type)
                first = self.emit(op, *inputs, constants=constants)
                self.builder.uncounted.append(first)
                results.append(first)
            else:
                select = Select(shape, dtype, batch, index)
                results.append(self.emit(select, first, part=f"output{index}", apart=True))
        return results

    def _unknown(self, why: str, output: str) -> CnnscopeError:
        """Returns E447 for an output of unknown shape. ONNX's shape inference has been tried before."""
        return invalid(
            f"{why or f'`{self.type}` is unknown'}, and neither the file nor ONNX's shape inference states the shape "
            f"of its output `{output}`",
            "add the shape to the `value_info` of the file, or give cnnscope a rule for the operator: docs/plugins.md",
        )  # fmt: skip


@dataclass
class Rounds:
    """Values that the file rounds to integers: ``types`` has the real type of each by node, ``names`` those that are
    still integers by their name in the file.
    """

    types: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    measured: bool = False
    """Whether a scale is measured on each image."""

    def seen(self, name: str, value: Value, reads: Sequence[str]) -> Value:
        """Returns a value as a node sees it that reads these names: as real numbers if it was dequantised."""
        if name not in self.types or not self.names.isdisjoint(reads):
            return value
        return replace(value, dtype=self.types[name])


class UnreadableError(Exception):
    """A rule does not cover this use of its operator. The message says why."""


Rule = Callable[[OperatorCall], Sequence[Operand]]
RULES: Registry[Rule] = Registry("cnnscope.onnx_rules", "rule for the ONNX operator")


def rule(*types: str) -> Callable[[Rule], Rule]:
    """Adds a rule for operator types; those of other domains than ONNX's are written ``domain::Type``."""

    def add(function: Rule) -> Rule:
        for name in types:
            RULES.add(name, function)
        return function

    return add


load_files(__name__)
