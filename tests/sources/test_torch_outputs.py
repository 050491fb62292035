"""What a module may return: any container, none of whose own code runs."""

from __future__ import annotations

from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, NoReturn

import pytest
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.torch.module import from_module


class Returning(nn.Module):
    def __init__(self, make: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.make = nn.Conv2d(3, 4, 1), make

    def forward(self, x: Tensor) -> Any:
        return self.make(self, self.conv(x))


def refuse(*args: Any) -> NoReturn:
    raise AssertionError("code of the output's own class runs")


class HostileList(list[Any]):
    __iter__ = __len__ = __getitem__ = refuse  # type: ignore[assignment]


class HostileDict(dict[str, Any]):
    __iter__ = __len__ = __getitem__ = values = items = keys = refuse  # type: ignore[assignment]


class HostileMapping(Mapping[str, Any]):
    def __init__(self, y: Tensor) -> None:
        self.inner = {"y": y}

    __iter__ = __len__ = __getitem__ = refuse  # type: ignore[assignment]


class Slotted:
    __slots__ = ("empty", "y")

    def __init__(self, y: Tensor) -> None:
        self.y = y

    def __iter__(self) -> Iterator[Tensor]:
        while True:  # never asked
            yield self.y


class Holding:
    """An output that holds the module that made it."""

    def __init__(self, module: nn.Module, y: Tensor) -> None:
        self.module, self.forward, self.kind, self.y, self.myself = module, module.forward, type(module), y, self


@dataclass(slots=True)
class Result:
    y: Tensor
    label: str = "a"


Pair = namedtuple("Pair", "y other")  # models have them


def circle(y: Tensor) -> list[Any]:
    out: list[Any] = [y]
    out.append(out)
    return out


def later(y: Tensor) -> Iterator[Tensor]:
    yield y


def endless(y: Tensor) -> Iterator[Tensor]:
    while True:
        yield y


OUTPUTS: dict[str, Callable[[Any, Tensor], Any]] = {
    "frozenset": lambda m, y: frozenset([y]), "set": lambda m, y: {y}, "deque": lambda m, y: deque([y]),
    "hostile list": lambda m, y: HostileList([y]), "hostile dict": lambda m, y: HostileDict(y=y),
    "hostile mapping": lambda m, y: HostileMapping(y), "slots": lambda m, y: Slotted(y), "holding": Holding,
    "dataclass": lambda m, y: Result(y), "namedtuple": lambda m, y: Pair(y, None), "circle": lambda m, y: circle(y),
    "user dict": lambda m, y: UserDict(y=y), "ordered": lambda m, y: OrderedDict(y=y),
    "proxy": lambda m, y: MappingProxyType({"y": y}), "namespace": lambda m, y: SimpleNamespace(y=y),
    "nested": lambda m, y: {"a": [(1, {"b": deque([y])})]}, "generator": lambda m, y: later(y),
    "values": lambda m, y: {"y": y}.values(), "items": lambda m, y: {"y": y}.items(),
    "iterator": lambda m, y: iter([y]),
    "map": lambda m, y: map(F.relu, [y]), "zip": lambda m, y: zip([y], [1], strict=True),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_in_any_container(name: str) -> None:
    graph = from_module(Returning(OUTPUTS[name]), parse_inputs(["3x8x8"]))
    last = "relu" if name == "map" else "conv"  # what is computed when it is read, is read
    assert (graph.outputs, list(graph.params)) == ((last,), ["conv.weight", "conv.bias"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, y: m, "`Returning` returns no tensor but Returning"),
        (lambda m, y: m.forward, "`Returning` returns no tensor but method"),
        (lambda m, y: [None, {}, ()], "`Returning` returns no tensor but list"),
        (lambda m, y: endless(y), "the output, a generator, has no end: it has over 65536 items"),
    ],
)
def test_outputs_without_tensors_or_end(make: Callable[[Any, Tensor], Any], message: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        from_module(Returning(make), parse_inputs(["3x8x8"]))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E438", message)
