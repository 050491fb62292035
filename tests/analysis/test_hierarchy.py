"""Fusion, groups, folding and concat chains on networks whose structure is known from their papers."""

from __future__ import annotations

import pytest

from cnnscope import api
from cnnscope.analysis.fuse import chain_concats, fuse
from cnnscope.analysis.hierarchy import Group, block_kinds, fold, hierarchy, is_chain
from cnnscope.ir import Graph, Node, Value
from cnnscope.ops.merge import Concat
from cnnscope.ops.movement import Identity


def graph(name: str) -> Graph:
    return api.load(name).graph


def groups(network: str, path: str) -> list[Group]:
    """The groups directly inside the group at ``path``."""
    group = hierarchy(graph(network))
    for part in path.split("."):
        group = next(c for c in group.children if isinstance(c, Group) and c.path.rpartition(".")[2] == part)
    return [child for child in group.children if isinstance(child, Group)]


@pytest.mark.parametrize("network", ["lenet5", "resnet18", "googlenet", "densenet121", "siamese"])
def test_every_node_is_in_exactly_one_unit(network: str) -> None:
    nodes = [node.name for unit in fuse(graph(network)) for node in unit.nodes]
    assert sorted(nodes) == sorted(node.name for node in graph(network).nodes)


def test_convolution_norm_and_activation_are_one_unit() -> None:
    first = fuse(graph("resnet18"))[0]
    assert [node.op.tag for node in first.nodes] == ["conv", "batchnorm", "relu"]


def test_what_is_read_twice_is_not_absorbed() -> None:
    """In DenseNet the norm in front of a layer belongs to that layer, not to the map that others read too."""
    units = fuse(graph("densenet121"))
    assert all(unit.main.op.tag != "concat" or len(unit.nodes) == 1 for unit in units)


@pytest.mark.parametrize(
    ("network", "kinds"),
    [
        ("resnet50", {"bottleneck"}), ("resnet18", {"basic"}), ("googlenet", {"inception"}), ("densenet121", {"dense"}),
        ("vgg16", set()), ("mobilenet_v2", {"inverted"}), ("lenet5", set()),
    ],
)  # fmt: skip
def test_blocks_are_what_branches(network: str, kinds: set[str]) -> None:
    assert block_kinds(hierarchy(graph(network))) == kinds


def test_equal_blocks_fold_and_the_striding_one_stays_apart() -> None:
    """He et al. 2016, table 1: 8 blocks in conv3_x and 36 in conv4_x, the first of each changes the size."""
    assert [run.count for run in fold(groups("resnet152", "layer2"))] == [1, 7]
    assert [run.count for run in fold(groups("resnet152", "layer3"))] == [1, 35]


def test_a_dense_block_folds_by_its_growth() -> None:
    """Huang et al. 2017, table 1: 24 layers in dense block 3 of DenseNet-121, growth rate 32."""
    (run,) = fold(groups("densenet121", "denseblock3"), similar=True)
    assert (run.count, run.growth) == (24, 32)
    assert len(fold(groups("densenet121", "denseblock3"))) == 24, "no two of them are equal"


def test_inception_modules_of_other_widths_do_not_fold() -> None:
    inception = [c for c in hierarchy(graph("googlenet")).children if isinstance(c, Group) and c.kind == "inception"]
    assert [run.count for run in fold(inception, similar=True)] == [1] * 9


def test_a_chain_is_a_chain_and_a_residual_is_not() -> None:
    assert all(not is_chain(group) for group in groups("resnet50", "layer1"))
    level = next(c for c in hierarchy(graph("unet")).children if isinstance(c, Group) and c.path == "level1")
    assert is_chain(level)


def dense(depth: int) -> Graph:
    """Every concatenation of all earlier maps, as torch's DenseNet writes it."""
    names, nodes = ["x"], []
    values = {"x": Value((1, 4, 8, 8))}
    for i in range(depth):
        cat, new = f"cat{i}", f"new{i}"
        values[cat] = Concat().infer([values[n] for n in names])
        nodes.append(Node(cat, Concat(), tuple(names), values[cat]))
        values[new] = Value((1, 4, 8, 8))
        nodes.append(Node(new, Identity(), (cat,), values[new]))
        names.append(new)
    return Graph("dense", {"x": values["x"]}, tuple(nodes), (names[-1],))


def leaves(graph: Graph, name: str) -> list[str]:
    """What a concatenation is made of, in order, looking through concatenations inside."""
    if name in graph.inputs or not isinstance(graph.node(name).op, Concat):
        return [name]
    return [leaf for i in graph.node(name).inputs for leaf in leaves(graph, i)]


def test_concat_chains_hold_the_same_maps_in_the_same_order() -> None:
    before = dense(12)
    after, rewritten = chain_concats(before)
    assert rewritten == 10, "all but the first two, which have nothing to build on"
    assert sum(len(node.inputs) for node in after.nodes) < 4 * len(after.nodes)
    for i in range(12):
        assert leaves(after, f"cat{i}") == list(before.node(f"cat{i}").inputs)
        assert after.value(f"cat{i}").shape == before.value(f"cat{i}").shape


def test_networks_without_such_concatenations_stay_as_they_are() -> None:
    before = graph("resnet18")
    assert chain_concats(before) == (before, 0)
