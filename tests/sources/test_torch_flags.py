"""Torch's global flags change nothing about a network, and stay as they were found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import parse_inputs


class Resizing(nn.Module):
    """Resizes, fills, indexes: what torch does otherwise where results must be deterministic."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.register_buffer("table", torch.arange(16.0))

    def forward(self, x: Tensor) -> Tensor:
        y = F.interpolate(self.norm(self.conv(x)), scale_factor=2, mode="bilinear")
        y = y + torch.zeros(y.shape[-1]) + torch.empty(1).fill_(2) + self.table
        y = y.index_add(1, torch.tensor([0, 1]), y[:, :2])
        return F.max_pool2d(y, 2).cumsum(1)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        return self.layer(y + torch.linspace(0, 1, y.shape[1])[:, None])


class Casting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.conv(self.conv(x)[:, :3])
        return self.head(y.float().mean((2, 3)))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.mean() < 1e9 and not torch.is_grad_enabled() else x


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resizing": Resizing, "attending": Attending, "casting": Casting, "branching": Branching,
    "half": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).half(),
    "recurrent": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(2), nn.LSTM(64, 8, batch_first=True)),
}  # fmt: skip


class Counting(TorchFunctionMode):
    calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def setting(write: Callable[[Any], object], value: Any, before: Any) -> Iterator[None]:
    write(value)
    try:
        yield
    finally:
        write(before)


FLAGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "warn only": lambda: setting(lambda mode: torch.set_deterministic_debug_mode(mode), 1, 0),
    "inference": torch.inference_mode,
    "no grad": torch.no_grad,
    "anomaly": lambda: torch.autograd.detect_anomaly(check_nan=True),
    "float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": lambda: setting(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "autocast": lambda: torch.autocast("cpu"),
    "autocast float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "meta": lambda: torch.device("meta"),
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "fake tensors": FakeTensorMode,
    "counted": lambda: FlopCounterMode(display=False),
    "functions": Counting,
    "no fast path": lambda: setting(torch.backends.mha.set_fastpath_enabled, False, True),
}


def flags() -> tuple[Any, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.is_anomaly_enabled(),
        torch.is_anomaly_check_nan_enabled(), torch.get_default_dtype(), torch.get_default_device(),
        torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled(),
        torch.backends.mha.get_fastpath_enabled(), torch.compile,
        tuple(map(id, torch.overrides._get_current_function_mode_stack())),
        tuple(map(id, torch.utils._python_dispatch._get_current_dispatch_mode_stack())),
    )  # fmt: skip


def reading(source: Any) -> tuple[Any, ...]:
    model = cnnscope.load(source, input=(3, 8, 8))
    tables = [str(model.summary(level=level)) for level in ("layer", "op")]
    return model.graph, tables, str(model.memory()), model.notes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_flags_change_nothing_and_are_left_as_found(name: str, flag: str) -> None:
    make = NETWORKS[name]
    torch.manual_seed(0)
    module = make()
    expected, expected_made = reading(module), reading(make)
    with FLAGS[flag]() as mode:
        before = flags()
        assert reading(module) == expected
        assert reading(make) == expected_made
        assert flags() == before
    if flag == "counted":
        assert mode.get_total_flops() == 0
    assert not any(t.is_meta or t.is_inference() for t in module.state_dict().values())


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert not torch.are_deterministic_algorithms_enabled()
        assert (torch.empty(1).dtype, torch.empty(1).device.type) == (torch.float32, "cpu")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.set_default_dtype(torch.bfloat16)
        raise ValueError("on purpose")


def test_flags_come_back_after_an_exception() -> None:
    with FLAGS["deterministic"](), FLAGS["float64"](), torch.autocast("cpu"), torch.device("meta"):
        before = flags()
        with pytest.raises(CnnscopeError, match="on purpose"):
            cnnscope.load(Failing(), input=(3, 8, 8))
        assert flags() == before
        assert torch.empty(1).is_meta


def test_a_network_that_was_made_for_another_default_dtype_runs_with_it() -> None:
    class Padding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.zeros(2, 6) @ torch.eye(6) + x)

    with FLAGS["float64"]():
        graph = cnnscope.load(Padding(), input=(2, 6)).graph
    assert {node.output.dtype for node in graph.nodes} == {"float64"}


def test_casts_that_autocast_keeps_are_neither_taken_nor_left() -> None:
    module = Casting()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module(torch.rand(1, 3, 8, 8))
        graph = cnnscope.load(module, input=(3, 8, 8)).graph
        module(torch.rand(1, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None and p.grad.device.type == "cpu" for p in module.parameters())
    assert not graph.unused


COMPILED = """
import sys, torch, warnings
from torch import nn
import cnnscope
warnings.simplefilter("ignore")
calls = []
def backend(graph, inputs):
    calls.append(graph)
    return graph.forward
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        @torch.compile(backend=backend)
        def activate(y):
            return torch.relu(y) + 1
        return torch.compile(lambda y: y * 2, backend=backend)(activate(self.conv(x)))
def read():
    return cnnscope.load(Net(), input=(3, 8, 8)).graph
assert "torch._dynamo" not in sys.modules, "the compiler is here from the beginning"
first = read()
assert not calls
compiled = torch.compile(nn.Sequential(nn.Conv2d(3, 4, 1)), backend=backend)
compiled(torch.rand(1, 3, 8, 8))
ran = len(calls)
assert read() == first and len(calls) == ran == 1
assert [n.op.tag for n in cnnscope.load(compiled, input=(3, 8, 8)).graph.nodes] == ["conv"]
compiled(torch.rand(1, 3, 8, 8))
assert len(calls) == ran, "what was compiled is compiled again"
print([n.op.tag for n in first.nodes])
"""


def test_what_is_compiled_stays_compiled_and_is_read_as_it_was_written() -> None:
    """In a process of its own: importing the compiler changes torch for good."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "['conv', 'relu', 'elementwise', 'elementwise']"), done.stderr


def test_inputs_are_made_of_the_networks_own_dtype() -> None:
    from cnnscope.sources.torch.module import from_module

    graph = from_module(NETWORKS["half"](), parse_inputs(["3x8x8"]))
    assert {value.dtype for value in graph.inputs.values()} == {"float16"}
