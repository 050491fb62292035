"""What edits do, what follows from them, and what they refuse."""

from __future__ import annotations

import pickle

import pytest
from edited import edit, run, totals

import cnnscope
from cnnscope.edits import Change, Insert, Remove, Resize, Scale, SetArgs, Swap, Width
from cnnscope.edits.change import from_json, to_json
from cnnscope.edits.parse import parse, written
from cnnscope.ir import Graph
from cnnscope.spec import load


@pytest.fixture(scope="module")
def resnet() -> Graph:
    return cnnscope.load("resnet18", input=(3, 64, 64)).graph


def spec(layers: str, shape: str = "[3, 17, 17]") -> Graph:
    return load("net.yaml", text=f"cnnscope: 1\ninput: {{shape: {shape}}}\nlayers:\n{layers}").graph


@pytest.mark.parametrize(("change", "text"), [
    (SetArgs("layer4.[12].conv2", {"dilation": 2}), "layer4.[12].conv2.dilation=2"),
    (SetArgs("c", {"kernel": [3, 5]}), "c.kernel=[3, 5]"),
    (SetArgs("c", {"bias": False}), "c.bias=false"),
    (Width("conv1", 48), "conv1.out=48"),
    (Swap("batchnorm", "groupnorm", {"groups": 8}), "batchnorm=groupnorm{groups: 8}"),
    (Swap("relu", "silu"), "relu=silu"),
    (Remove(("maxpool",)), "maxpool=none"),
    (Insert("layer1", "conv", {"out": 64, "kernel": 3}), "after=layer1:conv{out: 64, kernel: 3}"),
])  # fmt: skip
def test_changes_are_text_and_json_both_ways(change: Change, text: str) -> None:
    assert parse(text) == change == from_json(to_json(change))
    assert written(change) == text


def test_scales_and_sizes_are_json_both_ways() -> None:
    for change in (Scale(0.5, 4, False, ("a*",), ("b",), "count"), Resize({"": (3, 64, 64)})):
        assert from_json(to_json(change)) == change


def test_a_width_moves_what_is_tied_to_it_and_says_by_which_join(resnet: Graph) -> None:
    edited = edit(resnet, "layer2.0.conv2.out=96")
    run(edited.graph)
    found = {(f.layer, f.what): (f.was, f.now, f.because) for f in edited.followed}
    assert found["layer2.0.shortcut", "out"] == ("128", "96", "`layer2.0.add` adds")
    assert found["layer3.0.conv1", "in"] == ("128", "96", "`layer2.1.add`")
    assert set(edited.weights.resized) >= {"layer2.0.conv2.conv.weight", "layer3.0.shortcut.conv.weight"}
    assert (edited.weights.new, edited.weights.gone) == ((), ())
    assert len(edited.weights.kept) + len(edited.weights.resized) == len(resnet.params)


@pytest.mark.parametrize("change", [
    "relu=silu", "batchnorm=groupnorm:8", "maxpool=blurpool", "maxpool=avgpool", "conv1.kernel=5", "conv1.bias=true",
    "after=layer1:conv{out: 96, kernel: 3, pad: half}", "after=input:batchnorm", "layer3.1=none", "layer3.1.out=96",
    "maxpool=conv{bias: false}", "layer1.*.dilation=2", "fc=linear",
])  # fmt: skip
def test_changes_run_in_torch_as_predicted(resnet: Graph, change: str) -> None:
    run(edit(resnet, change).graph)


@pytest.mark.parametrize("size", [16, 17, 18, 31])
@pytest.mark.parametrize("word", ["same", "half", "full", "valid"])
def test_words_for_padding_are_kept_at_other_sizes_and_kernels(word: str, size: int) -> None:
    layers = f"  - conv: {{name: a, out: 4, kernel: 3, stride: 2, pad: {word}}}\n  - maxpool: {{kernel: 2}}\n"
    edited = edit(spec(layers), "a.kernel=5", Resize({"": (3, size, size)}))
    fresh = spec(layers.replace("kernel: 3", "kernel: 5"), f"[3, {size}, {size}]")
    assert [node.op for node in edited.graph.nodes] == [node.op for node in fresh.nodes]
    assert totals(edited.graph) == totals(fresh)


def refused(graph: Graph, *changes: str | Change) -> tuple[str, str, str | None]:
    with pytest.raises(cnnscope.CnnscopeError) as caught:
        edit(graph, *changes)
    (found,) = caught.value.diagnostics
    return found.code, found.message, found.hint


def test_bad_input_is_refused_with_the_nearest_names(resnet: Graph) -> None:
    code, message, hint = refused(resnet, "convl.stride=1")
    assert (code, message) == ("E205", "no layer is called `convl`")
    assert "conv1" in str(hint)
    assert refused(resnet, "conv1.strid=1")[::2] == ("E202", "did you mean `stride`?")
    assert refused(resnet, "conv1.padding=1")[::2] == ("E202", "did you mean `pad`?")
    assert refused(resnet, "relu=sillu")[0] == "E201"
    assert refused(resnet, "conv1.stride=0")[0] == "E203"
    assert refused(resnet, "conv1.out=0")[:2] == ("E203", "`conv1` cannot have 0 channels")
    assert refused(resnet, "fc.out=10")[:2] == ("E491", "`fc` must have 1000 channels: it is an output of the network")
    assert refused(resnet, "gelu=relu")[:2] == ("E205", "the network has no `gelu`")
    assert refused(resnet, "nothing")[0] == "E406"
    assert refused(resnet)[0] == "E400"


def test_contradictions_are_refused(resnet: Graph) -> None:
    assert refused(resnet, "conv1.stride=1", "conv1.stride=2")[:2] == (
        "E400", "`conv1.stride` cannot be both 1 and 2")  # fmt: skip
    assert refused(resnet, "layer1.0.conv2.out=32", "layer1.1.conv2.out=48")[:2] == (
        "E491", "`layer1.1.conv2` with 48 channels contradicts `layer1.0.conv2` with 32")  # fmt: skip


def test_alone_refuses_what_is_tied(resnet: Graph) -> None:
    code, message, _ = refused(resnet, Width("layer2.0.conv2", 96, alone=True))
    assert code == "E491"
    assert message.startswith("`layer2.0.conv2` is tied to `layer2.0.shortcut`, `layer2.1.conv2` by `layer2.0.add`")
    run(edit(resnet, Width("layer2.0.conv1", 96, alone=True)).graph)


def test_channels_that_groups_do_not_divide_are_refused() -> None:
    graph = spec("  - conv: {name: a, out: 12, kernel: 1}\n  - conv: {name: b, out: 12, kernel: 1, groups: 3}\n"
                 "  - conv: {name: c, out: 2, kernel: 1}\n")  # fmt: skip
    assert refused(graph, "a.out=11")[:2] == (
        "E491", "`b` has 3 groups or heads, which do not divide 11 channels")  # fmt: skip
    run(edit(graph, "a.out=15").graph)


def test_channels_that_are_no_whole_number_are_refused() -> None:
    graph = spec("  - conv: {name: a, out: 132, kernel: 1}\n  - reshape: {name: r, shape: [12, 11, 16]}\n"
                 "  - conv: {out: 2, kernel: 1}\n", "[3, 4, 4]")  # fmt: skip
    for change, channels in (("a.out=180", "180/11"), (Scale(0.7), "96/11")):
        code, message, _ = refused(graph, change)
        assert (code, message) == (
            "E491", f"`r` would have {channels} channels, which is no whole number of at least 1")  # fmt: skip
    run(edit(graph, "a.out=121").graph)


CEIL = "  - maxpool: {name: p, kernel: 3, stride: 2, ceil: true}\n  - conv: {name: c, out: 2, kernel: 1}\n"


@pytest.mark.parametrize(("change", "code"), [
    (Swap("maxpool", "blurpool"), 3), (Insert("p", "mul"), 3), (SetArgs("p", {"kernel": 30}), 2),
    (SetArgs("p", {"size": 3}), 2),
])  # fmt: skip
def test_what_cannot_be_carried_out_has_an_exit_code_of_its_own(change: Change, code: int) -> None:
    with pytest.raises(cnnscope.CnnscopeError) as caught:
        edit(spec(CEIL), change)
    assert (caught.value.diagnostics[0].code == "E492") == (code == 3)
    assert caught.value.exit_code == code
    assert pickle.loads(pickle.dumps(caught.value)).exit_code == code


def test_pools_that_round_up_are_not_blurred() -> None:
    graph = spec(CEIL)
    assert refused(graph, "maxpool=blurpool")[:2] == (
        "E492",
        "`p` rounds its size up (`ceil`), which `blurpool` cannot",
    )


def test_what_does_not_fit_is_refused_with_what_would(resnet: Graph) -> None:
    with pytest.raises(cnnscope.CnnscopeError) as caught:
        cnnscope.load(resnet).edit("layer3.0.conv1.stride=1")
    (found,) = caught.value.diagnostics
    assert found.code == "E491"
    assert found.message.startswith("`layer3.0.add` cannot join")
    assert "`layer3.0.shortcut.conv.stride=1` too it fits" in str(found.hint)
    run(edit(resnet, "layer3.0.conv1.stride=1", "layer3.0.shortcut.conv.stride=1").graph)


def test_edited_networks_are_models() -> None:
    model = cnnscope.load("lenet5").edit("c1.out=12", "c3.kernel=3", input=(1, 40, 40))
    assert model.summary().summary.totals.params == totals(model.graph)[0]
    assert cnnscope.edit("lenet5", "c1.out=12", "c3.kernel=3", input=(1, 40, 40)).graph == model.graph
