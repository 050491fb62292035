"""Structure without names: exact sums, no false and no missing edge, the same for every source and for nameless graphs.

The truth about edges is the graph itself: which node reads which. Counts of blocks are those of the papers.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sweeps import sweep

from cnnscope import api
from cnnscope.analysis.structure import Block, Input, Part, Repeat, Structure, Unit, anatomy, flat, structure
from cnnscope.ir import Graph, Node, Value
from cnnscope.ops.merge import Concat
from cnnscope.sources import zoo

DATA = Path(__file__).parents[1] / "sources" / "data"
SAMPLE = ["resnet18", "googlenet", "unet", "mobilenet_v3_small", "vit_tiny", "siamese", "yolov3", "m5", "mlp"]


def graph(source: str) -> Graph:
    return api.load(source).graph


def exported(name: str, folder: Path) -> Graph:
    """A torchvision network as torch's ONNX exporter writes it."""
    path = folder / f"{name}.onnx"
    path.write_bytes(gzip.decompress((DATA / "exports" / f"{name}.onnx.gz").read_bytes()))
    return graph(str(path))


def nameless(graph: Graph) -> Graph:
    """The same network with numbers for names, every node a layer of its own, and no groups."""
    new = {name: f"x{i}" for i, name in enumerate((*graph.inputs, *(node.name for node in graph.nodes)))}
    nodes = (
        replace(node, name=new[node.name], layer=new[node.name], inputs=tuple(new[name] for name in node.inputs))
        for node in graph.nodes
    )
    inputs = {new[name]: value for name, value in graph.inputs.items()}
    return replace(graph, inputs=inputs, nodes=tuple(nodes), outputs=tuple(new[n] for n in graph.outputs), scopes={})


def shown(part: Part) -> tuple[object, ...]:
    """Everything about a part but names."""
    inner = getattr(part, "parts", ())
    ops = tuple(node.op.tag for node in part.ops) if isinstance(part, Unit) else ()
    how = part.kind if isinstance(part, Block) else type(part).__name__, getattr(part, "count", 1)
    where = part.level, part.size, part.channels, part.shape, part.output
    return how, where, part.cost, ops, tuple(map(shown, inner))


def outline(found: Structure) -> list[tuple[object, ...]]:
    """Levels, kinds and counts: what the same network has in common in every framework."""
    return [
        (part.level, tuple(sorted(part.size)), part.channels, _kind(part))
        for part in found.parts
        if not isinstance(part, Unit) or part.category not in ("norm", "activation", "other")
    ]


def _kind(part: Part) -> tuple[object, ...]:
    if isinstance(part, Repeat):
        return ("repeat", part.count, part.growth, *map(_kind, part.parts))
    return (part.kind, part.shortcut) if isinstance(part, Block) else (type(part).__name__,)


def check(graph: Graph) -> Structure:
    """What holds for every network: each node once, sums that are exact at every depth, edges that are the graph's."""
    found = structure(graph)
    placed = [name for part in found.parts for name in part.nodes]
    assert len(set(placed)) == len(placed)
    assert graph.images <= {*placed, *graph.inputs}
    totals = api.load(graph)._summary.totals
    assert (found.totals.params, found.totals.macs) == (totals.params, totals.macs)
    for part in found.parts:
        assert_adds_up(part)
    read: dict[str, set[str]] = {part.id: set() for part in found.parts}
    for node in found.graph.nodes:
        if node.name in graph.images:
            own = found.owner[node.name]
            read[own] |= {found.owner[name] for name in node.inputs if name in graph.images} - {own}
    assert {part.id: set(part.inputs) for part in found.parts} == read
    before: set[str] = set()
    for part in found.parts:
        assert before.issuperset(part.inputs), "in topological order"
        before.add(part.id)
    return found


def assert_adds_up(part: Part) -> None:
    inner = part.members if isinstance(part, Repeat) else part.parts if isinstance(part, Block) else ()
    if inner:
        assert (part.cost.params, part.cost.macs) == (
            sum(one.cost.params for one in inner),
            sum(one.cost.macs or 0 for one in inner),
        )
        assert sorted(part.nodes) == sorted(name for one in inner for name in one.nodes)
    for one in inner:
        assert_adds_up(one)


@pytest.mark.parametrize("name", sweep(zoo.names(), SAMPLE))
def test_networks_of_the_zoo(name: str) -> None:
    found = check(graph(name))
    assert list(map(shown, structure(nameless(graph(name))).parts)) == list(map(shown, found.parts))


TRACED = ["torchvision:swin_t"]
MORE = [
    "timm:efficientnet_b3",
    "torchvision:convnext_tiny",
    "timm:hrnet_w18_small",
    "timm:convnextv2_atto",
    "timm:ghostnet_100",
    "timm:regnety_004",
    "timm:mobilevit_xxs",
    "timm:resnest14d",
    "timm:dla34",
    "timm:darknet53",
    "timm:nfnet_f0",
    "timm:coat_lite_tiny",
    "timm:poolformer_s12",
    "torchvision:lraspp_mobilenet_v3_large",
    "torchvision:inception_v3",
    "torchvision:maxvit_t",
]


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("source", [*TRACED, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_traced_networks(source: str) -> None:
    network = graph(source)
    found = check(network)
    assert list(map(shown, structure(nameless(network)).parts)) == list(map(shown, found.parts))


@pytest.mark.parametrize("name", sweep(["swin_t_script", "mobilenet_v3_small_script"], ["mobilenet_v3_small_script"]))
def test_exported_networks(name: str, tmp_path: Path) -> None:
    check(exported(name, tmp_path))


@pytest.mark.parametrize("name", ["ConvNeXtTiny", "EfficientNetB0", "Xception"])
def test_keras_networks(name: str) -> None:
    check(graph(str(DATA / "applications" / f"{name}.keras")))


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("resnet18", "resnet18_dynamo"),
        ("mobilenet_v3_small", "mobilenet_v3_small_script"), ("shufflenet_v2_x1_0", "shufflenet_v2_x1_0_dynamo"),
        ("convnext_tiny", "convnext_tiny_dynamo"), ("densenet121", "DenseNet121.keras"),
        ("resnet18", "torchvision:resnet18"), ("mobilenet_v3_large", "torchvision:mobilenet_v3_large"),
        pytest.param("densenet121", "densenet121_script", marks=pytest.mark.slow),
        pytest.param("densenet121", "torchvision:densenet121", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_one_network_from_two_frameworks(ours: str, theirs: str, tmp_path: Path) -> None:
    if theirs.endswith(".keras"):
        other = graph(str(DATA / "applications" / theirs))
    else:
        other = graph(theirs) if ":" in theirs else exported(theirs, tmp_path)
    assert outline(structure(graph(ours))) == outline(structure(other))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("resnet152", [1, 2, 1, 7, 1, 35, 1, 2]),  # He et al. 2016, table 1
        ("densenet121", [6, 12, 24, 16]),  # Huang et al. 2017, table 1
        ("mobilenet_v2", [1, 1, 1, 2, 1, 3, 1, 2, 1, 2, 1]),  # Sandler et al. 2018, table 2; the first has no expansion
        ("vgg16", [2, 2, 3, 3, 3, 2]),  # Simonyan & Zisserman 2015, table 1, column D, and two layers of 4096
        ("googlenet", [1] * 9),  # Szegedy et al. 2015, table 1
    ],
)
def test_blocks_and_repeats_are_those_of_the_paper(name: str, counts: list[int]) -> None:
    parts = structure(graph(name)).parts
    assert [getattr(part, "count", 1) for part in parts if isinstance(part, (Block, Repeat))] == counts


@pytest.mark.parametrize(
    ("name", "anatomies"), [("resnet152", 1), ("resnet18", 1), ("densenet121", 1), ("googlenet", 1), ("xception", 3)]
)
def test_there_is_one_anatomy_for_each_structure(name: str, anatomies: int) -> None:
    parts = [part.parts[0] if isinstance(part, Repeat) else part for part in structure(graph(name)).parts]
    assert len({anatomy(part) for part in parts if isinstance(part, Block)}) == anatomies


@pytest.mark.usefixtures("torchvision")
def test_levels_are_the_resolution() -> None:
    """A U-Net comes back to where it started; the towers of a feature pyramid lie on the levels of its maps."""
    levels = [part.level for part in structure(graph("unet")).parts if getattr(part, "category", "") == "merge"]
    assert levels == [3, 2, 1, 0]
    outputs = [part.level for part in structure(graph("retinanet_resnet50_fpn")).parts if part.output]
    assert sorted(outputs) == [3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    traced = [part.level for part in structure(graph("torchvision:swin_t")).parts]
    assert [level for level in traced if level is not None] == sorted(level for level in traced if level is not None)
    assert {2, 3, 4, 5} <= set(traced)


@pytest.mark.slow
@pytest.mark.usefixtures("torchvision")
def test_an_efficientnet_from_timm_is_twenty_parts() -> None:
    assert len(structure(graph("timm:efficientnet_b3")).parts) <= 20


def test_growth_is_the_channels_that_each_time_adds() -> None:
    repeats = [part for part in structure(graph("densenet121")).parts if isinstance(part, Repeat)]
    assert [(part.count, part.growth) for part in repeats] == [(6, 32), (12, 32), (24, 32), (16, 32)]


def test_an_activation_written_as_arithmetic_is_no_block() -> None:
    """``x * sigmoid(x)``, and a layer norm by its formula, follow the layer that gives x."""
    torch = pytest.importorskip("torch")
    from torch import Tensor, nn

    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            x = x * torch.sigmoid(x)
            x = self.b(x)
            centred = x - x.mean(1, keepdim=True)
            return centred / (centred.pow(2).mean(1, keepdim=True) + 1e-6).sqrt()

    found = structure(api.load(Written(), input=(3, 16, 16)).graph)
    assert [type(part) for part in found.parts] == [Input, Unit, Unit]


def test_weights_that_no_op_reads_are_the_rest() -> None:
    torch = pytest.importorskip("torch")
    from torch import Tensor, nn

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(3, 5, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.used(x))

    found = structure(api.load(Half(), input=(3, 4, 4)).graph)
    assert (found.totals.params, found.rest.params) == (12 + 15, 15)


def nested(depth: int) -> Iterator[Node]:
    """Concatenations of the one before and the input."""
    value = Value((1, 4, 8, 8))
    for i in range(depth):
        yield Node(f"c{i}", Concat(), (f"c{i - 1}" if i else "x", "x"), replace(value, shape=(1, 4 * (i + 2), 8, 8)))


def test_many_nested_joins_are_no_deeply_nested_blocks() -> None:
    """The region of each join holds the block before it."""
    nodes = tuple(nested(300))
    found = structure(Graph("deep", {"x": Value((1, 4, 8, 8))}, nodes, (nodes[-1].name,)))
    assert sum(1 for part in found.parts for _ in flat(part)) == 300
