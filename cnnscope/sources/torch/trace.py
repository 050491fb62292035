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
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from cnnscope.ops.movement import Identity
from cnnscope.ops.norm import LRN
from cnnscope.sources.torch import in_place
from cnnscope.sources.torch.batches import Twice
from cnnscope.sources.torch.completion import complete, places_of
from cnnscope.sources.torch.constants import META, share_memory, to_cpu
from cnnscope.sources.torch.refusals import is_own, lacks_values
from cnnscope.sources.torch.rules import PLAIN, Lowering, lowering, tensors, unsupported, written
from cnnscope.sources.torch.values_read import ValuesRead
from cnnscope.sources.torch.writes import Writes


class DataDependentError(Exception):
    """The model cannot run without values, or not as the user's own module."""


class Trace(Writes, TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, without types
    """Records everything that runs inside ``with trace:``. If ``real``, tracked tensors have values.

    ``images`` are in the batch; ``twice`` is a run of twice as many.
    """

    def __init__(self, module: nn.Module, *, real: bool = False, twice: Twice | None = None, images: int = 1) -> None:
        TorchDispatchMode.__init__(self)  # type: ignore[no-untyped-call]  # likewise
        Writes.__init__(self, module, real=real, twice=twice, images=images)
        self.real = real
        self.busy = False
        self.sizes: Sequence[int] = ()
        self.takes_values: str | None = None
        self.failing: tuple[Exception, str, Sequence[Any], Mapping[str, Any]] | None = None
        self._rules: dict[int, Lowering] = {}
        self._twins: dict[int, Tensor] = {}
        self._values_read = ValuesRead()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Tells torch that it need not switch its compiler off for each call: nothing is compiled during a run."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before, self.busy = self.busy, True  # shapes are plain numbers in here
        rule = self._rules.get(id(func)) or self._rules.setdefault(id(func), lowering(func))
        try:
            if rule.targets:
                self.keep_versions(written(rule, args, kwargs or {}))
            return self._call(func, rule, args, kwargs or {})
        except Exception as error:
            if self.failing is None or self.failing[0] is not error:
                self.failing = error, rule.name, args, kwargs or {}
            raise
        finally:
            self.busy = before

    def _call(self, func: Any, rule: Lowering, args: Any, kwargs: Any) -> Any:
        given = tensors(args, kwargs)
        for t in given if self._values_read else ():
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
            start, before = len(self.recording.drafts), places_of(self, given)
            result = rule.instead(self, func, *args, **kwargs)
            complete(self, rule, args, kwargs, result, start, before)
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
                self.write_back(target)
        if rule.view and isinstance(out, Tensor) and out is not args[0] and id(out) in self.places:
            place = self.places[id(out)]  # a view by a rule that does not know where its elements are
            self.views.setdefault(id(out), (args[0], self.recording.drafts[place].op, self.node(args[0])))
        return out if result is None else result

    def _recorded(self, rule: Lowering, out: Any, args: Any, kwargs: Any, given: Sequence[Tensor]) -> Any:
        """Calls a rule. A rule that fails is a fault of cnnscope, not of the model: its call counts as unsupported."""
        assert rule.record is not None
        start, before = len(self.recording.drafts), places_of(self, given)
        try:
            result = rule.record(self, out, *args, **kwargs)
            complete(self, rule, args, kwargs, out, start, before)
        except Exception as error:
            if not is_own(error):
                raise
            self.take_back(start)
            unsupported(self, out, rule.name, given)
            return None
        return result

    def record_view(self, t: Tensor) -> None:
        """Records a view that was made of a constant which has become a node since."""
        parent, rule, args, kwargs = self.constants.views[id(t)]
        if rule.record is None:
            unsupported(self, t, rule.name, [parent])
        else:
            start, before = len(self.recording.drafts), places_of(self, [parent, *tensors(args, kwargs)])
            rule.record(self, t, parent, *args, **kwargs)
            complete(self, rule, (parent, *args), kwargs, t, start, before)

    # -- without values -----------------------------------------------------------------------------------------

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
            return func(*map(self.to_meta, args), **{name: self.to_meta(a) for name, a in kwargs.items()})
        except Exception as error:
            if lacks_values(error):
                raise self._refusal(f"`{func._schema.name.partition('::')[2]}` has no shape without values") from error
            raise

    def to_meta(self, a: Any) -> Any:
        """Returns an argument of a call without values: a meta tensor of the same shape for a tensor."""
        if type(a) in PLAIN:
            return a
        if isinstance(a, Tensor):
            return a if a.is_meta else self._twin(a)
        if isinstance(a, (list, tuple)):
            return [item if type(item) in PLAIN else self.to_meta(item) for item in a]
        return META if isinstance(a, torch.device) else a

    def _twin(self, t: Tensor) -> Tensor:
        if id(t) not in self._twins:
            # torch treats a view of it as a view of `t`, which is no inference tensor
            with torch.inference_mode(False):
                self._twins[id(t)] = torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=META)
            self.alive.append(t)
        return self._twins[id(t)]

    def noted(self, t: Tensor) -> None:
        """Notes that code outside of torch (NumPy, Python's own lists) has all values of a tensor."""
        if self.real and not self.busy and self.tracked(t):
            self._values_read.note(t)

    def _returned(self, t: Tensor) -> None:
        """Records a tensor that was made in the run, but by no call of torch (``from_numpy``, ``tensor``), once values
        were read: it is one of the tensors that were read if it has its values; else it may depend on all of them.
        """
        if self.tracked(t) or not t.is_inference() or id(t) in self.weights or self.constants.is_known(t):
            return
        source = self._values_read.source(t)
        if source is None:
            unsupported(self, t, "values_read", self._values_read.tensors())
        else:
            self.same(t, source)

    def keep(self, t: Tensor, function: str) -> None:
        """Raises the error of `takes_a_copy` if a tensor is the model's own and the run is not of a copy."""
        own = id(t) in self.keys or not t.is_inference() or (not self.tracked(t) and self.constants.is_borrowed(t))
        if own and not self.real:
            raise self.takes_a_copy(function)

    def shares_memory(self, out: Tensor, x: Tensor) -> bool:
        """Returns whether ``out``, computed by this run from ``x``, is a view of it."""
        return share_memory(out, self._twins.get(id(x), x))

    def forget(self, t: Tensor) -> None:
        """Drops what was noted of the shape of a tensor, which has changed."""
        self._twins.pop(id(t), None)

    # -- whole modules -------------------------------------------------------------------------------------------

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

    def replace(self, t: Tensor, other: Tensor, assign: Callable[[Tensor, Tensor], None]) -> None:
        """Records ``t.data = other``."""
        self.busy = True
        try:
            in_place.replaced(self, t, other, assign)
        finally:
            self.busy = False
