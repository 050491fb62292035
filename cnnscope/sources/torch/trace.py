"""Records one run of a torch module, call by call.

`Trace` sees every ATen call of a forward pass before it runs. There are three sorts of tensors. *Tracked* ones depend
on the input or on a parameter: they are on the meta device, and each call on them becomes a node by the rules of
`cnnscope.sources.torch.rules`. *Parameters* and buffers are never computed with or written to; calls get a meta twin
instead. All others are *constants* (`cnnscope.sources.torch.constants`), which become nodes only where a tracked call
uses them.

The run is in inference mode, in which torch shows whole functions (linear, layer_norm, scaled_dot_product_attention)
and not the kernels that they consist of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from cnnscope.errors import ShapeError
from cnnscope.ir import Intent, Kind, Shape, Value
from cnnscope.ir.builder import settled
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ir.steps import Taps
from cnnscope.ops.base import Op
from cnnscope.ops.call import Held, Input, Operand
from cnnscope.ops.generic import Constant, Gather, Movement, Overwrite, Parameter, Unsupported, View
from cnnscope.ops.movement import Identity
from cnnscope.ops.norm import LRN
from cnnscope.ops.traced import Called, kind_of
from cnnscope.sources.batch import Place
from cnnscope.sources.torch import in_place
from cnnscope.sources.torch.batches import Batches, Twice
from cnnscope.sources.torch.calls import UnknownOperandError, call_of, is_for_every_batch
from cnnscope.sources.torch.constants import META, Constants, inverse, share_memory, to_cpu
from cnnscope.sources.torch.operands import missing
from cnnscope.sources.torch.recording import Draft, Recording, dtype_name
from cnnscope.sources.torch.refusals import is_own, lacks_values
from cnnscope.sources.torch.rules import PLAIN, Lowering, lowering, tensors, unsupported, written


class DataDependentError(Exception):
    """The model cannot run without values, or not as the user's own module."""


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, without types
    """Records everything that runs inside ``with trace:``. If ``real``, tracked tensors have values.

    ``images`` are in the batch; ``twice`` is a run of twice as many.
    """

    def __init__(self, module: nn.Module, *, real: bool = False, twice: Twice | None = None, images: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.real = real
        self.busy = False
        self.sizes: Sequence[int] = ()
        self.recording = Recording(module)
        self.constants = Constants(self.key, self._to_meta, self.recording.is_stored, copy=real)
        self.takes_values: str | None = None
        self.batches = Batches(twice, images)
        self._keys = {id(t): key for key, t in self.recording.weights.items()}
        self._parameters = {id(t) for t in self.recording.weights.values() if isinstance(t, nn.Parameter)}
        self._aliases: dict[int, Tensor] = {}
        self._weights = {id(t) for t in self.recording.weights.values()}
        self._kept: set[int] = set()
        self.versions = ExitStack()
        self._parameter_nodes: dict[str, int] = {}
        self._nodes: dict[int, int] = {}
        self._rules: dict[int, Lowering] = {}
        self._views: dict[int, tuple[Tensor, Op | None, int]] = {}
        self.failing: tuple[Exception, str, Sequence[Any], Mapping[str, Any]] | None = None
        self._twins: dict[int, Tensor] = {}
        self._read: list[tuple[Tensor, Tensor]] = []  # tensors whose values left torch, and these values
        self._alive: list[Any] = []  # keeps the tensors of the dicts above alive, since ids of dead ones are used again

    # -- every call -------------------------------------------------------------------------------------------------

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Tells torch that it need not switch its compiler off for each call: nothing is compiled during a run."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before, self.busy = self.busy, True  # shapes are plain numbers in here
        rule = self._rules.get(id(func))
        if rule is None:
            rule = self._rules[id(func)] = lowering(func)
        try:
            if rule.targets:
                self._keep_versions(written(rule, args, kwargs or {}))
            return self._call(func, rule, args, kwargs or {})
        except Exception as error:
            if self.failing is None or self.failing[0] is not error:
                self.failing = error, rule.name, args, kwargs or {}
            raise
        finally:
            self.busy = before

    def _call(self, func: Any, rule: Lowering, args: Any, kwargs: Any) -> Any:
        given = tensors(args, kwargs)
        for t in given if self._read else ():
            self._returned(t)
        if rule.results:
            return in_place.stored(self, func, rule, args, kwargs)
        if rule.reshaping:
            return in_place.reshaped(self, func, rule, args, kwargs)
        if not any(map(self.tracked, given)):
            if rule.dynamic and any(t.is_meta for t in given):
                raise self.depends_on_data(rule.name)
            return self.constants.call(func, rule, args, kwargs)
        if rule.instead is not None:
            start, before = len(self.recording.drafts), self._places(given)
            result = rule.instead(self, func, *args, **kwargs)
            self._complete(rule, args, kwargs, result, start, before)
            if rule.in_place and not self.shares_memory(result, args[0]):
                self.store(args[0], result)
            return result
        if rule.dynamic and not self.real:
            raise self.depends_on_data(rule.name)
        if rule.record is None and rule.composite:
            with self:
                return func.decompose(*args, **kwargs)
        return self._tracked_call(func, rule, args, kwargs, given)

    def _tracked_call(self, func: Any, rule: Lowering, args: Any, kwargs: Any, given: Sequence[Tensor]) -> Any:
        out = None if rule.shortcut is None or self.real else rule.shortcut(*args, **kwargs)
        if out is None:
            out = self.run(func, args, kwargs)
        targets = written(rule, args, kwargs)
        if rule.in_place:
            out = targets[0]
        result = None
        if rule.record is not None:
            result = self._recorded(rule, out, args, kwargs, given)
        elif found := [*targets] or tensors((out,), {}):
            unsupported(self, found, rule.name, given)
        for target in targets:
            if self.tracked(target):
                self._write_back(target)
        if rule.view and isinstance(out, Tensor) and out is not args[0] and id(out) in self._nodes:
            place = self._nodes[id(out)]  # a view by a rule that does not know where its elements are
            self._views.setdefault(id(out), (args[0], self.recording.drafts[place].op, self.node(args[0])))
        return out if result is None else result

    def _recorded(self, rule: Lowering, out: Any, args: Any, kwargs: Any, given: Sequence[Tensor]) -> Any:
        """Calls a rule. A rule that fails is a fault of cnnscope, not of the model: its call counts as unsupported."""
        assert rule.record is not None
        start, before = len(self.recording.drafts), self._places(given)
        try:
            result = rule.record(self, out, *args, **kwargs)
            self._complete(rule, args, kwargs, out, start, before)
        except Exception as error:
            if not is_own(error):
                raise
            self._take_back(start)
            unsupported(self, out, rule.name, given)
            return None
        return result

    def _take_back(self, start: int) -> None:
        """Removes the drafts from place ``start`` on."""
        del self.recording.drafts[start:]
        self._nodes = {key: place for key, place in self._nodes.items() if place < start}
        self._parameter_nodes = {key: place for key, place in self._parameter_nodes.items() if place < start}
        self._views = {key: view for key, view in self._views.items() if key in self._nodes}

    def _keep_versions(self, targets: Sequence[Tensor]) -> None:
        """Makes torch forget after the run that tensors of the model were written to, since copies were. Otherwise
        it would refuse the gradients of an earlier call of the model.
        """
        for t in targets:
            if not t.is_inference() and id(t) not in self._kept:
                self._kept.add(id(t))
                self._alive.append(t)
                self.versions.enter_context(_unsafe_preserve_version_counter(t))

    def _places(self, given: Sequence[Tensor]) -> dict[int, int]:
        """Returns the place of the draft that each of the operands is before a call, by the id of the tensor."""
        return {id(t): self.node(t) for t in given if id(t) in self._nodes}

    def _complete(
        self, rule: Lowering, args: Any, kwargs: Any, result: Any, start: int, before: Mapping[int, int]
    ) -> None:  # fmt: skip
        """Notes which operands of a call the nodes from place ``start`` on lack, at the last of them. ``before`` has
        the places of its operands before it.

        Ops that stand for many functions get the call itself, where its ``result`` is theirs.
        """
        made = self.recording.drafts[start:]
        if not made:
            return
        if rule.operands:
            lacking = tuple(missing(rule.operands, args, kwargs, partial(self._reads, made, before)))
            if lacking:
                made[-1].lost = tuple(dict.fromkeys((*made[-1].lost, *lacking)))
        if "::" in rule.name or not any(isinstance(draft.op, Called) for draft in made):
            return
        several = not isinstance(result, Tensor)
        for item, t in enumerate(tensors((result,), {})):
            self._keep_call(rule, args, kwargs, t, item if several else None, start, before)

    def _reads(self, made: Sequence[Draft], before: Mapping[int, int], t: Tensor) -> bool:
        """Returns whether the ops of these drafts compute with a tensor. One without elements has nothing to read."""
        place = before.get(id(t), self._nodes.get(id(t)))
        if any(place in draft.inputs for draft in made):
            return True
        key = self._keys.get(id(t))
        if key is None:
            return t.numel() == 0
        return self._is_weight(made, key) or t.numel() == 0

    def _is_weight(self, made: Sequence[Draft], key: str) -> bool:
        """Returns whether an op of these drafts computes with the parameter or buffer, or has it as an input."""
        as_input = self._parameter_nodes.get(key)
        for draft in made:
            if as_input in draft.inputs:
                return True
            for role, owned in draft.params.items():
                if owned == key and draft.op is not None:
                    values = [self.recording.drafts[place].output for place in draft.inputs]
                    if role in draft.op.weights(values) or role in draft.op.buffers(values):
                        return True
        return False

    def _keep_call(
        self, rule: Lowering, args: Any, kwargs: Any, out: Tensor, item: int | None, start: int,
        before: Mapping[int, int],
    ) -> None:  # fmt: skip
        """Gives the op of a result the call with all its operands, if they are known."""
        place = self._nodes.get(id(out), -1)
        draft = self.recording.drafts[place]
        if place < start or not isinstance(draft.op, Called):
            return
        values = [self.recording.drafts[i].output for i in draft.inputs]
        name = rule.name
        if name == "copy" and args[0].shape == args[1].shape:  # nothing of the target is left but its type
            name, args = "to", (args[1], args[0].dtype)
        call = call_of(name, args, kwargs, item, lambda t: self._operand(t, draft, before))
        if call is not None and is_for_every_batch(
            call, draft.op, values, [*map(self.batches.has_images, draft.inputs)]
        ):
            draft.op, draft.lost = replace(draft.op, call=call), ()

    def _operand(self, t: Tensor, draft: Draft, before: Mapping[int, int]) -> Operand:
        """Returns what a tensor is to a node; raises `UnknownOperandError` if the node does not have its numbers."""
        key = self._keys.get(id(t))
        place = before.get(id(t), self._parameter_nodes.get(key or "", -1))
        if place in draft.inputs:
            return Input(draft.inputs.index(place))
        roles = {owned: role for role, owned in draft.params.items()}
        if key in roles and id(t) in self._parameters:
            return Held(roles[key], tuple(t.shape), dtype=dtype_name(t), buffer=False)
        if self.tracked(t):
            raise UnknownOperandError
        return self.constants.operand(t, roles)

    def depends_on_data(self, function: str) -> DataDependentError:
        """Returns the error to raise. It is also stored, because the model may catch it."""
        return self._refusal(f"it reads values: `{function}`")

    def takes_a_copy(self, function: str) -> DataDependentError:
        """Returns the error to raise where the model changes a tensor of its own that must not change."""
        replaces = function in ("data", "set")
        return self._refusal("it replaces its weights" if replaces else f"it changes their shapes: `{function}`")

    def _refusal(self, why: str) -> DataDependentError:
        self.takes_values = why
        return DataDependentError(why)

    def run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Returns the result of a call, without values unless the run is real."""
        if self.real:
            return func(*map(to_cpu, args), **{name: to_cpu(a) for name, a in kwargs.items()})
        try:
            return func(*map(self._to_meta, args), **{name: self._to_meta(a) for name, a in kwargs.items()})
        except Exception as error:
            if lacks_values(error):
                raise self._refusal(f"`{func._schema.name.partition('::')[2]}` has no shape without values") from error
            raise

    def _to_meta(self, a: Any) -> Any:
        if type(a) in PLAIN:
            return a
        if isinstance(a, Tensor):
            return a if a.is_meta else self._twin(a)
        if isinstance(a, (list, tuple)):
            return [item if type(item) in PLAIN else self._to_meta(item) for item in a]
        return META if isinstance(a, torch.device) else a

    def _twin(self, t: Tensor) -> Tensor:
        if id(t) not in self._twins:
            # torch treats a view of it as a view of `t`, which is no inference tensor
            with torch.inference_mode(False):
                self._twins[id(t)] = torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=META)
            self._alive.append(t)
        return self._twins[id(t)]

    def place(self, t: Tensor) -> int | None:
        """Returns the place of the draft that a tensor is; None if it has none yet."""
        return self._nodes.get(id(t))

    # -- values that leave torch ------------------------------------------------------------------------------------

    def noted(self, t: Tensor) -> None:
        """Notes that code outside of torch (NumPy, Python's own lists) has all values of a tensor."""
        if self.real and not self.busy and self.tracked(t):
            with _disable_current_modes():
                self._read.append((t, t.detach().clone()))

    def _returned(self, t: Tensor) -> None:
        """Records a tensor that was made in the run, but by no call of torch (``from_numpy``, ``tensor``), once values
        were read: it is one of the tensors that were read if it has its values; else it may depend on all of them.
        """
        if self.tracked(t) or not t.is_inference() or id(t) in self._weights or self.constants.is_known(t):
            return
        with _disable_current_modes():
            equal = (x for x, values in self._read if _has_values(t, values))
            source = next(equal, None)
        if source is None:
            unsupported(self, t, "values_read", dict.fromkeys(x for x, _ in self._read))
        else:
            self.same(t, source)

    # -- which node a tensor is -------------------------------------------------------------------------------------

    def tracked(self, t: Tensor) -> bool:
        """Returns whether a tensor depends on the input or a parameter."""
        if id(t) in self._nodes or id(t) in self._parameters:
            return True
        view = self.constants.views.get(id(t))
        return view is not None and self.tracked(view[0])

    def borrowed(self, t: Tensor) -> bool:
        """Returns whether a tensor is the model's own, not of this run."""
        return id(t) in self._weights or (not self.tracked(t) and self.constants.is_borrowed(t))

    def key(self, t: Tensor | None) -> str | None:
        """Returns the key of a parameter or buffer; None for any other tensor, and for one that the run has
        overwritten.
        """
        return None if t is None or id(t) in self._nodes else self._keys.get(id(t))

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

    def shares_memory(self, out: Tensor, x: Tensor) -> bool:
        """Returns whether ``out``, computed by this run from ``x``, is a view of it."""
        return share_memory(out, self._twins.get(id(x), x))

    def batch(self, t: Tensor) -> Place | None:
        """Returns where the batch is in a tensor, as in `cnnscope.sources.torch.batch`."""
        place = self.node(t)
        return self.batches.place(place, self.recording.drafts[place].output)

    def doubled(self, place: int) -> int | None:
        """Returns the axis of a draft that has the batch."""
        found = self.batches.place(place, self.recording.drafts[place].output)
        return None if found is None or found[0] < 0 else found[0]

    def value(self, t: Tensor) -> Value:
        """Returns what the graph knows about a tensor."""
        return self.recording.drafts[self.node(t)].output

    def node(self, t: Tensor) -> int:
        """Returns the place of the draft of a tensor. A parameter or constant becomes a node where it is first needed
        as one.
        """
        place = self._nodes.get(id(t))
        if place is None:
            return self._late_node(t)
        view = self._views.get(id(t))
        if view is None:
            return place
        parent, op, seen = view
        now = self.node(parent)
        if now != seen:  # the tensor that it shows was overwritten since
            value = self.recording.drafts[place].output
            if op is not None:
                self.batches.copy(len(self.recording.drafts), place)
            place = now if op is None else self.recording.append(op, (now,), value, op.label())
            self._nodes[id(t)], self._views[id(t)] = place, (parent, op, now)
        return place

    def _late_node(self, t: Tensor) -> int:
        view = self.constants.views.get(id(t))
        if view is not None and self.tracked(view[0]):
            self._record_view(t)
            return self._nodes[id(t)]
        shape, dtype, key = tuple(t.shape), dtype_name(t), self.key(t)
        if key is None:
            keys = {f"value{i}": k for i, k in enumerate(self.constants.keys(t))}
            constant = Constant(shape, dtype, literal=self.constants.literal(t))
            return self._remember(t, self._append(constant, (), (), constant.output(()), "constant", keys))
        if key not in self._parameter_nodes:
            parameter, name = Parameter(shape, dtype), key.rpartition(".")[2]
            place = self.recording.append(parameter, (), parameter.output(()), name, {"value": key}, layer=key)
            self._parameter_nodes[key] = place
        return self._parameter_nodes[key]

    def _record_view(self, t: Tensor) -> None:
        parent, rule, args, kwargs = self.constants.views[id(t)]
        if rule.record is None:
            unsupported(self, t, rule.name, [parent])
        else:
            start, before = len(self.recording.drafts), self._places([parent, *tensors(args, kwargs)])
            rule.record(self, t, parent, *args, **kwargs)
            self._complete(rule, (parent, *args), kwargs, t, start, before)

    def keep(self, t: Tensor, function: str) -> None:
        """Raises the error of `takes_a_copy` if a tensor is the model's own and the run is not of a copy."""
        own = id(t) in self._keys or not t.is_inference() or (not self.tracked(t) and self.constants.is_borrowed(t))
        if own and not self.real:
            raise self.takes_a_copy(function)

    def stand_in(self, t: Tensor) -> Tensor:
        """Returns another tensor in the memory of ``t`` that stands for what ``t`` stood for. ``t`` is unknown then."""
        other = t.detach()
        tables: tuple[dict[int, Any], ...] = (self._nodes, self._views, self._keys, self._aliases)
        for table in tables:
            if id(t) in table:
                table[id(other)] = table.pop(id(t))
        if id(t) in self._parameters:
            self._parameters ^= {id(t), id(other)}
        for key, (parent, op, seen) in self._views.items():
            if parent is t:
                self._views[key] = (other, op, seen)
        self.constants.stand_in(t, other)
        self._alive += [t, other]
        return other

    def forget(self, t: Tensor) -> None:
        """Drops what was noted of the shape of a tensor, which has changed."""
        self._twins.pop(id(t), None)

    def owner(self, t: Tensor) -> Tensor | None:
        """Returns a tracked tensor in the memory of ``t``."""
        others = (x for x in self._alive if isinstance(x, Tensor) and x is not t and id(x) in self._nodes)
        return next((x for x in others if share_memory(x, t)), None)

    def _remember(self, t: Tensor, place: int) -> int:
        self._nodes[id(t)] = place
        self._alive.append(t)
        return place

    def ends(self, results: Sequence[Tensor]) -> list[int]:
        """Returns the places of the drafts that are the outputs of the model, each with its batch axis."""
        places = [self.node(t) for t in results]
        for index, place in enumerate(places):
            draft = self.recording.drafts[place]
            draft.output = self.batches.end(place, draft.output, index)
        return places

    # -- recording --------------------------------------------------------------------------------------------------

    def feed(self, t: Tensor, name: str) -> None:
        """Makes a tensor a network input."""
        shape = tuple(t.shape)
        kind: Kind = "map" if len(shape) > 2 and t.is_floating_point() else kind_of(shape, 0)
        self.batches.feed(len(self.recording.drafts))
        self._remember(t, self.recording.append(None, (), Value(shape, dtype_name(t), 0, kind), name))

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
        place = self._append(
            op, places, values, value, fn or op.tag, owned, in_place=in_place, intent=intent, like=like, batch=batch
        )
        self.recording.drafts[place].lost = lost
        self._remember(out, place)
        if op.is_view and not in_place and len(places) == 1:
            self._views[id(out)] = (inputs[0], op, places[0])

    def _append(
        self, op: Op, inputs: tuple[int, ...], given: Sequence[Value], value: Value, fn: str,
        params: Mapping[str, str] | None = None, *, batch: int | None = None, **facts: Any,
    ) -> int:  # fmt: skip
        """Adds a draft of ``op``, which makes ``value`` of the drafts ``inputs``, whose values are ``given``."""
        at = len(self.recording.drafts)
        value = self.batches.locate(at, op, inputs, given, value, batch)
        if isinstance(op, Movement) and len(inputs) == 1:
            op = replace(op, batch=self.batches.along(inputs[0], given[0], at, value, op.steps))
        return self.recording.append(op, inputs, value, fn, params, **facts)

    def same(self, out: Tensor, source: Tensor) -> None:
        """Records that ``out`` is ``source`` with another name (detach, alias, a cast to the dtype it has already)."""
        if out is source:
            return
        key = self.key(source)
        if key is None:
            place = self.node(source)
            self._views[id(out)] = (source, None, place)
            self._remember(out, place)
        else:
            self._keys[id(out)] = key
            self._parameters.add(id(out))
            self._aliases[id(out)] = source
            self._alive.append(out)

    def idle(self, output: Tensor, kind: str) -> Tensor:
        """Records a leaf module that only returned its input. Its output becomes an identity of its own."""
        out = output.detach()
        self.busy = True
        self.emit(Identity(), [output], out, fn=kind)
        self.busy = False
        return out

    def normalized(self, layer: nn.CrossMapLRN2d, x: Tensor, call: Callable[..., Tensor]) -> Tensor:
        """Records a layer that loops over the channels as the one op that it is."""
        self.busy = True
        try:
            with _disable_current_modes():
                out = call(layer, x) if self.real else torch.empty_like(x)
            op = LRN(layer.size, layer.alpha, layer.beta, layer.k)
            self.emit(op, [x], out, fn="lrn", lost=("size",))  # torch's layer forgets to move its window off channel 0
        finally:
            self.busy = False
        return out

    # -- writes -----------------------------------------------------------------------------------------------------

    def store(self, target: Tensor, result: Tensor) -> None:
        """Records that ``target`` was overwritten with ``result``, of the same shape and dtype."""
        self._remember(target, self.node(result))
        self._write_back(target)

    def replace(self, t: Tensor, other: Tensor, assign: Callable[[Tensor, Tensor], None]) -> None:
        """Records ``t.data = other``."""
        self.busy = True
        try:
            in_place.replaced(self, t, other, assign)
        finally:
            self.busy = False

    def _write_back(self, t: Tensor) -> None:
        """Updates the tensor that a view shows after a write to the view."""
        written = self.node(t)
        if id(t) in self._aliases:
            self._remember(self._aliases[id(t)], written)
        if id(t) not in self._views and id(t) in self.constants.views:
            self._record_view(t)
            self._nodes[id(t)] = written
        if id(t) not in self._views:
            return
        parent, op, _ = self._views[id(t)]
        before = self.node(parent)
        place = written if op is None else self._overwritten(before, op, written)
        self._remember(parent, place)
        self._views[id(t)] = (parent, op, place)
        self._write_back(parent)

    def _overwritten(self, before: int, view: Op, written: int) -> int:
        whole, new = self.recording.drafts[before].output, self.recording.drafts[written].output
        read = view.reads([whole])
        back = None if read is None else inverse(read[0], whole)
        if back is None:
            op: Op = Gather(whole.shape, whole.dtype, whole.batch_axis, fn="overwrite")
            return self._append(op, (before, written), (whole, new), whole, "overwrite")
        if not any(isinstance(step, Taps) for step in back):  # all of the old elements are overwritten
            return self._append(View("overwrite", back), (written,), (new,), whole, "overwrite")
        self.recording.drafts[written].in_place = True  # in the memory of the whole
        op = Overwrite(back)
        return self._append(op, (before, written), (whole, new), op.output((whole, new)), "overwrite")


def _has_values(t: Tensor, values: Tensor) -> bool:
    """Returns whether a tensor is equal to another in all respects."""
    return t.shape == values.shape and t.dtype == values.dtype and t.numel() > 0 and torch.equal(t, values)


def _agreed(op: Op, values: Sequence[Value], shape: Shape) -> Value | None:
    """Returns the op's own output if it has the shape that torch found, otherwise None."""
    try:
        value = op.output(values)
    except ShapeError:
        return None
    return value if value.shape == shape else None
