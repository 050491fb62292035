"""A live module: left as it was, its inputs made, its failures told."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # as torch's own examples

from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError, PartialError
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.torch.module import from_module


def traced(module: nn.Module, *inputs: str) -> Any:
    return from_module(module, parse_inputs(inputs or ("3x8x8",)))


def refused(module: nn.Module, *inputs: str) -> tuple[str, str, str | None]:
    with pytest.raises(CnnscopeError) as caught:
        traced(module, *inputs)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.message, diagnostic.hint


# -- untouched ---------------------------------------------------------------------------------------------------------


class Mutating(nn.Module):
    """Changes whatever it can when it runs."""

    def __init__(self, *, fail: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.frozen = nn.BatchNorm2d(3).eval()
        self.register_buffer("steps", torch.zeros(()))
        self.seen: list[Any] = []
        self.cache: dict[str, Any] = {"size": 1}
        self.last: Any = None
        self.fail = fail
        self.plain = torch.zeros(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.shape)
        self.cache["size"] = x
        self.last = x
        self.extra = x
        self.steps += 1
        self.plain.add_(1)
        self.conv.weight.data.mul_(2)
        self.register_buffer("new", torch.zeros(1))
        x = self.frozen(self.norm(self.conv(x))) + self.plain
        if self.fail:
            raise ValueError("on purpose")
        return x


def state(module: nn.Module) -> dict[str, Any]:
    attributes = {path: dict(m.__dict__) for path, m in module.named_modules()}
    containers = {
        (path, key): (id(value), copy.copy(value))
        for path, m in module.named_modules() for key, value in m.__dict__.items()
        if isinstance(value, (dict, list, set))
    }  # fmt: skip
    values = {key: value.clone() for key, value in module.state_dict(keep_vars=True).items()}
    return {
        "ids": {path: {key: id(value) for key, value in items.items()} for path, items in attributes.items()},
        "containers": containers, "keys": list(module.state_dict()), "plain": module.get_buffer("steps").clone(),
        "modes": [m.training for m in module.modules()], "values": values,
    }  # fmt: skip


@pytest.mark.parametrize("fail", [False, True])
def test_nothing_of_the_module_changes(fail: bool) -> None:
    module = Mutating(fail=fail)
    module.conv.register_forward_hook(lambda m, args, output: output * 2)
    before, hooks = state(module), dict(module.conv._forward_hooks)
    rng, fast = torch.random.get_rng_state(), torch.backends.mha.get_fastpath_enabled()
    if fail:
        with pytest.raises(PartialError):
            traced(module)
    else:
        rows = ["conv.weight", "mul", "conv", "mul#2", "norm", "frozen", "add"]
        assert [name for name, _ in traced(module).layers()] == rows
    after = state(module)
    values, expected = after.pop("values"), before.pop("values")
    assert after == before
    assert all(torch.equal(values[key], expected[key]) for key in expected)
    assert torch.equal(module.plain, torch.zeros(3, 1, 1))
    assert module.seen == []
    assert dict(module.conv._forward_hooks) == hooks
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert torch.backends.mha.get_fastpath_enabled() is fast
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.is_inference_mode_enabled()


def test_a_module_trains_on_after_it_was_traced() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    traced(module)
    module(torch.rand(2, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    assert module.training


def test_a_module_on_meta_is_traced_as_it_is() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert traced(module).node("1").output.features == (4, 6, 6)
    assert {p.device.type for p in module.parameters()} == {"meta"}


# -- values ------------------------------------------------------------------------------------------------------------


class Branching(nn.Module):
    def __init__(self, read: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.read, self.a, self.b = read, nn.Conv2d(3, 2, 1), nn.Conv2d(3, 5, 1)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.a(x) if self.read(x) else self.b(x)


@pytest.mark.parametrize(
    ("read", "function"),
    [
        (lambda x: x.sum() > -1e9, "item"),
        (lambda x: x.max().item() < 1e9, "item"),
        (lambda x: x.flatten().tolist()[0] < 1e9, "tolist"),
        (lambda x: x[0, 0].numpy().max() < 1e9, "numpy"),
        (lambda x: len(x.nonzero()), "nonzero"),
        (lambda x: len(torch.where(x > 0)), "nonzero"),
        (lambda x: x[x > 0].numel(), "index"),
        (lambda x: len(x.masked_select(x > 0)), "masked_select"),
        (lambda x: len(x.unique()), "_unique2"),
        (lambda x: not torch.equal(x, x + 1), "equal"),
    ],
)
def test_a_branch_on_values_is_taken_by_a_real_run_of_a_copy(read: Callable[[Tensor], Any], function: str) -> None:
    module = Branching(read)
    weights = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.warns(UserWarning, match="copy with random numbers") as caught:
        graph = traced(module)
    assert str(caught[0].message) == (
        f"`Branching` ran for real, on a copy with random numbers (it reads values: `{function}`); "
        "other images may go other ways"
    )
    assert graph.outputs == ("a",)
    assert graph.unused == ("b.weight", "b.bias")
    assert module.calls == 0
    assert all(torch.equal(weights[key], value) for key, value in module.state_dict().items())


class MaxNorm(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=1)
        return super().forward(x)


def test_a_module_that_replaces_its_weights_is_run_on_a_copy() -> None:
    module = MaxNorm(3, 2, 3)
    before = module.weight.data
    with pytest.warns(UserWarning, match="it replaces its weights"):
        graph = traced(module)
    assert [node.name for node in graph.nodes if node.op.tag == "conv"] == ["conv"]
    assert module.weight.data.data_ptr() == before.data_ptr()


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.conv(x)


def test_autocast_takes_a_real_run() -> None:
    with pytest.warns(UserWarning, match="it mixes types, as autocast does"):
        assert traced(Mixed()).node("conv.conv").output.dtype == "bfloat16"


class Swallowing(Branching):
    def forward(self, x: Tensor) -> Tensor:
        try:
            return super().forward(x)
        except Exception:  # noqa: BLE001
            return self.b(x)


def test_a_model_that_swallows_the_refusal_is_run_for_real_all_the_same() -> None:
    with pytest.warns(UserWarning, match="reads values"):
        assert traced(Swallowing(lambda x: x.sum().item() > -1e9)).outputs == ("a",)


def test_a_branch_on_values_without_any() -> None:
    with torch.device("meta"):
        module = Branching(lambda x: x.sum() > 0)
    assert refused(module) == (
        "E437",
        "`Branching` takes a run with values (it reads values: `item`), but its weights are on the meta device, "
        "without values",
        None,
    )  # fmt: skip


class Uncopiable(Branching):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("there is only one of me")


def test_a_branch_on_values_in_what_cannot_be_copied() -> None:
    module = Uncopiable(lambda x: x.sum() > -1e9)
    with pytest.warns(UserWarning, match="ran for real"):
        assert traced(module).outputs == ("a",)
    assert module.calls == 0


# -- inputs ------------------------------------------------------------------------------------------------------------


class Two(nn.Module):
    def forward(self, left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor:
        return left + right * scale


@pytest.mark.parametrize(
    ("inputs", "message", "hint"),
    [
        (["3x8x8"], "`Two` takes `left`, `right`; no size is given for `right`",
         "for instance `--input left=3x224x224 --input right=3x224x224`, or `left=128:int64` for indices"),
        (["left=3x8x8", "rigth=3x8x8"], "`Two` has no input `rigth`", "did you mean `right`?"),
        (["left=3x8x8", "zzz=3"], "`Two` has no input `zzz`", "it takes `left`, `right`, `scale`"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_the_signature(inputs: list[str], message: str, hint: str) -> None:
    assert refused(Two(), *inputs) == ("E434", message, hint)


def test_a_missing_size() -> None:
    with pytest.raises(CnnscopeError) as caught:
        from_module(nn.Conv2d(3, 3, 1))
    assert caught.value.diagnostics[0].message == "`Conv2d` takes `input`; no size is given for `input`"


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_wrong_size_is_told_with_the_rows_up_to_where_it_hurts() -> None:
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    module = nn.Sequential()
    module.add_module("features", features)
    module.add_module("flatten", nn.Flatten())
    module.add_module("classifier", nn.Linear(144, 2))
    with pytest.raises(PartialError) as caught:
        traced(module, "3x9x9")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E435"
    assert diagnostic.message.startswith("with input 3x9x9 the run stops in `classifier` (`Linear`): ")
    assert "196" in diagnostic.message
    assert diagnostic.hint == "`in_features=196` fits this input; `--input 3x8x8` gives 144"
    partial = caught.value.graph
    assert partial is not None
    assert [(row.name, row.label == "not reached") for row in summarize(partial).rows] == [
        ("features.0", False), ("features.1", False), ("flatten", False), ("classifier", True),
    ]  # fmt: skip


class Raising(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("no such thing")


def test_an_error_of_the_model_itself_shows_where_it_was_raised() -> None:
    with pytest.raises(PartialError) as caught:
        traced(nn.Sequential(nn.ReLU(), Raising()))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "with input 3x8x8 the run stops in `1` (`Raising`): KeyError: 'no such thing'"
    assert diagnostic.span is not None
    assert Path(diagnostic.span.file).name == Path(__file__).name


def test_channels_of_a_transposed_convolution_are_checked() -> None:
    code, message, _ = refused(nn.ConvTranspose2d(4, 2, 2))
    assert (code, "it takes 4 channels, but the input is 3x8x8" in message) == ("E435", True)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return {"answer": 42}


def test_a_model_without_an_output() -> None:
    assert refused(Nothing()) == ("E438", "`Nothing` returns no tensor but dict", None)


# -- kinds of modules --------------------------------------------------------------------------------------------------


def test_torchscript_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(nn.Conv2d(3, 3, 1), torch.rand(1, 3, 8, 8))
    expected = ("E436", "the model is TorchScript", "load the Python module it was made from")
    assert refused(script) == expected
    assert refused(nn.Sequential(script)) == ("E436", "`0` is TorchScript", expected[2])


def test_a_converted_model_is_refused() -> None:
    from torch.ao.nn import quantized

    found = refused(nn.Sequential(nn.ReLU(), quantized.Conv2d(3, 3, 1)))
    assert found == ("E436", "`1` is quantised (`Conv2d`)", "load the model before its conversion")


class Late(nn.Module):
    """A layer that the forward pass does not reach, and one that does not fit."""

    def __init__(self, *, wrong: bool) -> None:
        super().__init__()
        self.first, self.second = nn.LazyConv2d(4, 3), nn.LazyConv2d(4, 3)
        self.wrong = nn.Linear(5, 2) if wrong else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.wrong(self.first(x))


LAZY = {
    "conv": lambda: nn.Sequential(nn.LazyConv2d(5, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)),
    "norm": lambda: nn.Sequential(nn.LazyConv2d(5, 3, bias=False), nn.LazyBatchNorm2d()),
    "transposed": lambda: nn.Sequential(nn.LazyConvTranspose2d(5, 2, 2), nn.LazyInstanceNorm2d(affine=True)),
}


@pytest.mark.parametrize("name", LAZY)
def test_lazy_weights_take_their_shape_from_the_input_and_stay_lazy(name: str) -> None:
    module, settled = LAZY[name](), LAZY[name]()
    settled.eval()(torch.zeros(1, 3, 8, 8))
    rng = torch.get_rng_state()
    graph, expected = traced(module), traced(settled)
    assert graph == expected
    assert any(map(nn.parameter.is_lazy, module.parameters()))
    assert torch.equal(torch.get_rng_state(), rng)
    assert module(torch.rand(2, 7, 9, 9)).shape[0] == 2  # it still takes any number of channels


def test_lazy_weights_that_get_no_shape() -> None:
    code, message, hint = refused(Late(wrong=False))
    assert (code, message) == ("E436", "`second` (`LazyConv2d`) has weights without a shape yet")
    assert hint == "a forward pass does not reach it: call it once before it is loaded here, or remove it"
    code, message, _ = refused(Late(wrong=True))
    assert code == "E436"
    start = "`first` (`LazyConv2d`) has weights without a shape yet, and a run that gives them one fails: "
    assert message.startswith(start)


class Held(nn.Module):
    """Layers in a container that torch does not know."""

    def __init__(self, hold: Any) -> None:
        super().__init__()
        self.first, self.layers = nn.LazyConv2d(4, 3), hold(nn.LazyConv2d(5, 3), nn.LazyBatchNorm2d())

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        layers = self.layers
        for layer in layers.values() if isinstance(layers, dict) else layers:
            x = (layer[0] if isinstance(layer, list) else layer)(x)
        return x


@pytest.mark.parametrize(
    "hold",
    [
        lambda *layers: layers, lambda *layers: [*layers], lambda *layers: dict(zip("ab", layers, strict=True)),
        lambda *layers: tuple([layer] for layer in layers), lambda *layers: OrderedDict(zip("ab", layers, strict=True)),
    ],
)  # fmt: skip
def test_lazy_layers_in_containers_of_python_are_found(hold: Any) -> None:
    module, settled = Held(hold), Held(hold)
    settled.eval()(torch.zeros(1, 3, 9, 9))
    found, expected = (
        [(n.name, n.op.tag, n.inputs, n.output) for n in traced(m, "3x9x9").nodes] for m in (module, settled)
    )  # without the numbers of weights that torch does not know
    assert found == expected
    assert all(map(nn.parameter.is_lazy, module.parameters()))
    held = module.layers.values() if isinstance(module.layers, dict) else module.layers
    assert {type(layer[0] if isinstance(layer, list) else layer) for layer in held} == {
        nn.LazyConv2d, nn.LazyBatchNorm2d,
    }  # fmt: skip


def test_a_lazy_layer_in_a_container_that_is_not_reached_is_named() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    module.layers = [nn.ReLU(), (nn.LazyConv2d(4, 3),)]
    module.table = {"a": nn.LazyLinear(2)}
    code, message, _ = refused(module)
    assert (code, message) == ("E436", "`layers[1][0]` (`LazyConv2d`) has weights without a shape yet")


class Once(nn.Module):
    """Runs once."""

    ran = 0

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.calls = nn.LazyConv2d(4, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        if self.calls or Once.ran:
            raise RuntimeError("second call")
        self.calls += 1
        Once.ran += 1
        return self.conv(x)  # type: ignore[no-any-return]  # torch's own


def test_the_run_that_finds_shapes_leaves_nothing_behind() -> None:
    module = Once()
    assert [node.op.tag for node in traced(module).nodes] == ["conv"]
    assert (module.calls, Once.ran) == (0, 0)


class Own(nn.Module):
    """Lazy weights without torch's class for lazy modules."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.UninitializedParameter()

    def forward(self, x: Tensor) -> Tensor:
        if nn.parameter.is_lazy(self.weight):
            self.weight.materialize((4, x.shape[1], 3, 3))
        return F.conv2d(x, self.weight)


def test_lazy_weights_of_a_class_of_its_own() -> None:
    module = Own()
    (node,) = traced(module).nodes
    assert (node.output.shape, node.params) == ((1, 4, 6, 6), {"weight": "weight"})
    assert nn.parameter.is_lazy(module.weight)


COMPILED = """
import torch, warnings
from torch import nn
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module
inner = nn.Conv2d(4, 5, 1)
inner.compile()
module = torch.compile(nn.Sequential(nn.Conv2d(3, 4, 3), torch.compile(nn.ReLU()), inner))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    graph = from_module(module, [InputSize((3, 8, 8))])
print([str(w.message) for w in caught if "looked" in str(w.message)])
print([(n.name, n.op.tag) for n in graph.nodes], list(graph.params))
"""


def test_compiled_modules_run_as_they_were_written() -> None:
    """In a process of its own: importing the compiler changes torch for good."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['looked inside `OptimizedModule`']",
        "[('0', 'conv'), ('1._orig_mod', 'relu'), ('2', 'conv')] ['0.weight', '0.bias', '2.weight', '2.bias']",
    ]


def test_data_parallel_is_looked_into() -> None:
    with pytest.warns(UserWarning, match="looked inside `DataParallel`"):
        graph = traced(nn.DataParallel(nn.Sequential(nn.Conv2d(3, 3, 1))))
    assert list(graph.params) == ["0.weight", "0.bias"]


# -- from Python -------------------------------------------------------------------------------------------------------


def test_load_takes_a_module_or_what_makes_one() -> None:
    import cnnscope

    def make(width: int = 4) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU())

    model = cnnscope.load(make(5), input=(3, 8, 8))
    assert (model.name, model.source) == ("Sequential", "Sequential")
    assert model.graph.outputs == ("1",)
    made = cnnscope.load(make, input="3x8x8", set={"width": 7})
    assert (made.source, made.graph.node("0").output.features) == ("make", (7, 6, 6))
    assert cnnscope.load(nn.ReLU, input={"input": (2, 2)}).graph.outputs == ("relu",)


def test_load_of_a_factory_that_makes_no_module() -> None:
    import cnnscope

    with pytest.raises(CnnscopeError, match=r"returns no torch\.nn\.Module but an int"):
        cnnscope.load(lambda: 3, input=(3, 8, 8))
