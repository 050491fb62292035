"""What torch itself says about a module: shapes, MACs, parameters, and the state that a load must not change."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy
from torch.utils.flop_counter import FlopCounterMode

from cnnscope.analysis.cost import known, node_costs
from cnnscope.analysis.summary import summarize
from cnnscope.ir import Graph
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.torch.module import from_module

Arguments = Callable[[int, str], tuple[Any, ...]]
"""The arguments of ``forward`` for a batch of this size on this device."""


def images(batch: int, device: str) -> tuple[Any, ...]:
    """The input of most cases: three channels of 8 x 8."""
    return (torch.rand(batch, 3, 8, 8, device=device),)


def sized(*shapes: tuple[int, ...], whole: bool = False) -> Arguments:
    """Arguments of these shapes behind the batch: random numbers, or zeros if they are ``whole`` numbers."""

    def arguments(batch: int, device: str) -> tuple[Any, ...]:
        make = torch.rand if not whole else lambda *shape, device: torch.zeros(*shape, dtype=torch.int64, device=device)
        return tuple(make(batch, *shape, device=device) for shape in shapes)

    return arguments


@dataclass(frozen=True)
class Totals:
    """What is compared between a graph and torch. ``macs`` are those of the calls that both count."""

    outputs: tuple[tuple[int, ...], ...]
    macs: int
    params: int


def read(module: nn.Module, *inputs: str) -> Graph:
    """The graph of ``module``; notes are not the subject here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return from_module(module, parse_inputs(inputs or ("3x8x8",)))


def found(graph: Graph) -> Totals:
    """What the graph says, which is the same at every level."""
    totals = [summarize(graph, level=level).totals for level in ("layer", "op")]
    assert (totals[0].macs, totals[0].params) == (totals[1].macs, totals[1].params)
    outputs = tuple(graph.value(name).shape for name in graph.outputs)
    return Totals(outputs, known(node_costs(graph).values()).macs or 0, totals[0].params or 0)


def expected(
    make: Callable[[], nn.Module], arguments: Arguments = images, unpack: Callable[[Any], Any] = lambda out: out
) -> Totals:
    """What torch says of a fresh module: shapes of a run on the CPU, MACs of its counter on the meta device.

    The counter runs on the CPU where torch has no meta kernel. ``unpack`` takes the outputs out of their container.
    """
    with torch.no_grad():
        module = make().eval()
        outputs = tuple(tuple(t.shape) for t in tensors(unpack(module(*arguments(1, "cpu")))))
        if not any(map(is_lazy, make().parameters())):  # otherwise what the first run made
            module = make()
    params = sum(p.numel() for p in module.parameters())
    try:
        macs = counted(make().eval().to("meta"), arguments(1, "meta"))
    except Exception:  # noqa: BLE001  # whatever way torch says that it needs values
        macs = counted(make().eval(), arguments(1, "cpu"))
    return Totals(outputs, macs, params)


def counted(module: nn.Module, arguments: tuple[Any, ...]) -> int:
    """MACs by torch's counter, with the products that it leaves out and no kernels that hide some."""
    fast, aten = torch.backends.mha.get_fastpath_enabled(), torch.ops.aten
    left_out: dict[Any, Any] = {
        **dict.fromkeys((aten.mv, aten.dot, aten.vdot), lambda a, b, **_: 2 * prod(a)),
        aten.addbmm: lambda c, a, b, **_: 2 * prod(a) * b[-1],
        aten._trilinear: lambda a, w, b, *_, **__: 2 * a[0] * prod(w),  # each weight meets each pair of vectors once
    }
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            warnings.catch_warnings(action="ignore"), torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False),
            FlopCounterMode(display=False, custom_mapping=left_out) as counter,
        ):  # fmt: skip
            module(*arguments)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops()) // 2


def tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in lists, tuples and dicts, in their order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for part in output.values():
            yield from tensors(part)
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from tensors(part)


def batch_axes(make: Callable[[], nn.Module], arguments: Arguments, unpack: Callable[[Any], Any]) -> list[int | None]:
    """For each output the one axis that three images make three times as long; None where its length was not 1."""
    shapes = []
    for batch in (1, 3):
        with torch.no_grad():
            shapes.append([tuple(t.shape) for t in tensors(unpack(make().eval()(*arguments(batch, "cpu"))))])
    axes: list[int | None] = []
    for one, three in zip(*shapes, strict=True):
        longer = [axis for axis, (a, b) in enumerate(zip(one, three, strict=True)) if a != b]
        assert len(longer) == 1, "no axis of this output is the batch's"
        axes.append(longer[0] if one[longer[0]] == 1 else None)
    return axes


def fingerprint(thing: Any, seen: dict[int, Any] | None = None) -> Any:
    """The identity and content of a module and of everything in it, however its containers behave."""
    seen = {} if seen is None else seen
    if isinstance(thing, Tensor):
        if is_lazy(thing):
            return ("lazy", id(thing))
        version = None if thing.is_inference() else thing._version
        values = None if thing.is_meta else thing.detach().clone()
        own = (None if values is None else values.nan_to_num().tolist(), thing.dtype, thing.requires_grad)
        return ("tensor", id(thing), version, *own, id(thing.grad))
    if id(thing) in seen:
        return ("seen", id(thing))
    content: Any = None
    seen[id(thing)] = thing  # also keeps it alive, so that no id is used twice
    if isinstance(thing, dict):
        content = [(fingerprint(k, seen), fingerprint(v, seen)) for k, v in dict.items(thing)]
    elif isinstance(thing, list):
        content = [fingerprint(item, seen) for item in list.__iter__(thing)]
    elif isinstance(thing, tuple):
        content = [fingerprint(item, seen) for item in tuple.__iter__(thing)]
    elif isinstance(thing, deque):
        content = (thing.maxlen, [fingerprint(item, seen) for item in deque.__iter__(thing)])
    elif isinstance(thing, set):
        content = sorted(map(id, set.__iter__(thing)))
    elif isinstance(thing, (bytearray, str, int, float, bytes)):
        return (type(thing), id(thing) if isinstance(thing, bytearray) else 0, str(thing))
    attributes = None
    if isinstance(thing, nn.Module) or type(thing).__module__ not in ("builtins", "torch"):
        attributes = [(k, fingerprint(v, seen)) for k, v in getattr(thing, "__dict__", {}).items()]
    return (type(thing), id(thing), content, attributes)
