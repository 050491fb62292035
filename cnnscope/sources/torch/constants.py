"""Constants: what a traced run computes from neither its input nor a parameter (masks, grids of coordinates, index
tables).

They are computed for real on the CPU, so that code which reads their values works, unless they are very large or come
from buffers without values. Nothing of the model is overwritten: its tensors are copied before a call that writes to
them or shares their memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnscope.ir import Value
from cnnscope.ir.steps import Permute, Reshape, Step, Taps
from cnnscope.ops.call import Held, Literal, Operand
from cnnscope.ops.traced import moved
from cnnscope.sources.torch.calls import UnknownOperandError, literal
from cnnscope.sources.torch.recording import dtype_name
from cnnscope.sources.torch.rules import PLAIN, Lowering, tensors, written

_RESHAPES = {"view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "unflatten", "expand"}
LARGEST = 2**24
"""The most elements of a constant that is computed for real. A larger one has no values."""
META, CPU = torch.device("meta"), torch.device("cpu")


class Constants:
    """The constants of one run.

    ``own_key`` returns the name of a buffer, ``to_meta`` removes the values from arguments, ``is_stored`` says whether
    a state dict has the buffer of a name. If the module is a ``copy`` for this run only, its tensors may be
    overwritten.
    """

    def __init__(
        self, own_key: Callable[[Tensor], str | None], to_meta: Callable[[Any], Any],
        is_stored: Callable[[str], bool], *, copy: bool = False,
    ) -> None:  # fmt: skip
        self._copy_of_module, self._is_stored = copy, is_stored
        self.views: dict[int, tuple[Tensor, Lowering, Sequence[Any], Mapping[str, Any]]] = {}
        self._own_key, self._to_meta = own_key, to_meta
        self._made: dict[int, Tensor] = {}
        self._keys: dict[int, tuple[str, ...]] = {}
        self._overwritten: set[int] = set()
        self._drawn: set[int] = set()
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}  # with the original, so that its id is not used again

    def call(self, func: Any, rule: Lowering, args: Any, kwargs: Any) -> Any:
        """Returns the result of a call on constants."""
        given = tensors(args, kwargs)
        targets = written(rule, args, kwargs)
        for target in targets:
            self._copy(target)
            self._overwrite(target)
        out = self._compute(func, args, kwargs)
        if rule.in_place:
            if _draws(func) or any(map(self.is_drawn, given)):
                self._drawn.update(id(t) for t in self._made.values() if share_memory(t, self._copied(targets[0])))
            return targets[0]
        borrowed = [t for t in given if self.is_borrowed(t) and any(share_memory(t, o) for o in tensors((out,), {}))]
        if borrowed:
            for t in borrowed:
                self._copy(t)
            out = self._compute(func, args, kwargs)
        keys = tuple(dict.fromkeys(key for t in given for key in self.keys(t)))
        drawn = _draws(func) or any(map(self.is_drawn, given))
        for t in tensors((out,), {}):
            self.add(t)
            if drawn:
                self._drawn.add(id(t))
            if keys:
                self._keys[id(t)] = keys
            if rule.view and isinstance(out, Tensor) and t is not args[0]:
                self.views[id(t)] = (args[0], rule, args[1:], kwargs)
        return out

    def make(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Returns a new tensor (``torch.zeros``, ``x.new_ones``) with values, unless it is too large."""
        size = func(*args, **{**kwargs, "device": META})
        made = size if size.numel() > LARGEST else func(*args, **{**kwargs, "device": CPU})
        if _draws(func):
            self._drawn.add(id(made))
        return made

    def add(self, t: Tensor) -> Tensor:
        """Adds a tensor that this run made to its constants, and returns it."""
        self._made[id(t)] = t
        return t

    def is_drawn(self, t: Tensor) -> bool:
        """Returns whether the numbers of a constant are random ones, which are others in the next run."""
        return id(t) in self._drawn

    def keys(self, t: Tensor) -> tuple[str, ...]:
        """Returns the keys of the buffers that a constant is, or was computed from."""
        key = self._own_key(t)
        return (key,) if key else self._keys.get(id(t), ())

    def literal(self, t: Tensor) -> Literal | None:
        """Returns a constant with its elements as they are now; None if they are unknown, too many, drawn at random, or
        those of a buffer of real numbers, which a weight file may have.
        """
        if self.is_drawn(t):
            return None
        stored = t.is_floating_point() and any(map(self._is_stored, self.keys(t)))
        return None if stored else literal(self._copied(t))

    def operand(self, t: Tensor, roles: Mapping[str, str]) -> Operand:
        """Returns what a constant is to a node that has buffers with these ``roles`` by their key.

        Raises `UnknownOperandError` if its elements are unknown.
        """
        whole = self._whole(t)
        key = self._own_key(whole) if id(whole) not in self._overwritten else None
        if key is not None and key in roles:
            return Held(roles[key], tuple(whole.shape), None if whole is t else tuple(t.shape), dtype_name(t))
        known = self.literal(t)
        if known is None:
            raise UnknownOperandError
        return known

    def _whole(self, t: Tensor) -> Tensor:
        """Returns the tensor of which ``t`` shows all elements in their order, in another shape."""
        while (
            id(t) in self.views and self.views[id(t)][1].name in _RESHAPES and t.numel() == self.views[id(t)][0].numel()
        ):
            t = self.views[id(t)][0]
        return t

    def reshaped(
        self, t: Tensor, before: Tensor, rule: Lowering, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Notes that ``t``, which was what ``before`` is, has become its view by ``rule``."""
        self.add(t)
        if rule.record is not None:
            self.views[id(t)] = (before, rule, args, kwargs)
        if keys := self.keys(before):
            self._keys[id(t)] = keys

    def stand_in(self, t: Tensor, other: Tensor) -> None:
        """Makes ``other`` the constant that ``t`` was."""
        tables: tuple[dict[int, Any], ...] = (self.views, self._made, self._keys, self._copies)
        for table in tables:
            if id(t) in table:
                table[id(other)] = table.pop(id(t))
        for key, (parent, rule, args, kwargs) in self.views.items():
            if parent is t:
                self.views[key] = (other, rule, args, kwargs)

    def is_known(self, t: Tensor) -> bool:
        """Returns whether a call of torch made the tensor in this run."""
        return id(t) in self._made or id(t) in self._copies

    def is_borrowed(self, t: Tensor) -> bool:
        """Returns whether the memory of a tensor belongs to the user's model, not to this run."""
        return not self._copy_of_module and id(t) not in self._made and id(t) not in self._copies

    def _copy(self, t: Tensor) -> None:
        """Makes the run use a copy of the tensor from here on."""
        if self.is_borrowed(t):
            # torch treats a view of it as a view of `t`, which is no inference tensor
            with torch.inference_mode(False):
                self._copies[id(t)] = t.detach().to(META if t.is_meta else CPU, copy=True), t

    def _overwrite(self, t: Tensor) -> None:
        """Notes whose numbers a write to the tensor changes: those of every tensor in its memory."""
        for one, (copy, _) in self._copies.items():
            if share_memory(copy, self._copied(t)):
                self._overwritten.add(one)

    def _compute(self, func: Any, args: Any, kwargs: Any) -> Any:
        args = [self._copied(a) for a in args]
        kwargs = {name: self._copied(a) for name, a in kwargs.items()}
        given = tensors(args, kwargs)
        if any(t.is_meta for t in given):
            return func(*map(self._to_meta, args), **{name: self._to_meta(a) for name, a in kwargs.items()})
        if not given and "device" in kwargs:
            return self.make(func, args, kwargs)
        return func(*map(to_cpu, args), **{name: to_cpu(a) for name, a in kwargs.items()})

    def _copied(self, a: Any) -> Any:
        if type(a) in PLAIN:
            return a
        if isinstance(a, Tensor):
            return self._copies[id(a)][0] if id(a) in self._copies else a
        return [self._copied(item) for item in a] if isinstance(a, (list, tuple)) else a


def _draws(func: Any) -> bool:
    """Returns whether a function draws its result at random."""
    return torch.Tag.nondeterministic_seeded in func.tags


def to_cpu(a: Any) -> Any:
    """Returns an argument of a call that is to run on the CPU."""
    return CPU if isinstance(a, torch.device) else a


def share_memory(a: Tensor, b: Tensor) -> bool:
    """Returns whether two tensors are in the same storage."""
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata)


def inverse(steps: Sequence[Step], whole: Value) -> tuple[Step, ...] | None:
    """Returns the steps that move each element of a view (``steps`` of ``whole``) back to its place in
    ``whole``.

    None if the view shows an element in more than one place.
    """
    back: list[Step] = []
    for i, step in enumerate(steps):
        before = moved(whole, steps[:i]).shape
        match step:
            case Reshape():
                back.append(Reshape(before))
            case Permute(order=order):
                back.append(Permute(tuple(order.index(axis) for axis in range(len(order)))))
            case Taps(axis=axis, n=n, taps=((start,),)) if n > 0:
                phases = tuple((((o - start) // n,) if (o - start) % n == 0 else ()) for o in range(n))
                back.append(Taps(axis, before[axis], 1, phases))
            case _:
                return None
    return tuple(reversed(back))
