"""Mappings of foreign names: torchvision's weights on the zoo's networks give torchvision's logits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from sweeps import sweep
from torch import nn

from cnnscope import spec
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Param
from cnnscope.nn.build import build
from cnnscope.nn.checkpoint import Checkpoint, read_header, write_weights
from cnnscope.nn.mapping import propose, read_name_map
from cnnscope.nn.nesting import Side, nest
from cnnscope.nn.weights import NameMap, load_weights
from cnnscope.sources import zoo

SMALL = {
    "resnet18": 64, "densenet121": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64,
    "efficientnet_b0": 64, "squeezenet1_1": 64, "shufflenet_v2_x1_0": 64, "convnext_tiny": 32, "inception_v3": 299,
}  # fmt: skip
LARGE = {
    "resnet34": 64, "resnet50": 64, "resnet101": 64, "resnet152": 64, "wide_resnet50_2": 64, "resnext50_32x4d": 64,
    "densenet201": 64, "mobilenet_v3_large": 64, "squeezenet1_0": 64, "googlenet": 64,
    "alexnet": 224, "vgg11": 224, "vgg13": 224, "vgg16": 224, "vgg19": 224,
}  # fmt: skip
SPECS = {"alexnet": "alexnet-torchvision", "googlenet": "googlenet-torchvision"}
BY_LETTERS = {"inception_v3"}
"""Names so alike in shape and so unlike in letters that their alphabetical order decides nothing."""


def graph_of(name: str, size: int | None = None) -> Graph:
    return spec.load(zoo.path(SPECS.get(name, name)), input=(3, size, size) if size else None).graph


def model_of(torchvision: ModuleType, name: str) -> nn.Module:
    """The model without auxiliary heads the spec lacks."""
    quick = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
    model = getattr(torchvision.models, name)(**quick)
    if name == "googlenet":
        model.aux1 = model.aux2 = None
    return model


def randomise(model: nn.Module) -> None:
    """Weights and statistics in which every layer differs from its neighbours, but no signal dies or explodes."""
    generator = torch.Generator().manual_seed(0)
    for key, tensor in model.state_dict().items():
        role = key.rpartition(".")[2]
        if role == "running_var" or (role == "weight" and tensor.dim() == 1):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif role in ("running_mean", "bias"):
            tensor.normal_(0, 0.1, generator=generator)
        elif role == "num_batches_tracked":
            tensor.fill_(17)
        else:
            fan = max(tensor[0].numel(), 1) if tensor.dim() > 1 else 1
            tensor.normal_(0, (2 / fan) ** 0.5, generator=generator)


def assert_equal_logits(torchvision: ModuleType, tmp_path: Path, name: str, size: int) -> None:
    with torch.device("meta"):  # whose initialisation costs nothing; all of it is drawn below
        model = model_of(torchvision, name).eval()
    randomise(model.double().to_empty(device="cpu"))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    graph = graph_of(name, size)
    network = build(graph).double().eval()
    proposal = propose(graph, read_header(tmp_path / "w.pt"))
    assert proposal.complete
    load_weights(network, graph, tmp_path / "w.pt", NameMap(proposal.pairs))
    x = torch.rand(1, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs = network(x), model(x)
    ours = ours["logits.fc"] if isinstance(ours, dict) else ours
    assert theirs.std() > 0
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", SMALL)
def test_torchvision_weights_give_torchvision_logits(torchvision: ModuleType, tmp_path: Path, name: str) -> None:
    assert_equal_logits(torchvision, tmp_path, name, SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_torchvision_weights_give_torchvision_logits_large(torchvision: ModuleType, tmp_path: Path, name: str) -> None:
    assert_equal_logits(torchvision, tmp_path, name, LARGE[name])


@pytest.mark.parametrize("name", sweep([*SMALL, *LARGE], SMALL))
def test_sorted_names_lead_to_the_same_mapping_or_none(torchvision: ModuleType, name: str) -> None:
    """Safetensors files are sorted by name; what can be said of them is what registration order says."""
    with torch.device("meta"):
        model = model_of(torchvision, name)
    tensors = {key: Param(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for key, t in model.state_dict().items()}
    graph = graph_of(name)
    registered = propose(graph, Checkpoint(Path("w.pt"), tensors))
    in_order = propose(graph, Checkpoint(Path("w.safetensors"), dict(sorted(tensors.items())), ordered=False))
    assert registered.complete
    assert in_order.complete == (name not in BY_LETTERS)
    assert in_order.pairs.items() <= registered.pairs.items()


# -- small cases -------------------------------------------------------------------------------------------------------


def small(layers: str, blocks: str = "{}") -> Graph:
    text = f"{{cnnscope: 1, input: {{shape: [4, 8, 8]}}, blocks: {blocks}, layers: [{layers}]}}"
    return spec.load("small.yaml", text=text).graph


def file(*names: str, graph: Graph, order: Sequence[int] | None = None, ordered: bool = True) -> Checkpoint:
    """The graph's tensors, layer by layer, under other names and perhaps in another order of layers."""
    layers: dict[str, list[str]] = {}
    for key in graph.params:
        layers.setdefault(key.rpartition(".")[0], []).append(key)
    groups = [layers[key] for key in layers]
    assert len(groups) == len(names)
    tensors = {
        f"{names[i]}.{key.rpartition('.')[2]}": graph.params[key]
        for i in (order or range(len(names))) for key in groups[i]
    }  # fmt: skip
    return Checkpoint(Path("w"), tensors, ordered=ordered)


TWO = "conv: {out: 4, kernel: 3, pad: 1, name: a}}, {conv: {out: 4, kernel: 3, pad: 1, name: b}"


def test_names_that_match_need_no_shapes() -> None:
    graph = small("{" + TWO + "}")
    proposal = propose(graph, Checkpoint(Path("w"), dict(reversed(graph.params.items()))))
    assert (proposal.by, proposal.complete) == ("names", True)
    assert proposal.pairs == {key: key for key in graph.params}


def test_prefixes_on_either_side() -> None:
    graph = small("{" + TWO + "}")
    tensors = {f"backbone.body.{key}": param for key, param in graph.params.items()} | {"backbone.fc.bias": Param((3,))}
    proposal = propose(graph, Checkpoint(Path("w"), tensors))
    assert proposal.by == "names, without `backbone.body.`"
    assert proposal.pairs["a.weight"] == "backbone.body.a.weight"
    assert proposal.unused == ("backbone.fc.bias",)
    assert not proposal.complete
    inside = small("{use: {block: net, name: net}}", "{net: {layers: [{" + TWO + "}]}}")
    bare = {key.removeprefix("net."): param for key, param in inside.params.items()}
    proposal = propose(inside, Checkpoint(Path("w"), bare))
    assert (proposal.by, proposal.complete) == ("names, with `net.`", True)
    assert proposal.pairs["net.a.bias"] == "a.bias"


RESIDUAL = """{conv: {out: 8, kernel: 1, name: in}},
    {residual: {shortcut: project, layers: [{conv: {out: 8, kernel: 1}}, {conv: {out: 8, kernel: 1}}]}}"""


def test_a_shortcut_is_known_by_structure_and_by_name() -> None:
    """All four convolutions after the first have one shape: order alone would take the shortcut for one of them."""
    graph = small(RESIDUAL)
    right = {"in": "stem", "conv1": "left.1", "conv2": "left.2", "shortcut": "left.downsample"}
    for order in ([0, 1, 2, 3], [0, 3, 1, 2]):
        proposal = propose(graph, file("stem", "left.1", "left.2", "left.downsample", graph=graph, order=order))
        assert proposal.complete
        assert {k: v.rpartition(".")[0] for k, v in proposal.pairs.items() if k.endswith("weight")} == {
            f"{name}.weight": other for name, other in right.items()
        }


def test_a_shortcut_nothing_names_is_ambiguous() -> None:
    graph = small(RESIDUAL)
    proposal = propose(graph, file("a", "b", "c", "d", graph=graph))
    assert proposal.ambiguous == ((("conv1", "conv2", "shortcut"), ("b", "c", "d")),)
    assert proposal.pairs == {"in.weight": "a.weight", "in.bias": "a.bias"}


def test_left_over_tensors_are_reported() -> None:
    graph = small("{" + TWO + "}, {flatten}, {linear: {out: 10, name: fc}}".replace("{flatten}", "flatten"))
    tensors = {
        "0.weight": Param((4, 4, 3, 3)), "0.bias": Param((4,)), "1.weight": Param((4, 4, 3, 3)), "1.bias": Param((4,)),
        "2.weight": Param((7, 256)), "2.bias": Param((7,)),
    }  # fmt: skip
    proposal = propose(graph, Checkpoint(Path("w"), tensors))
    assert not proposal.complete
    assert proposal.pairs["b.bias"] == "1.bias"
    assert proposal.unmapped == ("fc.weight", "fc.bias")
    assert proposal.unused == ("2.weight", "2.bias")


def test_letters_are_no_order() -> None:
    graph = small("{" + TWO + "}")
    proposal = propose(graph, file("encoder", "decoder", graph=graph, ordered=False))
    assert not proposal.complete
    assert proposal.ambiguous == ((("a", "b"), ("decoder", "encoder")),)
    assert not proposal.pairs
    numbered = propose(graph, file("conv10", "conv9", graph=graph, order=[0, 1], ordered=False))
    assert numbered.pairs["a.weight"] == "conv9.weight"


def test_a_linear_layer_fits_a_pointwise_convolution() -> None:
    graph = small("{conv: {out: 6, kernel: 1, name: a}}")
    tensors = {"fc.weight": Param((6, 4)), "fc.bias": Param((6,))}
    assert propose(graph, Checkpoint(Path("w"), tensors)).pairs == {"a.weight": "fc.weight", "a.bias": "fc.bias"}


def test_counters_are_mapped_where_both_have_them() -> None:
    graph = small("{conv: {out: 6, kernel: 1, norm: batch, name: a}}")
    with_counter = propose(graph, file("c", "n", graph=graph))
    assert with_counter.pairs["a.norm.num_batches_tracked"] == "n.num_batches_tracked"
    tensors = {key: p for key, p in file("c", "n", graph=graph).tensors.items() if "tracked" not in key}
    without = propose(graph, Checkpoint(Path("w"), tensors))
    assert without.complete
    assert "a.norm.num_batches_tracked" not in without.pairs


def nested(ours: Sequence[str], kinds: str, theirs: Sequence[str], their_kinds: str, ordered: bool = False) -> object:
    return nest(Side(ours, kinds), Side(theirs, their_kinds, ordered))


def test_nests() -> None:
    ours, kinds = ["s.0.c", "s.0.n", "s.1.c", "s.1.n", "n"], "cncnn"
    theirs, their_kinds = ["b.2.n", "b.10.n", "b.2.c", "b.10.c", "z"], "nnccn"
    assert nested(ours, kinds, theirs, their_kinds) == ({4: 4, 0: 2, 1: 0, 2: 3, 3: 1}, [])
    assert nested(["a", "b"], "cc", ["x", "y"], "cc") == ({}, [((0, 1), (0, 1))])
    assert nested(["a", "b"], "cc", ["x", "y"], "cc", ordered=True) == ({0: 0, 1: 1}, [])
    assert nested(["a", "b"], "cc", ["6c", "6b"], "cc") == ({0: 1, 1: 0}, [])
    assert nested(["a", "b"], "cc", ["x"], "c", ordered=True) == ({}, [((0, 1), (0,))])
    assert nested(["a"], "c", ["x"], "d") == ({}, [])


def test_an_order_that_differs_inside_every_block() -> None:
    """torchvision's ConvNeXt registers a block's scale first, but runs it last: the longest equal stretch misleads."""
    ours = [f"stage.{i}.{name}" for i in range(3) for name in ("conv", "norm", "scale")]
    theirs = [f"blocks.{i}.{name}" for i in range(3) for name in ("gamma", "conv", "norm")]
    pairs, _ = nest(Side(ours, "cns" * 3), Side(theirs, "scn" * 3))
    assert [theirs[pairs[i]].rpartition(".")[0][-1] for i in range(9)] == list("000111222")


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "`m.json` is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[1]", "`m.json` is no mapping of weights"),
        ('{"format": "cnnscope.weights_map"}', "`m.json` is no mapping of weights"),
        ('{"format": "cnnscope.weights_map", "pairs": {"a": 1}}', "`m.json`: 1 is no name of a tensor"),
        ('{"format": "cnnscope.weights_map", "pairs": {}, "ignore": "b"}', "`m.json`: null is no name of a tensor"),
    ],
)
def test_broken_mappings(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(CnnscopeError) as caught:
        read_name_map(tmp_path / "m.json")
    assert [(d.code, d.message) for d in caught.value.diagnostics] == [("E426", message)]


def test_mappings_are_read_back(tmp_path: Path) -> None:
    document = {"format": "cnnscope.weights_map", "format_version": "1.0", "pairs": {"a": "b"}, "ignore": ["c"]}
    (tmp_path / "m.json").write_text(json.dumps(document))
    assert read_name_map(tmp_path / "m.json") == NameMap({"a": "b"}, ["c"])
    with pytest.raises(CnnscopeError, match="E426: there is no file"):
        read_name_map(tmp_path / "missing.json")


def test_loading_through_a_mapping_reshapes(tmp_path: Path) -> None:
    graph = small("{conv: {out: 6, kernel: 1, name: a}}")
    weight = torch.rand(6, 4)
    write_weights({"fc.weight": weight, "fc.bias": torch.ones(6)}, tmp_path / "w.pt")
    network = build(graph)
    load_weights(network, graph, tmp_path / "w.pt", NameMap({"a.weight": "fc.weight", "a.bias": "fc.bias"}))
    assert torch.equal(network.get_parameter("a.weight")[:, :, 0, 0], weight)
