"""What `forward` is called with: scalars, dicts and lists by path, plain numbers, examples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize, parse_inputs
from cnnscope.sources.torch.module import from_module


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.embed = nn.Conv2d(3, 4, 3), nn.Embedding(10, 4)


class Diffusion(Net):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.conv(x) + self.embed(t)[:, :, None, None]


class OfDict(Net):
    def forward(self, batch: Any) -> Any:
        return {"out": self.conv(batch["image"]) + self.embed(batch["extra"]["t"])[:, :, None, None]}


class OfList(Net):
    def forward(self, images: Any) -> Tensor:
        return self.conv(images[0]) + self.conv(images[1])


class Repeated(Net):
    def forward(self, x: Tensor, n: Any) -> Tensor:
        return torch.cat([self.conv(x) for _ in range(n)], 1)


class Scaled(Net):
    def forward(self, x: Tensor, factor: Any, *, mode: str, twice: bool = False) -> Tensor:
        y = nn.functional.interpolate(self.conv(x), scale_factor=factor, mode=mode)
        return torch.cat([y, y], 1) if twice else y


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 2), nn.Linear(5, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.left(a) + self.right(b)


def out(graph: Graph) -> tuple[int, ...]:
    (name,) = graph.outputs
    return graph.value(name).features


@pytest.mark.parametrize(
    ("module", "inputs", "shape"),
    [
        (Diffusion(), ("x=3x8x8", "t=:int64"), (4, 6, 6)),
        (Diffusion(), ("x=3x8x8", "t=scalar:int64"), (4, 6, 6)),
        (OfDict(), ("batch.image=3x8x8", "batch.extra.t=scalar:int64"), (4, 6, 6)),
        (OfList(), ("images[0]=3x8x8", "images[1]=3x8x8"), (4, 6, 6)),
        (OfList(), ("[0]=3x8x8", "[1]=3x8x8"), (4, 6, 6)),
        (Repeated(), ("x=3x8x8", "n=4"), (16, 6, 6)), (Pair(), ("a=4", "b=5"), (2,)),
        (Scaled(), ("x=3x8x8", "factor=2", "mode='nearest'"), (4, 12, 12)),
        (Scaled(), ("x=3x8x8", "factor=1.5", "mode='bilinear'", "twice=true"), (8, 9, 9)),
    ],
)  # fmt: skip
def test_inputs_as_people_have_them(module: nn.Module, inputs: tuple[str, ...], shape: tuple[int, ...]) -> None:
    assert out(from_module(module, parse_inputs(inputs))) == shape


def test_inputs_are_listed_by_their_paths() -> None:
    graph = from_module(OfDict(), parse_inputs(["batch.image=3x8x8", "batch.extra.t=scalar:int64"]))
    assert {name: value.features for name, value in graph.inputs.items()} == {
        "batch.image": (3, 8, 8), "batch.extra.t": (),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("t=:int64", InputSize((), "t", "int64")), ("t=scalar:int64", InputSize((), "t", "int64")),
        ("scalar", InputSize(())), ("n=4", InputSize((4,), "n", None, (4,))), ("n=-1", InputSize((), "n", None, (-1,))),
        ("n=0.5", InputSize((), "n", None, (0.5,))), ("flag=true", InputSize((), "flag", None, (True,))),
        ("mode='area'", InputSize((), "mode", None, ("area",))), ("a.b[0]=3x4", InputSize((3, 4), "a.b[0]")),
    ],
)  # fmt: skip
def test_what_is_written(text: str, size: InputSize) -> None:
    assert InputSize.parse(text) == size


@pytest.mark.parametrize("text", ["t=", ":int64", "n=1+1", "n=x", "n=[1]", "mode=area"])
def test_what_is_not_an_input(text: str) -> None:
    with pytest.raises(CnnscopeError, match="E403"):
        InputSize.parse(text)


X, T = torch.rand(5, 3, 8, 8), torch.zeros(5, dtype=torch.int64)


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (Diffusion(), (X, T)), (Diffusion(), {"x": X, "t": T}), (OfDict(), {"image": X, "extra": {"t": T}}),
        (OfList(), [X, X]), (OfList(), ([X, X],)), (Repeated(), (X, 4)), (nn.Conv2d(3, 4, 3), X),
        (Scaled(), {"x": X, "factor": 2, "mode": "nearest", "twice": True}),
    ],
)  # fmt: skip
def test_an_example_is_one_image_of_what_the_module_is_called_with(module: nn.Module, example: Any) -> None:
    """Torch itself says what comes out."""
    if isinstance(example, dict) and "x" in example:
        result = module(**example)
    else:
        result = module(*example) if isinstance(example, tuple) else module(example)
    result = result["out"] if isinstance(result, dict) else result
    assert out(cnnscope.load(module, example=example).graph) == tuple(result.shape[1:])


def test_examples_are_for_modules() -> None:
    for source, options in (("lenet5", {}), (nn.ReLU(), {"input": (3, 4)})):
        with pytest.raises(CnnscopeError, match="E403: `example`"):
            cnnscope.load(source, example=X, **options)


def test_a_spec_takes_sizes_only() -> None:
    with pytest.raises(CnnscopeError, match=r"E403: `input=0\.5` is no size, and a spec takes tensors only"):
        cnnscope.load("lenet5", input={"input": "0.5"})


class Either(nn.Module):
    def forward(self, x: Tensor, n: Any) -> Tensor:
        return x * n


def test_a_note_says_how_an_input_is_read_that_may_be_a_vector_or_a_number() -> None:
    notes = cnnscope.load(Either(), input={"x": (2, 4), "n": "4"}).notes
    assert notes == ("`n=4` is a vector here; the module runs with numbers as well: `--input n=+4`",)
    as_number = cnnscope.load(Either(), input={"x": (2, 5), "n": "+4"})
    assert (tuple(as_number.graph.inputs), as_number.notes) == (("x",), ())
    assert cnnscope.load(Repeated(), input={"x": (3, 8, 8), "n": "4"}).notes == ()


@pytest.mark.parametrize("function", ["summary", "params", "flops", "shapes", "memory", "receptive_field", "export"])
def test_an_example_is_taken_by_every_function_of_a_module(function: str) -> None:
    example = {"x": torch.rand(2, 3, 8, 8), "t": torch.tensor([1, 2])}
    more = {"to": "json"} if function == "export" else {}
    found = getattr(cnnscope, function)(Diffusion(), example=example, **more)
    assert str(found) == str(getattr(cnnscope.load(Diffusion(), example=example), function)(**more))
    with pytest.raises(CnnscopeError, match="E403: `example` is for torch modules"):
        getattr(cnnscope, function)("lenet5", example=example, **more)


def test_an_example_is_taken_where_there_are_two_networks_or_removals() -> None:
    example = torch.rand(1, 3, 8, 8)
    nets = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU())
    assert not cnnscope.diff(*nets, example=example).equal
    assert len(cnnscope.ablate(nets[0], "1", example=example).variants) == 2


class ByName(nn.Module):
    """Takes its image by name only, as models of `transformers` may."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, *, pixel_values: Tensor, mask: Tensor | None = None) -> Tensor:
        y: Tensor = self.conv(pixel_values)
        return y if mask is None else y * mask


class Masked(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x[:, :1] if mask is None else x * mask


class Leaving(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise SystemExit(3)


def test_the_only_input_by_name_needs_no_name() -> None:
    assert out(from_module(ByName(), parse_inputs(["3x8x8"]))) == (4, 6, 6)


def test_none_is_a_value() -> None:
    assert out(from_module(Masked(), parse_inputs(["x=3x8x8", "mask=None"]))) == (1, 8, 8)
    assert str(InputSize.parse("mask=none")) == "mask=None"


def test_a_model_that_ends_the_program_is_a_run_that_stops() -> None:
    with pytest.raises(
        CnnscopeError, match=r"the run stops in `Leaving`: it ends the program with `sys.exit\(3\)`"
    ) as caught:
        from_module(Leaving(), parse_inputs(["3x8x8"]))
    assert caught.value.diagnostics[0].code == "E435"
    assert caught.value.diagnostics[0].span is not None
