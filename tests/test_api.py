"""The library: what `load` takes, and results in every form."""

from __future__ import annotations

import csv
import inspect
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


def test_a_model_is_one_line_and_in_a_notebook_its_summary() -> None:
    model = cnnscope.load("resnet50")
    assert repr(model) == "<Model ResNet-50 (resnet50): 73 layers, 25,557,032 parameters, 4,089,184,256 MACs>"
    assert model._repr_html_() == model.summary()._repr_mimebundle_()["text/html"]


def test_results_are_one_line_until_they_are_printed() -> None:
    assert repr(cnnscope.summary("resnet50")) == "<LayerReport: print it, or write(path)>"
    assert repr(cnnscope.unit("lenet5", layer="c3", position=(1, 1))) == "<Unit: print it, or write(path)>"
    assert len(str(cnnscope.summary("resnet50")).splitlines()) > 70


def test_every_method_that_asks_is_a_function() -> None:
    asks = {name for name, member in vars(cnnscope.Model).items() if inspect.isfunction(member) and name[0] != "_"}
    own = {"layers", "module", "weighted", "trained"}  # parts of others, and what other libraries continue with
    assert asks - own <= set(cnnscope.__all__)
    for name in asks - own - {"diff", "ablate", "edit"}:
        method, function = getattr(cnnscope.Model, name), getattr(cnnscope, name)
        expected = ["source", "input", "set", "example", "trace_batch", *list(inspect.signature(method).parameters)[1:]]
        assert list(inspect.signature(function).parameters) == expected
        assert function.__doc__ == method.__doc__


def test_results_are_written_in_the_format_of_the_suffix(tmp_path: Path) -> None:
    result = cnnscope.summary("lenet5")
    for suffix, text in ((".json", result.to_json()), (".csv", result.to_csv()), (".md", result.to_markdown())):
        (file,) = result.write(tmp_path / f"x{suffix}")
        assert (file.path, file.bytes) == (tmp_path / f"x{suffix}", len(text) + 1)
        assert file.path.read_text() == f"{text}\n"
    with pytest.raises(cnnscope.CnnscopeError, match=r"`x\.txtt` has no known suffix"):
        result.write(tmp_path / "x.txtt")


def test_pictures_pages_and_programs(tmp_path: Path) -> None:
    drawing = cnnscope.diagram("lenet5", level="layer", heat="none")
    assert drawing.to_dict() == json.loads(drawing.draw("json"))
    assert drawing._repr_svg_().endswith("</svg>\n")
    assert [file.kind for file in drawing.write(tmp_path / "x.mmd")] == ["mmd"]
    assert (tmp_path / "x.mmd").read_bytes() == drawing.draw("mmd")
    with pytest.raises(cnnscope.CnnscopeError, match="no picture format is called `txt`"):
        drawing.write(tmp_path / "x.txt")
    page = cnnscope.page("lenet5")
    page.write(tmp_path / "x.html")
    assert (tmp_path / "x.html").read_text() == str(page)
    assert page._repr_html_().startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;')
    program = cnnscope.export("lenet5", to="pytorch")
    assert "class " in str(program)
    assert cnnscope.growth("lenet5").draw("svg").startswith(b"<?xml")
    assert str(cnnscope.expand("lenet5")).startswith("cnnscope: 1\nname: LeNet-5\n")
    assert cnnscope.diff("lenet5", "alexnet").write(tmp_path / "x.dot")[0].kind == "dot"


def test_weights_are_checked_and_mapped(tmp_path: Path) -> None:
    weights = Path(str(cnnscope.load("lenet5-digits").extras.weights))
    assert cnnscope.check_weights("lenet5-digits", file=weights).comparison.fits
    mapped = cnnscope.map_weights("lenet5-digits", file=weights)
    assert mapped.proposal.complete
    mapped.write(tmp_path / "named.safetensors")
    assert cnnscope.check_weights("lenet5-digits", file=tmp_path / "named.safetensors").comparison.fits


def test_what_a_network_has_learned(tmp_path: Path) -> None:
    filters = cnnscope.filters("lenet5-digits", layer="c1,c3", limit=20)
    assert [layer["name"] for layer in filters.to_dict()["layers"]] == ["c1", "c3"]
    names = {file.path.name for file in filters.write(tmp_path / "f.svg")}
    assert names == {"f.svg", "f.json", "f.c1.npy", "f.c3.npy"}
    features = cnnscope.features("lenet5-digits", layer=["c1"])
    assert features.arrays["c1"].shape == (6, 28, 28)
    assert "image/png" in features._repr_mimebundle_()
    found = cnnscope.attribute("lenet5-digits", method=["grad-cam", "saliency"], layer="c1,c3", target=3)
    tiles = found.to_dict()["tiles"]
    assert [(tile["method"], tile["target"]) for tile in tiles] == [("grad-cam", 3)] * 2 + [("saliency", 3)]
    assert [tile["notes"][0] for tile in tiles[:2]] == ["layer c1", "layer c3"]
    written = found.write(tmp_path / "a.svg")
    assert [file.path.suffix for file in written] == [".svg", ".json", ".npy", ".npy", ".npy"]


def test_kernels_and_lists() -> None:
    example = cnnscope.kernels(kernel="-1 1", input="0 1 0").to_dict()["example"]
    assert [step["sum"] for step in example["steps"]] == [1, -1]
    assert cnnscope.kernels(size=5).to_dict()["kernels"]
    assert "lenet5" in [model["name"] for model in cnnscope.zoo().to_dict()["models"]]
    assert cnnscope.layer_types("conv").to_dict()["format"] == "cnnscope.op"
    with pytest.raises(cnnscope.CnnscopeError, match="unknown layer type `cnov`"):
        cnnscope.layer_types("cnov")


def test_audits_are_read_judged_and_compared(tmp_path: Path) -> None:
    made = cnnscope.audit(
        "lenet5-digits", preset="azulay-diag", limit=20, layer="c1", output=[tmp_path / "a", tmp_path / "a.md"]
    )
    assert (tmp_path / "a.md").read_text().startswith("#")
    again = cnnscope.report(tmp_path / "a", fail_under=["translation@1.agreement=0.01"])
    assert again.to_dict()["result_hash"] == made.to_dict()["result_hash"]
    assert again.exit_code == 0
    assert again.write(tmp_path / "a.xml")[0].kind == "junit"
    assert len(cnnscope.compare(tmp_path / "a", tmp_path / "a").to_dict()["comparisons"]) == 1
    with pytest.raises(TypeError, match=r"report\(\) has no option `fail_undr`; did you mean `fail_under`\?"):
        cnnscope.report(tmp_path / "a", fail_undr=[])  # type: ignore[call-arg]  # that is the point


def test_a_transfer_is_trained_and_written(tmp_path: Path) -> None:
    model = cnnscope.load("lenet5-digits")
    plan = model.transfer(10, freeze=["c1"], batch_size=8)
    assert plan.to_dict()["training"] is None
    images = Path(str(model.extras.data))
    run = model.transfer(10, train=images, epochs=1, device="cpu")
    assert run.to_dict()["training"]["epochs"] == 1
    run.write(tmp_path / "w.safetensors")
    assert cnnscope.check_weights("lenet5-digits", file=tmp_path / "w.safetensors").comparison.fits
