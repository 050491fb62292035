"""Drafts of nodes during a traced run, the rows they belong to, and the graph they become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cnnscope.ir import Graph, Intent, Node, Param, Value
from cnnscope.ir.builder import Builder, Names
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ops.base import Op
from cnnscope.ops.call import LARGEST
from cnnscope.ops.generic import Constant, Select, View
from cnnscope.ops.product import ComputedConv, ComputedTransposedConv
from cnnscope.ops.traced import Traced


@dataclass(slots=True)
class Draft:
    """A node before it has a name. ``inputs`` are places in the list of drafts; ``op`` is None for a network
    input.

    ``like`` is the place of the draft whose size this one takes; `graph` adds its name to the ``intent``. ``lost`` as
    in `Node`.
    """

    op: Op | None
    inputs: tuple[int, ...]
    output: Value
    layer: str
    fn: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    in_place: bool = False
    intent: Intent = NO_INTENT
    like: int | None = None
    lost: tuple[str, ...] = ()


class Call(NamedTuple):
    """A module call under way. ``layer`` is the row of its ops; None in a module that has modules inside.

    ``args`` are the arguments without names that it was called with.
    """

    module: nn.Module | None
    path: str
    layer: str | None
    start: int
    args: tuple[Any, ...] = ()


class Recording:
    """Drafts in execution order, named after the modules under way.

    A call of a leaf module is one row, named by the path of the module. A function called by any other module is a row
    of its own, named by the path of that module and the function. The second row of a name is ``name#2``.
    """

    def __init__(self, module: nn.Module) -> None:
        self.drafts: list[Draft] = []
        self.calls = [Call(None, "", None, 0)]
        self.failed: tuple[BaseException, Call] | None = None
        modules = dict(module.named_modules())
        self.weights = named_weights(modules)
        self._params = {
            key: _param(key, t, modules) for key, t in self.weights.items()
        }  # before a run on a copy changes them
        self._paths = {id(m): path for path, m in modules.items()}
        self._scopes = {path: type(m).__name__ for path, m in modules.items() if path and not is_leaf(m)}
        self._rows = Names(modules)

    def is_stored(self, key: str) -> bool:
        """Whether a state dict has the parameter or buffer."""
        return self._params[key].persistent

    def enter(self, module: nn.Module, args: tuple[Any, ...] = ()) -> None:
        """A module's forward begins."""
        outer = self.calls[-1]
        path, layer = outer.path, outer.layer
        if layer is None:
            path = self._paths.get(id(module), path)
            if path != outer.path and is_leaf(module):
                layer = self._rows.claim(path)
        self.calls.append(Call(module, path, layer, len(self.drafts), args))

    def idle(self, module: nn.Module) -> bool:
        """Returns whether the module is a leaf and a row of its own, and nothing has run in it."""
        call = self.calls[-1]
        own = call.layer is not None and self.calls[-2].layer is None
        return own and call.module is module and call.start == len(self.drafts)

    def leave(self, error: BaseException | None) -> None:
        """Ends the forward of the module under way. An error counts as raised here unless an inner module had
        it already.
        """
        call = self.calls.pop()
        if error is not None and (self.failed is None or self.failed[0] is not error):
            self.failed = error, call

    def append(
        self, op: Op | None, inputs: tuple[int, ...], output: Value, fn: str,
        params: Mapping[str, str] | None = None, *, layer: str | None = None, in_place: bool = False,
        intent: Intent = NO_INTENT, like: int | None = None,
    ) -> int:  # fmt: skip
        """Adds a draft to the row under way and returns its place. ``layer`` names the row of a function call."""
        call = self.calls[-1]
        row = call.layer or self._rows.unique(layer or (f"{call.path}.{fn}" if call.path else fn))
        self.drafts.append(
            Draft(
                op, inputs, output, row, fn=fn, params=params or {}, in_place=in_place, intent=intent, like=like,
            )
        )  # fmt: skip
        return len(self.drafts) - 1

    def graph(self, name: str, outputs: Iterable[int]) -> Graph:
        """Returns all drafts as a graph, without views, constants, selected outputs and checks that nothing reads.

        A node is named like its row if the row is one op, otherwise ``row.function``.
        """
        ends = dict.fromkeys(outputs)
        kept = self.needed(ends)
        members = Counter(self.drafts[i].layer for i in kept)
        builder = Builder(name, scopes=self._scopes, taken=Names(members))
        names: dict[int, str] = {}
        for i in kept:
            draft = self.drafts[i]
            alone = members[draft.layer] == 1
            names[i] = draft.layer if alone else builder.unique(f"{draft.layer}.{draft.fn}")
            if draft.op is None:
                builder.input(names[i], draft.output)
                continue
            sources = tuple(names[j] for j in draft.inputs)
            intent = replace(draft.intent, like=names[draft.like]) if draft.like in names else draft.intent
            builder.add(
                Node(
                    names[i], draft.op, sources, draft.output, draft.params, layer=draft.layer,
                    in_place=draft.in_place, intent=intent, lost=draft.lost,
                )
            )  # fmt: skip
        for key, param in self._params.items():
            builder.param(key, param)
        return _without_groups(builder.graph(names[i] for i in ends))

    def rows(self, places: Container[int], ends: Iterable[int]) -> list[str]:
        """Returns the rows of the drafts at ``places`` on which an output depends."""
        read, found = set(ends), []
        for i in range(len(self.drafts) - 1, -1, -1):
            if i in read:
                read.update(self.drafts[i].inputs)
                found.append(i)
        return list(dict.fromkeys(self.drafts[i].layer for i in reversed(found) if i in places))

    def needed(self, ends: Iterable[int]) -> list[int]:
        """Returns the places of the drafts that become part of the graph."""
        read, kept = set(ends), []
        for i in range(len(self.drafts) - 1, -1, -1):
            draft = self.drafts[i]
            if i in read or not (isinstance(draft.op, (View, Constant, Select)) or (ends and self._only_checks(draft))):
                read.update(draft.inputs)
                kept.append(i)
        return kept[::-1]

    def _only_checks(self, draft: Draft) -> bool:
        """Returns whether an op that nothing reads is arithmetic without weights and products: a check of values, the
        statistics of an observer.
        """
        if not isinstance(draft.op, Traced) or draft.params:
            return False
        return not draft.op.macs([self.drafts[place].output for place in draft.inputs])


def _without_groups(graph: Graph) -> Graph:
    """Returns the graph in which convolutions of a batch that is among the channels say that they lack ``groups``.

    A kernel for each image takes as many groups as there are images, which a run of one image does not show.
    """
    found = {node.name for node in graph.nodes if isinstance(node.op, (ComputedConv, ComputedTransposedConv))}
    found = {name for name in found if _is_folded(graph, graph.node(name).inputs[0])}
    if not found:
        return graph
    nodes = (replace(node, lost=(*node.lost, "groups")) if node.name in found else node for node in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


def _is_folded(graph: Graph, name: str) -> bool:
    """Returns whether a tensor of a single map has the images of a batch, but no axis for them alone."""
    value = graph.value(name)
    return value.batch_axis is None and value.shape[0] == 1 and name in graph.per_image


def is_leaf(module: nn.Module) -> bool:
    """Returns whether a call of the module is one row: it has no modules inside except those that compute its
    weights, or that round its weights and output for quantisation-aware training.
    """
    return not module._modules or module._modules.keys() <= _INSIDE


_INSIDE = {"parametrizations", "weight_fake_quant", "activation_post_process"}


def named_weights(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Returns all weights, then all buffers, by their names in the module. Tied ones have the first of their names."""
    tables: list[tuple[str, Mapping[str, Tensor | None]]] = [(path, m._parameters) for path, m in modules.items()]
    tables += [(path, m._buffers) for path, m in modules.items()]
    named: dict[str, Tensor] = {}
    seen: set[int] = set()
    for path, tensors in tables:
        for key, tensor in tensors.items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                named[f"{path}.{key}" if path else key] = tensor
    return named


def _param(key: str, tensor: Tensor, modules: Mapping[str, nn.Module]) -> Param:
    path, _, name = key.rpartition(".")
    persistent = name not in modules[path]._non_persistent_buffers_set
    return Param(
        tuple(tensor.shape), dtype_name(tensor), trainable=tensor.requires_grad,
        buffer=not isinstance(tensor, nn.Parameter), persistent=persistent,
        data=data_of(tensor) if is_known(tensor, persistent=persistent) else None,
    )  # fmt: skip


def is_known(tensor: Tensor, *, persistent: bool) -> bool:
    """Returns whether a graph keeps the numbers of a tensor: those of buffers that no state dict has, and tables of
    places, which are what they are with any weights.
    """
    table = not tensor.is_floating_point() and not tensor.is_complex() and tensor.dim() > 0
    return (table or not persistent) and not tensor.is_meta and tensor.numel() <= LARGEST


def data_of(t: Tensor) -> bytes:
    """Returns the elements of a tensor as the machine stores them, in row-major order."""
    plain = t.detach().cpu().contiguous().reshape(-1)
    return bytes(plain.view(torch.uint8).numpy()) if plain.numel() else b""


def dtype_name(tensor: Tensor) -> str:
    """Returns the dtype as the graph writes it: ``float32``."""
    return _dtype_name(tensor.dtype)


@cache
def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
