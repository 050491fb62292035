"""An `--input` for an input whose author declared its size: what is meant, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.ir.declared import fitted

CHW, HWC = (3, 224, 224), (224, 224, 3)


@pytest.mark.parametrize(
    ("declared", "channels", "given", "meant"),
    [
        (CHW, 0, (3, 96, 64), (3, 96, 64)), (CHW, 0, (96,), (3, 96, 96)), (HWC, 2, (96,), (96, 96, 3)),
        (HWC, 2, (96, 64, 3), (96, 64, 3)), ((3, 16, 112, 112), 0, (8,), (3, 8, 8, 8)), ((1, 32000), 0, (8,), (1, 8)),
        ((784,), None, (96,), (96,)),
        ((None, None, 3), 2, (8, 9, 3), (8, 9, 3)), ((None, 8, 8), 0, (5, 6, 7), (5, 6, 7)),
        ((20, 64), None, (30, 64), (30, 64)),
    ],
)  # fmt: skip
def test_sizes_that_are_taken(
    declared: tuple[int | None, ...], channels: int | None, given: tuple[int, ...], meant: tuple[int, ...]
) -> None:
    assert fitted(declared, given, channels) == meant


@pytest.mark.parametrize(
    ("declared", "channels", "given", "hint"),
    [
        (CHW, 0, (224, 224, 3), "write `--input 3x224x224`"), (CHW, 0, (96, 96), "write `--input 3x96x96`"),
        (HWC, 2, (3, 64, 96), "write `--input 64x96x3`"), (HWC, 2, (96, 64), "write `--input 96x64x3`"),
        (CHW, 0, (1, 28, 28), "write `--input 3x28x28`"),
        (CHW, 0, (1, 3, 8, 8), "write `--input 3x8x8`; a size has no batch"),
        (CHW, 0, (2, 8, 9, 3), "write `--input 3x8x9`; a size has no batch"),
        ((1, 32, 32), 0, (224, 224, 3), "write `--input 1x224x224`"),
        ((3, 16, 112, 112), 0, (3, 112, 112), "write `--input 3x16x112x112`"),
        ((3, 16, 112, 112), 0, (16, 112, 112), "write `--input 3x16x112x112`"),
        ((3, 16, 112, 112), 0, (16, 112, 112, 3), "write `--input 3x16x112x112`"),
        ((784,), None, (28, 28), "write it as 784"), ((20, 64), None, (64,), "write it as 20x64"),
    ],
)  # fmt: skip
def test_sizes_of_another_network_are_refused_with_the_right_spelling(
    declared: tuple[int, ...], channels: int | None, given: tuple[int, ...], hint: str
) -> None:
    with pytest.raises(CnnscopeError) as caught:
        fitted(declared, given, channels)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.hint) == ("E403", hint)


@pytest.mark.parametrize("source", ["resnet18", "torchvision:resnet18"])
@pytest.mark.parametrize("size", ["224x224x3", "96x96", "1x3x96x96"])
def test_every_source_refuses_them(source: str, size: str, torchvision: ModuleType) -> None:
    with pytest.raises(CnnscopeError, match=r"E403: the input is 3x224x224 \(channels x height x width\), but"):
        cnnscope.load(source, input=size)


def test_a_spec_says_how_other_channels_are_had(tmp_path: Path) -> None:
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load("lenet5", input=(3, 32, 32))
    hint = caught.value.diagnostics[0].hint or ""
    assert hint.endswith("; for other channels change `shape` in the text that `cnnscope expand` prints")
    text = str(cnnscope.expand("lenet5")).replace("[1, 32, 32]", "[3, 32, 32]")
    (tmp_path / "net.yaml").write_text(text)
    graph = cnnscope.load(tmp_path / "net.yaml").graph
    assert next(iter(graph.params.values())).shape == (6, 3, 5, 5)


def test_a_parameter_of_the_factory_changes_the_channels(torchvision: ModuleType) -> None:
    import timm

    load = cnnscope.load
    assert load("timm:resnet10t", input=(1, 64, 64), set={"in_chans": 1}).graph.inputs["input"].features == (1, 64, 64)
    assert load("timm:resnet10t", input="64").graph.inputs["input"].features == (3, 64, 64)
    grey = timm.create_model("resnet10t", in_chans=1)
    assert load(grey, input="64").graph.inputs["input"].features == (1, 64, 64)
    with pytest.raises(CnnscopeError, match="the input is 1x176x176"):
        load(grey, input=(3, 64, 64))


@pytest.mark.parametrize(
    ("source", "size", "layers"),
    [("alexnet", 96, "`fc6`"), ("mlp-426", 64, "`hidden1`"), ("vit_tiny", 64, "`position1`"), ("resnet18", 96, None)],
)
def test_layers_that_weights_of_the_declared_size_do_not_fit_are_named(
    source: str, size: int, layers: str | None
) -> None:
    model, declared = cnnscope.load(source, input=size), cnnscope.load(source)
    changed = {key for key, param in model.graph.params.items() if declared.graph.params[key].shape != param.shape}
    assert bool(changed) == (layers is not None)
    assert [note.partition(":")[0] for note in model.remarks] == (
        [f"weights trained at the declared size do not fit {layers}"] if layers else []
    )
