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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cnnscope.errors import ShapeError
from cnnscope.ir import Intent, Kind, Shape, Value
from cnnscope.ir.builder import settled
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ir.steps import Taps
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Constant, Overwrite, Parameter, Unsupported, View
from cnnscope.ops.movement import Identity
from cnnscope.ops.traced import kind_of
from cnnscope.sources.torch.constants import META, Constants, inverse, share_memory
from cnnscope.sources.torch.recording import Recording, dtype_name
from cnnscope.sources.torch.rules import Lowering, lowering, tensors, unsupported, written


class DataDependentError(Exception):
    """The model reads values that a run without values does not have."""


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, without types
    """Records everything that runs inside ``with trace:``. If ``real``, tracked tensors have values."""

    def __init__(self, module: nn.Module, *, real: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.real = real
        self.busy = False
        self.sizes: Sequence[int] = ()
        self.recording = Recording(module)
        self.constants = Constants(self.key, self._to_meta)
        self.data_dependent: str | None = None
        self._keys = {id(t): key for key, t in self.recording.weights.items()}
        self._parameters = {id(t) for t in self.recording.weights.values() if isinstance(t, nn.Parameter)}
        self._aliases: dict[int, Tensor] = {}
        self._parameter_nodes: dict[str, int] = {}
        self._nodes: dict[int, int] = {}
        self._views: dict[int, tuple[Tensor, Op | None, int]] = {}
        self._twins: dict[int, Tensor] = {}
        self._alive: list[Any] = []  # keeps the tensors of the dicts above alive, since ids of dead ones are used again

    # -- every call -------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before, self.busy = self.busy, True  # shapes are plain numbers in here
        try:
            return self._call(func, lowering(func), args, kwargs or {})
        finally:
            self.busy = before

    def _call(self, func: Any, rule: Lowering, args: Any, kwargs: Any) -> Any:
        if not any(map(self.tracked, tensors(args, kwargs))):
            if rule.dynamic and any(t.is_meta for t in tensors(args, kwargs)):
                raise self.depends_on_data(rule.name)
            return self.constants.call(func, rule, args, kwargs)
        if rule.instead is not None:
            return rule.instead(self, func, *args, **kwargs)
        if rule.dynamic and not self.real:
            raise self.depends_on_data(rule.name)
        if rule.record is None and rule.composite:
            with self:
                return func.decompose(*args, **kwargs)
        return self._tracked_call(func, rule, args, kwargs)

    def _tracked_call(self, func: Any, rule: Lowering, args: Any, kwargs: Any) -> Any:
        out = None if rule.shortcut is None or self.real else rule.shortcut(*args, **kwargs)
        if out is None:
            out = self.run(func, args, kwargs)
        target = written(rule, args, kwargs)
        if target is not None:
            out = target
            kwargs = {name: a for name, a in kwargs.items() if name != "out"}
        result = None
        if rule.record is not None:
            result = rule.record(self, out, *args, **kwargs)
        elif next(tensors((out,), {}), None) is not None:
            unsupported(self, out, rule.name, tensors(args, kwargs))
        if target is not None:
            self._write_back(target)
        return out if result is None else result

    def depends_on_data(self, function: str) -> DataDependentError:
        """Returns the error to raise. It is also stored, because the model may catch it."""
        self.data_dependent = function
        return DataDependentError(function)

    def run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Returns the result of a call, without values unless the run is real."""
        if self.real:
            return func(*args, **kwargs)
        return func(*map(self._to_meta, args), **{name: self._to_meta(a) for name, a in kwargs.items()})

    def _to_meta(self, a: Any) -> Any:
        if isinstance(a, Tensor):
            return a if a.is_meta else self._twin(a)
        if isinstance(a, (list, tuple)):
            return [self._to_meta(item) for item in a]
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

    # -- which node a tensor is -------------------------------------------------------------------------------------

    def tracked(self, t: Tensor) -> bool:
        """Returns whether a tensor depends on the input or a parameter."""
        if id(t) in self._nodes or id(t) in self._parameters:
            return True
        view = self.constants.views.get(id(t))
        return view is not None and self.tracked(view[0])

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

    def sibling(self, t: Tensor, name: str) -> Tensor | None:
        """Returns the parameter or buffer called ``name`` in the module that has ``t``."""
        scope = (self.key(t) or "").rpartition(".")[0]
        return self.recording.weights.get(f"{scope}.{name}" if scope else name)

    def shares_memory(self, out: Tensor, x: Tensor) -> bool:
        """Returns whether ``out``, computed by this run from ``x``, is a view of it."""
        return share_memory(out, self._twins.get(id(x), x))

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
            constant = Constant(shape, dtype)
            return self._remember(t, self.recording.append(constant, (), constant.output(()), "constant", keys))
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
            rule.record(self, t, parent, *args, **kwargs)

    def _remember(self, t: Tensor, place: int) -> int:
        self._nodes[id(t)] = place
        self._alive.append(t)
        return place

    # -- recording --------------------------------------------------------------------------------------------------

    def feed(self, t: Tensor, name: str) -> None:
        """Makes a tensor a network input."""
        shape = tuple(t.shape)
        kind: Kind = "map" if len(shape) > 2 and t.is_floating_point() else kind_of(shape, 0)
        self._remember(t, self.recording.append(None, (), Value(shape, dtype_name(t), 0, kind), name))

    def emit(
        self, op: Op, inputs: Sequence[Tensor], out: Tensor, params: Mapping[str, Tensor | None] | None = None,
        fn: str = "", keys: Mapping[str, str] | None = None, *, intent: Intent = NO_INTENT, like: int | None = None,
    ) -> None:  # fmt: skip
        """Records that ``out`` is ``op`` of ``inputs``; ``fn`` is its name.

        ``params`` are its weights by role, ``keys`` further buffers from which constants in it were computed. ``like``
        is the place of the node whose size the output takes.
        """
        places = tuple(map(self.node, inputs))
        values = [self.recording.drafts[place].output for place in places]
        shape, dtype = tuple(out.shape), dtype_name(out)
        value = _agreed(op, values, shape)
        if value is None:  # the shape that torch computes decides
            op = Unsupported(shape, dtype, fn=fn or op.tag)
            value = op.output(values)
        value = settled(op, value if value.dtype == dtype else replace(value, dtype=dtype))
        keys = {role: key for role, t in (params or {}).items() if (key := self.key(t)) is not None} | dict(keys or {})
        in_place = bool(inputs) and inputs[0] is out
        place = self.recording.append(
            op, places, value, fn or op.tag, keys, in_place=in_place, intent=intent, like=like
        )
        self._remember(out, place)
        if op.is_view and not in_place and len(places) == 1:
            self._views[id(out)] = (inputs[0], op, places[0])

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

    # -- writes -----------------------------------------------------------------------------------------------------

    def _write_back(self, t: Tensor) -> None:
        """Updates the tensor that a view shows after a write to the view."""
        written = self.node(t)
        if id(t) in self._aliases:
            self._remember(self._aliases[id(t)], written)
        if id(t) not in self._views and id(t) in self.constants.views:
            self._record_view(t)
            self._nodes[id(t)] = written
        if id(t) not in self._views or isinstance(self.recording.drafts[written].op, View):
            return
        parent, op, _ = self._views[id(t)]
        before = self.node(parent)
        place = written if op is None else self._overwritten(before, op, written)
        self._remember(parent, place)
        self._views[id(t)] = (parent, op, place)
        self._write_back(parent)

    def _overwritten(self, before: int, view: Op, written: int) -> int:
        whole = self.recording.drafts[before].output
        (steps,) = view.reads([whole]) or ((),)
        back = inverse(steps, whole)
        if back is None:
            op: Op = Unsupported(whole.shape, whole.dtype, whole.batch_axis, fn="overwrite")
            return self.recording.append(op, (before, written), whole, "overwrite")
        if not any(isinstance(step, Taps) for step in back):  # all of the old elements are overwritten
            return self.recording.append(View("overwrite", back), (written,), whole, "overwrite")
        return self.recording.append(Overwrite(back), (before, written), whole, "overwrite")


def _agreed(op: Op, values: Sequence[Value], shape: Shape) -> Value | None:
    """Returns the op's own output if it has the shape that torch found, otherwise None."""
    try:
        value = op.output(values)
    except ShapeError:
        return None
    return value if value.shape == shape else None
