"""One call of a Keras layer as a row of ops, and the tensors between rows.

Keras' maps have their channels last, those of the graph first. So a `Tensor` says which axis of the author's shape each
axis of the graph's value is. A layer asks for the arrangement it needs, and gets a permuting view if the tensor has
another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Intent, Kind, Node, Param, Shape, Value
from cnnscope.ir.builder import Bound, Builder, bind
from cnnscope.ir.graph import PadWord
from cnnscope.ir.graph import Stored as Counted
from cnnscope.ops.base import Op
from cnnscope.ops.movement import Identity, PermuteOp
from cnnscope.sources.keras.stored import STANDARD, Stored, Zeros

Axes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the graph. Its axis i is axis ``axes[i]`` of the shape that the author sees (the batch is 0
    in both). ``masked`` says that Keras carries a mask of steps beside it (`cnnscope.sources.keras.rules.masks`).
    """

    name: str
    value: Value
    axes: Axes
    masked: bool = False

    @property
    def shape(self) -> Shape:
        """The shape that the author sees, with the batch."""
        return tuple(self.value.shape[self.axes.index(axis)] for axis in range(len(self.axes)))

    @property
    def rank(self) -> int:
        return len(self.axes)

    def axis(self, authored: int) -> int:
        """Returns the axis of the value that is the author's ``authored`` (negative: from the end); raises E443 if
        there is none.
        """
        place = authored + self.rank if authored < 0 else authored
        if not 0 <= place < self.rank:
            raise CnnscopeError.of("E443", f"axis {authored} does not exist in {list(self.shape)}")
        return self.axes.index(place)


def map_axes(rank: int, channels_last: bool) -> Axes:
    """Returns how a map is stored: batch, channels, positions."""
    return (0, rank - 1, *range(1, rank - 1)) if channels_last else tuple(range(rank))


@dataclass
class LayerRow:
    """The ops of one call. They get their names when the row is complete: a single op is called like the
    layer.

    ``keys`` has the weights of earlier calls of the same layer by part and role. ``parts`` has each op with its inputs.
    ``home`` is the path of attributes to the layer inside a wrapper whose ops are added. ``stored`` says by key which
    variable of Keras each weight is. ``unknown`` marks a layer without a rule, which may have other weights.
    """

    builder: Builder
    name: str
    keys: dict[tuple[str, str], str]
    channels_last: bool
    trainable: bool = True
    parts: dict[str, tuple[Bound, tuple[str, ...]]] = field(default_factory=dict)
    home: str = ""
    stored: dict[str, Stored | Zeros] = field(default_factory=dict)
    lost: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: bool = False
    _variables: dict[tuple[str, str], Stored | Zeros] = field(default_factory=dict)

    def add(
        self, op: Op, *xs: Tensor, part: str = "", axes: Axes | None = None, kind: Kind | None = None,
        without: Collection[str] = (), pad: PadWord | None = None, stored: Mapping[str, Stored | Zeros] | None = None,
        lost: tuple[str, ...] = (),
    ) -> Tensor:  # fmt: skip
        """Appends an op and returns its output. ``without`` names roles of weights that it lacks here; their effect is
        neutral.

        ``pad`` is the author's word for padding if the op itself gets numbers. ``stored`` has Keras' variables by role
        where they are not those that `STANDARD` has for the op. ``lost`` names settings that the op does not have, so
        that it has the right shape and cost but does not compute the same.
        """
        values = [x.value for x in xs]
        bound = bind(op, values)
        value = bound.output if kind is None else replace(bound.output, kind=kind)
        part = self._free(part or op.tag)
        self.lost[part] = lost
        variables = {**STANDARD.get(op.tag, {}), **(stored or {})}
        weights, buffers = (
            {role: shape for role, shape in roles.items() if role not in without}
            for roles in (bound.weights, bound.buffers)
        )
        for role in (*weights, *buffers):
            if role in variables:
                self._variables[part, role] = self._at_home(variables[role])
        self.parts[part] = (
            replace(
                bound, output=value, weights=weights, buffers=buffers, intent=Intent(pad=pad) if pad else bound.intent
            ),
            tuple(x.name for x in xs),
        )
        if axes is None:
            same = bool(xs) and len(value.shape) == xs[0].rank
            axes = xs[0].axes if same else tuple(range(len(value.shape)))
        return Tensor(self._unnamed(part), value, axes)

    def weights(self) -> list[Mapping[str, Shape]]:
        """Returns the weights of all ops so far by role."""
        return [bound.weights for bound, _ in self.parts.values()]

    def store(self, x: Tensor, axes: Axes, kind: Kind) -> Tensor:
        """Returns the tensor with its axes in this order, through a permuting view if they are in another."""
        if x.axes == axes and x.value.kind == kind:
            return x
        order = tuple(x.axes.index(axis) for axis in axes[1:])
        return self.add(PermuteOp(order), replace(x, value=replace(x.value, kind="tensor")), axes=axes, kind=kind)

    def map(self, x: Tensor) -> Tensor:
        """Returns the tensor as a map, channels first."""
        if x.rank < 3:
            raise CnnscopeError.of("E301", f"it needs positions and channels but gets {list(x.shape[1:])}")
        return self.store(x, map_axes(x.rank, self.channels_last), "map")

    def authored(self, x: Tensor) -> Tensor:
        """Returns the tensor in the author's order, for layers that use the last axis or all elements in a row."""
        kind: Kind = "tokens" if x.rank == 3 else "flat" if x.rank == 2 else "tensor"
        return self.store(x, tuple(range(x.rank)), kind)

    def settle(self, x: Tensor, channels_last: bool) -> Tensor:
        """Returns the tensor as other layers expect it: with more than one spatial axis it is a map."""
        return self.store(x, map_axes(x.rank, channels_last), "map") if x.rank > 3 else x

    def lose(self, operand: str) -> None:
        """Says of all ops so far that they do not have an operand of the layer."""
        self.lost = {part: (*lost, operand) for part, lost in self.lost.items()}

    def finish(self, results: Sequence[Tensor]) -> list[Tensor]:
        """Names the ops, adds them and their weights to the graph, and returns the results with their final names."""
        if not self.parts:
            results = [self.add(Identity(), x) for x in results]
        alone = len(self.parts) == 1
        names = {part: self.name if alone else self.builder.unique(f"{self.name}.{part}") for part in self.parts}
        final = {self._unnamed(part): name for part, name in names.items()}
        for part, (bound, inputs) in self.parts.items():
            params = self._enter(part, names[part], bound.weights) | self._enter(part, names[part], bound.buffers, True)
            named = tuple(final.get(name, name) for name in inputs)
            node = Node(
                names[part], bound.op, named, bound.output, params,
                layer=self.name, intent=bound.intent, lost=self.lost[part],
            )  # fmt: skip
            self.builder.add(node)
        return [replace(x, name=final.get(x.name, x.name)) for x in results]

    def _enter(self, part: str, node: str, shapes: Mapping[str, Shape], buffer: bool = False) -> dict[str, str]:
        roles = {role: self.keys.setdefault((part, role), f"{node}.{role}") for role in shapes}
        for role, key in roles.items():
            made_of = self._made_of(part, role, roles, shapes)
            self.builder.param(
                key, Param(shapes[role], trainable=self.trainable and not buffer, buffer=buffer, made_of=made_of)
            )
            if (part, role) in self._variables:
                self.stored.setdefault(key, self._variables[part, role])
        return roles

    def _made_of(
        self, part: str, role: str, keys: Mapping[str, str], shapes: Mapping[str, Shape]
    ) -> tuple[Counted, ...]:
        """Returns the tensor with which a weight counts that Keras does not have; nothing for all others."""
        variable = self._variables.get((part, role))
        if not isinstance(variable, Zeros):
            return ()
        return (Counted(keys[variable.beside], prod(shapes[variable.beside]), "float32"),)

    def _at_home(self, variable: Stored | Zeros) -> Stored | Zeros:
        if not self.home or isinstance(variable, Zeros):
            return variable
        return replace(variable, home=f"{self.home}/{variable.home}".rstrip("/"))

    def _free(self, part: str) -> str:
        count, free = 1, part
        while free in self.parts:
            count += 1
            free = f"{part}{count}"
        return free

    def _unnamed(self, part: str) -> str:
        """Returns the name of a part until `finish`. No name in a graph contains a null character."""
        return f"{self.name}\0{part}"
