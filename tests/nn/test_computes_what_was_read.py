"""What is built and exported computes what was read, or is refused by the op's name: PyTorch's own databases.

The CNN part of the database of functions are those of `torch.nn.functional` and those with a rule, in samples whose
first argument is a floating-point tensor of two or more axes, the first of which is the batch. Further floating-point
tensors of a sample become parameters. Modules are those that are called on one such tensor.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_databases import module_db, op_db

import cnnscope
from cnnscope import spec
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.nn.build import build
from cnnscope.nn.export.pytorch import pytorch_source
from cnnscope.nn.export.spec import spec_source
from cnnscope.sources.torch.rules import RECORDS
from tests.nn.exported import run

PARTS = 24
SAMPLES = 6
"""Samples of each function and module that the slow tests try."""
AS_ONNX = 3
"""Of those of a module, so many are exported to ONNX too, which takes most of the time."""
CLOSE = 1e-5
RANDOM = {"nn.functional.rrelu", "nn.FractionalMaxPool2d", "nn.FractionalMaxPool3d"}
"""Random in eval mode too, as are functions with `fractional` or `dropout` in their names."""


class Applied(nn.Module):
    """A function of an image; its other tensors are parameters."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.function, self.args, self.kwargs = function, args, kwargs
        for name, value in [*((f"arg{i}", a) for i, a in enumerate(args)), *kwargs.items()]:
            if _floats(value):
                self.register_parameter(f"own_{name}", nn.Parameter(value.detach().clone()))

    def forward(self, x: Tensor) -> Any:
        args = [getattr(self, f"own_arg{i}", a) for i, a in enumerate(self.args)]
        return self.function(x, *args, **{name: getattr(self, f"own_{name}", a) for name, a in self.kwargs.items()})


def _floats(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _image(value: Any) -> bool:
    return _floats(value) and value.dim() >= 2 and value.numel() > 0


def modules(part: int = 0, parts: int = 1, samples: int = SAMPLES) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Every module of PyTorch's database that is called on one image, with each of its settings, and an image."""
    for info in module_db()[part::parts]:
        made = info.module_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=False)
        for i, case in enumerate(islice(made, samples)):
            given = case.forward_input
            if info.name in RANDOM or given.kwargs or len(given.args) != 1 or not _image(given.args[0]):
                continue
            arguments = case.constructor_input
            yield f"{info.name}/{i}", info.module_cls(*arguments.args, **arguments.kwargs), given.args[0]


def functions(part: int = 0, parts: int = 1, samples: int = SAMPLES) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """The CNN part of PyTorch's database of functions."""
    for info in op_db()[part::parts]:
        own = info.name.startswith("nn.functional.") or info.aten_name in RECORDS
        if not own or info.name in RANDOM or "dropout" in info.name or "fractional" in info.name:
            continue
        if torch.float32 not in info.supported_dtypes("cpu"):
            continue
        for i, case in enumerate(islice(info.sample_inputs("cpu", torch.float32), samples)):
            if _image(case.input):
                yield f"{info.formatted_name}/{i}", Applied(_unseeded(info.op), case.args, case.kwargs), case.input


def _unseeded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the database without the seed that it sets, by which one that draws would hide that it does."""
    if not isinstance(function, FunctionType) or "wrapper_set_seed" not in function.__code__.co_names:
        return function
    names = {**function.__globals__, "wrapper_set_seed": lambda op, *args, **kwargs: op(*args, **kwargs)}
    return FunctionType(function.__code__, names, closure=function.__closure__)


def outcome(module: nn.Module, sample: Tensor, tmp: Path | None = None) -> str:
    """Loads, builds and exports a network; says how that ended. Raises AssertionError where numbers differ."""
    module.eval()
    x = torch.rand(1, *sample.shape[1:]) + 0.1
    try:
        dice = torch.get_rng_state()
        wanted = module(x)
    except Exception:  # noqa: BLE001  # a sample that is not for one image
        return "not for one image"
    wanted = wanted if isinstance(wanted, (tuple, list)) else [wanted]
    if not all(isinstance(t, Tensor) for t in wanted):
        return "no tensors"
    if not torch.equal(dice, torch.get_rng_state()):
        return "random in eval mode too"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph = cnnscope.load(module, input=tuple(sample.shape[1:])).graph
        except CnnscopeError as error:
            return f"not loaded: {error}"
    try:
        network = build(graph)
    except CnnscopeError as error:
        _is_refusal(error, graph)
        return "refused"
    weights = dict(module.state_dict())
    network.load_state_dict(weights)
    _compare(network.eval()(x), wanted)
    _compare_source(graph, weights, x, wanted)
    _compare_spec(graph, weights, x, wanted)
    if tmp is not None:
        _compare_onnx(graph, weights, x, wanted, tmp)
    return "same"


def _is_refusal(error: CnnscopeError, graph: Graph) -> None:
    """An op or a name is named, and so is an operand if one is lacking."""
    (diagnostic,) = error.diagnostics
    assert diagnostic.code in ("E427", "E428"), str(error)
    text = " ".join([diagnostic.message, *(note.message for note in diagnostic.notes)])
    named = set(re.findall(r"`([^`]+)`", text))
    assert named & {word for node in graph.nodes for word in (node.name, node.op.tag)} or not graph.nodes, text
    lacking = {name for node in graph.nodes for name in node.lost}
    assert not lacking or named & lacking or "no layers of the language" in text, text


def _compare(found: Any, wanted: Any) -> None:
    found = list(found.values()) if isinstance(found, dict) else [found]
    for a, b in zip(found, wanted, strict=len(found) > 1):
        assert a.shape == b.shape
        if b.dtype == torch.bool:
            assert torch.equal(a, b)
            continue
        scale = b.detach().abs()[b.isfinite()].amax().item() if b.isfinite().any() else 1.0
        torch.testing.assert_close(a, b, rtol=0, atol=CLOSE * max(scale, 1e-3), equal_nan=True, check_dtype=False)


def _compare_source(graph: Graph, weights: dict[str, Tensor], x: Tensor, wanted: Any) -> None:
    try:
        made = run(pytorch_source(graph))()
    except CnnscopeError as error:
        _is_refusal(error, graph)
        return
    made.load_state_dict({key: weights[key] for key in made.state_dict()})
    _compare(made.eval()(x), wanted)


def _compare_spec(graph: Graph, weights: dict[str, Tensor], x: Tensor, wanted: Any) -> None:
    try:
        written = spec_source(graph)
    except CnnscopeError as error:
        _is_refusal(error, graph)
        return
    again = build(spec.load("again.yaml", text=written).graph)
    own = [key for node in graph.nodes for key in node.params.values()]
    again.load_state_dict(dict(zip(again.state_dict(), (weights[key] for key in dict.fromkeys(own)), strict=True)))
    _compare(again.eval()(x), wanted)


def _compare_onnx(graph: Graph, weights: dict[str, Tensor], x: Tensor, wanted: Any, tmp: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    from cnnscope.nn.export.onnx_file import write_onnx

    try:
        write_onnx(graph, tmp / "net.onnx", weights)
    except CnnscopeError as error:
        _is_refusal(error, graph)
        return
    session = runtime.InferenceSession(tmp / "net.onnx")
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    _compare(dict(enumerate(map(torch.from_numpy, found))) if len(found) > 1 else torch.from_numpy(found[0]), wanted)


def _check(cases: Iterator[tuple[str, nn.Module, Tensor]], tmp: Path | None = None) -> Counter[str]:
    ends: Counter[str] = Counter()
    wrong = []
    for name, module, sample in cases:
        try:
            is_exported = int(name.rpartition("/")[2]) < AS_ONNX
            ends[outcome(module, sample, tmp if is_exported else None).partition(":")[0]] += 1
        except Exception as error:  # noqa: BLE001  # all of a part are shown at once
            wrong.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}")
    assert wrong == []
    return ends


@pytest.mark.filterwarnings("ignore")
def test_a_sample_of_modules() -> None:
    assert _check(modules(1, 5, 2))["same"] > 10


@pytest.mark.filterwarnings("ignore")
def test_a_sample_of_functions() -> None:
    assert _check(functions(3, 11, 2))["same"] > 5


@pytest.mark.parametrize(
    "function",
    [
        lambda x, own: torch.block_diag(own, own)[:3] + torch.cat([x, x], 2),
        lambda x, own: torch.block_diag(x[:, 0], own),
        lambda x, own: torch.cdist(x, own[None]),
        lambda x, own: torch.tensordot(x, own, dims=([2], [1])),
        lambda x, own: torch.cartesian_prod(own[0], own[1])[:3] + x[:, :, :2],
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_functions_that_torch_writes_in_python(function: Callable[..., Any]) -> None:
    """Their arguments are not those of ATen's function of the same name, so that a file calls ATen's."""
    assert outcome(Applied(function, (torch.rand(2, 4),), {}), torch.rand(2, 3, 4)) == "same"


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_module(part: int, tmp_path: Path) -> None:
    assert _check(modules(part, PARTS), tmp_path).total()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_function(part: int) -> None:
    assert _check(functions(part, PARTS)).total()
