"""What a write to a tensor changes: the nodes of the tensor, of what it shows, and of what shows it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

from cnnscope.ir.steps import Taps
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Gather, Overwrite, View
from cnnscope.sources.torch.batches import Twice
from cnnscope.sources.torch.constants import inverse, share_memory
from cnnscope.sources.torch.nodes import Nodes


class Writes(Nodes):
    """Nodes of tensors that may be overwritten, or made to show other memory.

    Inside ``versions`` torch counts no writes to tensors of the model.
    """

    def __init__(self, module: nn.Module, *, real: bool, twice: Twice | None, images: int) -> None:
        super().__init__(module, real=real, twice=twice, images=images)
        self.versions = ExitStack()
        self._kept: set[int] = set()

    def store(self, target: Tensor, result: Tensor) -> None:
        """Records that ``target`` was overwritten with ``result``, of the same shape and dtype."""
        self.remember(target, self.node(result))
        self.write_back(target)

    def write_back(self, t: Tensor) -> None:
        """Updates the tensor that a view shows after a write to the view."""
        written = self.node(t)
        if id(t) in self.aliases:
            self.remember(self.aliases[id(t)], written)
        if id(t) not in self.views and id(t) in self.constants.views:
            self.record_view(t)
            self.places[id(t)] = written
        if id(t) not in self.views:
            return
        parent, op, _ = self.views[id(t)]
        before = self.node(parent)
        place = written if op is None else self._overwritten(before, op, written)
        self.remember(parent, place)
        self.views[id(t)] = (parent, op, place)
        self.write_back(parent)

    def _overwritten(self, before: int, view: Op, written: int) -> int:
        whole, new = self.recording.drafts[before].output, self.recording.drafts[written].output
        read = view.reads([whole])
        back = None if read is None else inverse(read[0], whole)
        if back is None:
            op: Op = Gather(whole.shape, whole.dtype, whole.batch_axis, fn="overwrite")
            return self.append(op, (before, written), (whole, new), whole, "overwrite")
        if not any(isinstance(step, Taps) for step in back):  # all of the old elements are overwritten
            return self.append(View("overwrite", back), (written,), (new,), whole, "overwrite")
        self.recording.drafts[written].in_place = True  # in the memory of the whole
        op = Overwrite(back)
        return self.append(op, (before, written), (whole, new), op.output((whole, new)), "overwrite")

    def keep_versions(self, targets: Sequence[Tensor]) -> None:
        """Makes torch forget after the run that tensors of the model were written to, since copies were. Otherwise
        it would refuse the gradients of an earlier call of the model.
        """
        for t in targets:
            if not t.is_inference() and id(t) not in self._kept:
                self._kept.add(id(t))
                self.alive.append(t)
                self.versions.enter_context(_unsafe_preserve_version_counter(t))

    def stand_in(self, t: Tensor) -> Tensor:
        """Returns another tensor in the memory of ``t`` that stands for what ``t`` stood for. ``t`` is unknown then."""
        other = t.detach()
        tables: tuple[dict[int, Any], ...] = (self.places, self.views, self.keys, self.aliases)
        for table in tables:
            if id(t) in table:
                table[id(other)] = table.pop(id(t))
        if id(t) in self.parameters:
            self.parameters ^= {id(t), id(other)}
        for key, (parent, op, seen) in self.views.items():
            if parent is t:
                self.views[key] = (other, op, seen)
        self.constants.stand_in(t, other)
        self.alive += [t, other]
        return other

    def owner(self, t: Tensor) -> Tensor | None:
        """Returns a tracked tensor in the memory of ``t``."""
        others = (x for x in self.alive if isinstance(x, Tensor) and x is not t and id(x) in self.places)
        return next((x for x in others if share_memory(x, t)), None)
