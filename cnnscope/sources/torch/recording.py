"""Drafts of nodes as a traced run makes them, the rows they belong to, and the graph they become."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from cnnscope.ir import Graph, Node, Param, Value
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Constant, Select, View


@dataclass(slots=True)
class Draft:
    """A node before it has a name: ``inputs`` are places in the list of drafts, ``op`` is None for a network input."""

    op: Op | None
    inputs: tuple[int, ...]
    output: Value
    layer: str
    fn: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A module call under way. ``layer`` is the row its ops belong to, None in a module that has modules inside."""

    module: nn.Module | None
    path: str
    layer: str | None
    start: int


class Recording:
    """Drafts in execution order, named after the modules under way.

    A call of a leaf module is one row, named by the module's path; a function called by any other module is a row of
    its own, named by that module's path and the function. The second of a name is ``name#2``.
    """

    def __init__(self, module: nn.Module) -> None:
        self.drafts: list[Draft] = []
        self.calls = [Call(None, "", None, 0)]
        self.failed: tuple[BaseException, Call] | None = None
        modules = dict(module.named_modules())
        self.weights = named_weights(modules)
        self._paths = {id(m): path for path, m in modules.items()}
        self._scopes = {path: type(m).__name__ for path, m in modules.items() if path and not is_leaf(m)}
        self._taken = set(modules)
        self._times: dict[str, int] = {}

    def enter(self, module: nn.Module) -> None:
        """A module's forward begins."""
        outer = self.calls[-1]
        path, layer = outer.path, outer.layer
        if layer is None:
            path = self._paths.get(id(module), path)
            if path != outer.path and is_leaf(module):
                layer = self._numbered(path, may_be_module=True)
        self.calls.append(Call(module, path, layer, len(self.drafts)))

    def idle(self, module: nn.Module) -> bool:
        """Whether this is a leaf module in which nothing has run, and which is a row of its own."""
        call = self.calls[-1]
        own = call.layer is not None and self.calls[-2].layer is None
        return own and call.module is module and call.start == len(self.drafts)

    def leave(self, error: BaseException | None) -> None:
        """The forward of the module under way is over; by an error, which came from here if nobody has it yet."""
        call = self.calls.pop()
        if error is not None and (self.failed is None or self.failed[0] is not error):
            self.failed = error, call

    def append(
        self, op: Op | None, inputs: tuple[int, ...], output: Value, fn: str,
        params: Mapping[str, str] | None = None, *, layer: str | None = None, in_place: bool = False,
    ) -> int:  # fmt: skip
        """Adds a draft to the row under way and returns its place. ``layer`` names the row of a function call."""
        call = self.calls[-1]
        row = call.layer or self._numbered(layer or (f"{call.path}.{fn}" if call.path else fn))
        self.drafts.append(Draft(op, inputs, output, row, fn, params or {}, in_place))
        return len(self.drafts) - 1

    def _numbered(self, name: str, *, may_be_module: bool = False) -> str:
        while True:
            times = self._times[name] = self._times.get(name, 0) + 1
            row = name if times == 1 else f"{name}#{times}"
            if row not in self._taken or (may_be_module and row == name):
                return row

    def graph(self, name: str, outputs: Iterable[int]) -> Graph:
        """All drafts as a graph. Views, constants and selected outputs that nothing reads are left out."""
        ends = dict.fromkeys(outputs)
        kept = self._needed(ends)
        names = self._names(kept)
        nodes = tuple(
            Node(
                names[i], draft.op, tuple(names[j] for j in draft.inputs), draft.output, draft.params, draft.layer,
                in_place=draft.in_place,
            )
            for i in kept if (draft := self.drafts[i]).op is not None
        )  # fmt: skip
        return Graph(
            name=name,
            inputs={names[i]: self.drafts[i].output for i in kept if self.drafts[i].op is None},
            nodes=nodes,
            outputs=tuple(names[i] for i in ends),
            params={key: _param(t) for key, t in self.weights.items()},
            scopes=self._scopes,
        )

    def _needed(self, ends: Mapping[int, None]) -> list[int]:
        read, kept = set(ends), []
        for i in range(len(self.drafts) - 1, -1, -1):
            draft = self.drafts[i]
            if i in read or not isinstance(draft.op, (View, Constant, Select)):
                read.update(draft.inputs)
                kept.append(i)
        return kept[::-1]

    def _names(self, kept: Sequence[int]) -> dict[int, str]:
        """The row's name where the row is one op, else ``row.function``."""
        rows: dict[str, list[int]] = {}
        for i in kept:
            rows.setdefault(self.drafts[i].layer, []).append(i)
        names, taken = {}, set(rows)
        for row, members in rows.items():
            for i in members:
                wanted = f"{row}.{self.drafts[i].fn}"
                name = row if len(members) == 1 else wanted
                times = 1
                while len(members) > 1 and name in taken:
                    times += 1
                    name = f"{wanted}#{times}"
                taken.add(name)
                names[i] = name
        return names


def is_leaf(module: nn.Module) -> bool:
    """Whether a call of it is one row: no modules inside but those that compute its weights."""
    return not module._modules or module._modules.keys() == {"parametrizations"}


def named_weights(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """All weights, then persistent buffers, by their names in the state dict, tied ones once by the first of them."""
    tables: list[tuple[str, Mapping[str, Tensor | None], Container[str]]] = []
    tables += [(path, m._parameters, ()) for path, m in modules.items()]
    tables += [(path, m._buffers, m._non_persistent_buffers_set) for path, m in modules.items()]
    named: dict[str, Tensor] = {}
    seen: set[int] = set()
    for path, tensors, transient in tables:
        for key, tensor in tensors.items():
            if tensor is not None and key not in transient and id(tensor) not in seen:
                seen.add(id(tensor))
                named[f"{path}.{key}" if path else key] = tensor
    return named


def _param(tensor: Tensor) -> Param:
    is_weight = isinstance(tensor, nn.Parameter)
    return Param(tuple(tensor.shape), dtype_name(tensor), trainable=tensor.requires_grad, buffer=not is_weight)


def dtype_name(tensor: Tensor) -> str:
    """``float32``."""
    return str(tensor.dtype).removeprefix("torch.")
