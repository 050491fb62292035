"""Which node of the graph each tensor of a traced run is.

A tensor is known by its ``id`` while the run keeps it alive. One that depends on the input or on a parameter has a
*place*, that of its draft in the recording. A parameter or a constant gets one where it is first needed as a node. A
view follows the tensor that it shows: it is a new draft once that was overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from cnnscope.errors import ShapeError
from cnnscope.ir import Intent, Kind, Shape, Value
from cnnscope.ir.builder import settled
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Constant, Movement, Parameter, Unsupported
from cnnscope.ops.traced import kind_of
from cnnscope.sources.batch import Place
from cnnscope.sources.torch.batches import Batches, Twice
from cnnscope.sources.torch.constants import Constants
from cnnscope.sources.torch.recording import Recording, dtype_name


class Nodes:
    """The tensors of one run and their nodes.

    ``places`` has the places of tensors by their ids, ``views`` the tensor that a view shows, the op that it is of it
    (None if it is the same) and the place that was seen there last. ``weights`` are the ids of parameters and buffers,
    ``keys`` the names of those that were not overwritten; ``aliases`` are the parameters that other tensors are.
    """

    def __init__(self, module: nn.Module, *, real: bool, twice: Twice | None, images: int) -> None:
        self.recording = Recording(module)
        self.constants = Constants(self.key, self.to_meta, self.recording.is_stored, copy=real)
        self.batches = Batches(twice, images)
        weights = self.recording.weights
        self.weights = frozenset(map(id, weights.values()))
        self.keys = {id(t): key for key, t in weights.items()}
        self.parameters = {id(t) for t in weights.values() if isinstance(t, nn.Parameter)}
        self.parameter_places: dict[str, int] = {}
        self.aliases: dict[int, Tensor] = {}
        self.places: dict[int, int] = {}
        self.views: dict[int, tuple[Tensor, Op | None, int]] = {}
        self.alive: list[Any] = []  # keeps the tensors of the dicts above alive, since ids of dead ones are used again

    def to_meta(self, a: Any) -> Any:
        """Returns an argument of a call without values."""
        raise NotImplementedError

    def record_view(self, t: Tensor) -> None:
        """Records a view of a constant that has become a node."""
        raise NotImplementedError

    def place(self, t: Tensor) -> int | None:
        """Returns the place of the draft that a tensor is; None if it has none yet."""
        return self.places.get(id(t))

    def tracked(self, t: Tensor) -> bool:
        """Returns whether a tensor depends on the input or a parameter."""
        if id(t) in self.places or id(t) in self.parameters:
            return True
        view = self.constants.views.get(id(t))
        return view is not None and self.tracked(view[0])

    def key(self, t: Tensor | None) -> str | None:
        """Returns the key of a parameter or buffer; None for any other tensor, and for one that the run has
        overwritten.
        """
        return None if t is None or id(t) in self.places else self.keys.get(id(t))

    def batch(self, t: Tensor) -> Place | None:
        """Returns where the batch is in a tensor, as in `cnnscope.sources.batch`."""
        return self.batch_at(self.node(t))

    def batch_at(self, place: int) -> Place | None:
        """Returns where the batch is in the draft at a place."""
        return self.batches.place(place, self.recording.drafts[place].output)

    def value(self, t: Tensor) -> Value:
        """Returns what the graph knows about a tensor."""
        return self.recording.drafts[self.node(t)].output

    def node(self, t: Tensor) -> int:
        """Returns the place of the draft of a tensor. A parameter or constant becomes a node where it is first needed
        as one.
        """
        place = self.places.get(id(t))
        if place is None:
            return self._late_node(t)
        view = self.views.get(id(t))
        if view is None:
            return place
        parent, op, seen = view
        now = self.node(parent)
        if now != seen:  # the tensor that it shows was overwritten since
            value = self.recording.drafts[place].output
            if op is not None:
                self.batches.copy(len(self.recording.drafts), place)
            place = now if op is None else self.recording.append(op, (now,), value, op.label())
            self.places[id(t)], self.views[id(t)] = place, (parent, op, now)
        return place

    def _late_node(self, t: Tensor) -> int:
        view = self.constants.views.get(id(t))
        if view is not None and self.tracked(view[0]):
            self.record_view(t)
            return self.places[id(t)]
        shape, dtype, key = tuple(t.shape), dtype_name(t), self.key(t)
        if key is None:
            keys = {f"value{i}": k for i, k in enumerate(self.constants.keys(t))}
            constant = Constant(shape, dtype, literal=self.constants.literal(t))
            return self.remember(t, self.append(constant, (), (), constant.output(()), "constant", keys))
        if key not in self.parameter_places:
            parameter, name = Parameter(shape, dtype), key.rpartition(".")[2]
            place = self.recording.append(parameter, (), parameter.output(()), name, {"value": key}, layer=key)
            self.parameter_places[key] = place
        return self.parameter_places[key]

    def remember(self, t: Tensor, place: int) -> int:
        """Notes and returns the place of a tensor."""
        self.places[id(t)] = place
        self.alive.append(t)
        return place

    def same(self, out: Tensor, source: Tensor) -> None:
        """Records that ``out`` is ``source`` with another name (detach, alias, a cast to the dtype it has already)."""
        if out is source:
            return
        key = self.key(source)
        if key is None:
            place = self.node(source)
            self.views[id(out)] = (source, None, place)
            self.remember(out, place)
        else:
            self.keys[id(out)] = key
            self.parameters.add(id(out))
            self.aliases[id(out)] = source
            self.alive.append(out)

    def take_back(self, start: int) -> None:
        """Removes the drafts from place ``start`` on."""
        del self.recording.drafts[start:]
        self.places = {key: place for key, place in self.places.items() if place < start}
        self.parameter_places = {key: place for key, place in self.parameter_places.items() if place < start}
        self.views = {key: view for key, view in self.views.items() if key in self.places}

    def borrowed(self, t: Tensor) -> bool:
        """Returns whether a tensor is the model's own, not of this run."""
        return id(t) in self.weights or (not self.tracked(t) and self.constants.is_borrowed(t))

    def constant(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        """Returns a new constant, made by a call of ``func``."""
        return self.constants.add(self.constants.make(func, args, kwargs))

    def constant_keys(self, t: Tensor) -> tuple[str, ...]:
        """Returns the keys of the buffers that a constant is, or was computed from."""
        return self.constants.keys(t)

    def is_zero(self, t: Tensor) -> bool:
        """Returns whether a tensor is a constant that is zero everywhere."""
        return not self.tracked(t) and not t.is_meta and not self.is_drawn(t) and not t.count_nonzero()

    def is_drawn(self, t: Tensor) -> bool:
        """Returns whether the numbers of a constant are random ones."""
        return self.constants.is_drawn(t)

    def sibling(self, t: Tensor, name: str) -> Tensor | None:
        """Returns the parameter or buffer called ``name`` in the module that has ``t``."""
        scope = (self.key(t) or "").rpartition(".")[0]
        return self.recording.weights.get(f"{scope}.{name}" if scope else name)

    # -- new nodes --------------------------------------------------------------------------------------------------

    def feed(self, t: Tensor, name: str) -> None:
        """Makes a tensor a network input."""
        shape = tuple(t.shape)
        kind: Kind = "map" if len(shape) > 2 and t.is_floating_point() else kind_of(shape, 0)
        self.batches.feed(len(self.recording.drafts))
        self.remember(t, self.recording.append(None, (), Value(shape, dtype_name(t), 0, kind), name))

    def emit(
        self, op: Op, inputs: Sequence[Tensor], out: Tensor, params: Mapping[str, Tensor | None] | None = None,
        fn: str = "", keys: Mapping[str, str] | None = None, *, intent: Intent = NO_INTENT, like: int | None = None,
        batch: int | None = None, lost: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Records that ``out`` is ``op`` of ``inputs``; ``fn`` is its name.

        ``params`` are its weights by role, ``keys`` further buffers from which constants in it were computed. ``like``
        is the place of the node whose size the output takes. ``batch`` is the axis of ``out`` that has the batch, where
        the call says so. ``lost`` names operands that the op does not have.
        """
        places = tuple(map(self.node, inputs))
        values = [self.recording.drafts[place].output for place in places]
        shape, dtype = tuple(out.shape), dtype_name(out)
        value = _agreed(op, values, shape)
        if value is None:  # the shape that torch computes decides
            op = Unsupported(shape, dtype, fn=fn or op.tag)
            value = op.output(values)
        value = settled(op, value if value.dtype == dtype else replace(value, dtype=dtype))
        owned: dict[str, str] = {}
        for role, t in params.items() if params else ():
            if t is not None:
                key = self.key(t)
                if key is not None:
                    owned[role] = key
                elif all(t is not x for x in inputs):
                    lost += (role,)
        if keys:
            owned.update(keys)
        in_place = bool(inputs) and inputs[0] is out
        place = self.append(
            op, places, values, value, fn or op.tag, owned, in_place=in_place, intent=intent, like=like, batch=batch
        )
        self.recording.drafts[place].lost = lost
        self.remember(out, place)
        if op.is_view and not in_place and len(places) == 1:
            self.views[id(out)] = (inputs[0], op, places[0])

    def append(
        self, op: Op, inputs: tuple[int, ...], given: Sequence[Value], value: Value, fn: str,
        params: Mapping[str, str] | None = None, *, batch: int | None = None, **facts: Any,
    ) -> int:  # fmt: skip
        """Adds a draft of ``op``, which makes ``value`` of the drafts ``inputs``, whose values are ``given``."""
        at = len(self.recording.drafts)
        value = self.batches.locate(at, op, inputs, given, value, batch)
        if isinstance(op, Movement) and len(inputs) == 1:
            op = replace(op, batch=self.batches.along(inputs[0], given[0], at, value, op.steps))
        return self.recording.append(op, inputs, value, fn, params, **facts)

    def ends(self, results: Sequence[Tensor]) -> list[int]:
        """Returns the places of the drafts that are the outputs of the model, each with its batch axis."""
        places = [self.node(t) for t in results]
        for index, place in enumerate(places):
            draft = self.recording.drafts[place]
            draft.output = self.batches.end(place, draft.output, index)
        return places


def _agreed(op: Op, values: Sequence[Value], shape: Shape) -> Value | None:
    """Returns the op's own output if it has the shape that torch found, otherwise None."""
    try:
        value = op.output(values)
    except ShapeError:
        return None
    return value if value.shape == shape else None
