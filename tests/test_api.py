"""The library: what `load` takes, and results in every form."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import cnnscope
from cnnscope.render.layers import LayerReport

BLOCKS = Path(__file__).parent / "cli" / "blocks.yaml"
QUESTIONS = ("summary", "shapes", "params", "flops", "memory", "receptive_field")


def test_a_network_comes_from_a_name_a_path_a_graph_or_a_model() -> None:
    by_path, by_text = cnnscope.load(BLOCKS), cnnscope.load(str(BLOCKS))
    assert by_path.graph == by_text.graph
    assert cnnscope.load(by_path) is by_path
    assert cnnscope.load(by_path.graph).summary().summary == by_path.summary().summary
    assert cnnscope.load("lenet5").name == "LeNet-5"


def test_a_live_module_comes_out_as_it_went_in() -> None:
    from torch import nn

    layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    module = nn.Sequential(*layers)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    totals = cnnscope.summary(module, input=(3, 8, 8)).to_dict()["totals"]
    assert totals["params"] == sum(p.numel() for p in module.parameters())
    assert totals["macs"] == 8 * 8 * 8 * 27 + 512 * 10
    assert module.training
    assert all((value == before[key]).all() for key, value in module.state_dict().items())


def test_a_model_becomes_a_module_with_the_graphs_names() -> None:
    module = cnnscope.load("lenet5").module()
    assert sum(p.numel() for p in module.parameters()) == 61_706
    assert list(module.state_dict())[:2] == ["c1.conv.weight", "c1.conv.bias"]


@pytest.mark.parametrize("size", ["48x48x3", (48, 48, 3), {"input": (48, 48, 3)}, {"input": "48x48x3:float32"}])
def test_input_sizes_are_given_in_any_form(size: object) -> None:
    model = cnnscope.load(BLOCKS, input=size)  # type: ignore[arg-type]  # one of `Sizes`
    assert model.graph.inputs["input"].features == (3, 48, 48)


def test_parameters_are_set() -> None:
    assert cnnscope.load(BLOCKS, set={"width": 4}).graph.value("stem.act").features[0] == 4
    with pytest.raises(cnnscope.CnnscopeError, match="the spec has no parameter `widht`"):
        cnnscope.load(BLOCKS, set={"widht": 4})


@pytest.mark.parametrize("wrong", [42, None, ["lenet5"]])
def test_what_is_no_network_is_refused(wrong: object) -> None:
    with pytest.raises(cnnscope.CnnscopeError):
        cnnscope.load(wrong)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("question", QUESTIONS)
def test_functions_and_methods_give_the_same_answer(question: str) -> None:
    model = cnnscope.load(BLOCKS)
    answer: LayerReport = getattr(model, question)()
    assert getattr(cnnscope, question)(BLOCKS).to_dict() == answer.to_dict()


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_result_takes_every_form(question: str) -> None:
    result: LayerReport = getattr(cnnscope.load(BLOCKS), question)()
    assert json.loads(result.to_json()) == result.to_dict()
    for text, delimiter in ((result.to_csv(), ","), (result.to_tsv(), "\t")):
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
        assert [row["name"] for row in rows] == [layer["name"] for layer in result.to_dict()["layers"]]
    assert result.to_markdown().startswith("**Blocks")
    bundle = result._repr_mimebundle_()
    assert bundle["text/plain"] == str(result)
    assert bundle["text/html"].count("<tr>") == len(result.table().all_lines) + 1


def test_csv_has_plain_numbers_that_equal_the_records() -> None:
    result = cnnscope.summary(BLOCKS)
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    for row, layer in zip(rows, result.to_dict()["layers"], strict=True):
        assert (int(row["params"]), int(row["macs"]), row["op"]) == (layer["params"], layer["macs"], layer["op"])


def test_results_are_frozen() -> None:
    result = cnnscope.summary("lenet5")
    with pytest.raises(FrozenInstanceError):
        result.source = "else"  # type: ignore[misc]  # that is the point


def test_check_compares_with_the_reference() -> None:
    assert cnnscope.check("lenet5").ok
    wrong = cnnscope.check(BLOCKS)
    assert not wrong.ok
    assert [(c.quantity, c.found, c.expected) for c in wrong.comparands] == [
        ("params", 6_540, 8_572), ("macs", 2_623_648, 1)
    ]  # fmt: skip


def test_a_unit_sees_what_the_table_says() -> None:
    model = cnnscope.load("vgg16")
    unit = model.unit("pool5", (3, 3))
    assert unit.theoretical is not None
    assert [high - low + 1 for low, high in unit.theoretical] == [212, 212]
    assert unit.exact == unit.full == ((6, 217), (6, 217))
    assert unit.centre is not None
    assert unit.centre[0] == sum(unit.theoretical[0]) / 2


def test_the_published_figures_of_the_lecture_networks() -> None:
    def totals(name: str) -> tuple[int, int]:
        found = cnnscope.summary(name).to_dict()["totals"]
        return found["params"], found["macs"]

    assert totals("lenet5") == (61_706, 416_520)
    assert totals("alexnet") == (60_965_224, 724_406_816)
    assert totals("resnet50") == (25_557_032, 4_089_184_256)
    assert totals("keras-cnn")[0] == 1_413_834
    assert totals("mlp-200")[0] == 4_800_000_000
    assert totals("conv-200")[0] == 1_500
    assert cnnscope.load("conv-200").graph.value(cnnscope.load("conv-200").graph.outputs[0]).numel == 832_320
    size = cnnscope.params("keras-cnn").table().total
    assert size is not None
    assert "5.39 MiB" in size.cells
