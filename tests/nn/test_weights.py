"""A weight file beside a network: what matches, what does not, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from cnnscope import api
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node, Param, Value
from cnnscope.nn.build import build
from cnnscope.nn.checkpoint import Checkpoint
from cnnscope.nn.weights import NameMap, compare, load_weights
from cnnscope.ops.base import Op
from cnnscope.ops.conv import Conv
from cnnscope.ops.movement import Flatten
from cnnscope.ops.norm import BatchNorm
from cnnscope.ops.product import Linear


def chain(*layers: tuple[str, Op], size: tuple[int, ...] = (3, 4, 4), name: str = "net") -> Graph:
    """Layers one behind the other."""
    value = Value((1, *size))
    inputs, nodes, params, last = {"input": value}, [], {}, "input"
    for layer, op in layers:
        bound = op.bind([value])
        keys = {}
        for buffer, shapes in ((False, bound.weights([value])), (True, bound.buffers([value]))):
            for role, shape in shapes.items():
                keys[role] = f"{layer}.{role}"
                dtype = "int64" if role == "num_batches_tracked" else "float32"
                params[keys[role]] = Param(shape, dtype, trainable=not buffer, buffer=buffer)
        value = bound.infer([value])
        nodes.append(Node(layer, bound, (last,), value, keys))
        last = layer
    return Graph(name, inputs, tuple(nodes), (last,), params)


NET = chain(
    ("conv", Conv.read({"out": 2, "kernel": 3, "pad": 1}, 2)), ("bn", BatchNorm()), ("flat", Flatten()),
    ("fc", Linear(out=5)),
)  # fmt: skip
POINTWISE = Conv.read({"out": 3, "kernel": 1, "bias": False}, 2)
KEYS = {
    "conv.weight": (2, 3, 3, 3), "conv.bias": (2,), "bn.weight": (2,), "bn.bias": (2,), "bn.running_mean": (2,),
    "bn.running_var": (2,), "bn.num_batches_tracked": (), "fc.weight": (5, 32), "fc.bias": (5,),
}  # fmt: skip


def file(shapes: Mapping[str, tuple[int, ...]]) -> Checkpoint:
    counts = {key: "int64" if key.endswith("tracked") else "float32" for key in shapes}
    return Checkpoint(Path("w.pt"), {key: Param(shape, counts[key]) for key, shape in shapes.items()})


def complaint(graph: Graph, checkpoint: Checkpoint) -> tuple[str, list[str], str | None]:
    (diagnostic,) = compare(graph, checkpoint).error().diagnostics
    assert diagnostic.code == "E425"
    return diagnostic.message, [note.message for note in diagnostic.notes], diagnostic.hint


def test_everything_matches() -> None:
    comparison = compare(NET, file(KEYS))
    assert comparison.fits
    assert comparison.matched == {key: key for key in KEYS}


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model.", "model.module.module."])
def test_usual_prefixes_are_taken_off(prefix: str) -> None:
    comparison = compare(NET, file({prefix + key: shape for key, shape in KEYS.items()} | {"n_averaged": ()}))
    assert comparison.fits
    assert comparison.stripped == prefix
    assert comparison.matched == {key: prefix + key for key in KEYS}


def test_a_prefix_the_network_has_too_stays() -> None:
    graph = chain(("model.conv", POINTWISE), ("model.bn", BatchNorm()))
    shapes = {key: param.shape for key, param in graph.params.items()}
    assert compare(graph, file(shapes)).stripped == ""
    assert compare(graph, file({f"module.{key}": shape for key, shape in shapes.items()})).stripped == "module."


def test_another_prefix_is_named_not_guessed_away() -> None:
    message, notes, hint = complaint(NET, file({f"backbone.{key}": shape for key, shape in KEYS.items()}))
    assert message == "`w.pt` does not fit `net`: 8 missing, 8 not the network's; 0 keys match"
    assert notes[0] == "missing: `conv.weight`; nearest is `backbone.conv.weight`"
    assert hint == "every name in the file starts with `backbone.`; `cnnscope weights map` takes it off"


def test_a_prefix_only_the_network_has() -> None:
    graph = chain(("net.conv", POINTWISE), ("net.bn", BatchNorm()))
    _, _, hint = complaint(graph, file({k.removeprefix("net."): p.shape for k, p in graph.params.items()}))
    assert hint == "every name in the network starts with `net.`; `cnnscope weights map` puts it on"


def test_missing_extra_and_misshapen() -> None:
    shapes = dict(KEYS) | {"fc.weight": (10, 32), "fc.bias": (10,), "convv.bias": (2,), "head.weight": (7, 7, 7)}
    del shapes["conv.bias"]
    message, notes, hint = complaint(NET, file(shapes))
    assert message == "`w.pt` does not fit `net`: 1 missing, 2 not the network's, 2 misshapen; 6 keys match"
    assert notes == [
        "missing: `conv.bias`; nearest is `convv.bias`",
        "not the network's: `convv.bias`; nearest is `conv.bias`",
        "not the network's: `head.weight`",
        "misshapen: `fc.weight` is 5x32 in the network, 10x32 in the file",
        "misshapen: `fc.bias` is 5 in the network, 10 in the file",
    ]
    assert hint is None


def test_many_of_a_kind_are_counted() -> None:
    graph = chain(*((f"c{i}", POINTWISE) for i in range(12)))
    message, notes, hint = complaint(graph, file({f"layer{i}.w": (3, 3, 1, 1) for i in range(12)}))
    assert message == "`w.pt` does not fit `net`: 12 missing, 12 not the network's; 0 keys match"
    assert notes[8] == "missing: 4 more"
    assert len(notes) == 18
    assert hint == "`cnnscope weights map` proposes which is which, by order and shape"


def test_quantised_weights_are_misfits() -> None:
    checkpoint = file(KEYS)
    tensors = dict(checkpoint.tensors) | {"fc.bias": Param((5,), "int8"), "conv.bias": Param((2,), "float16")}
    message, notes, _ = complaint(NET, Checkpoint(Path("w.pt"), tensors))
    assert message == "`w.pt` does not fit `net`: 1 misshapen; 8 keys match"
    assert notes == ["misshapen: `fc.bias` is float32 in the network, int8 in the file"]


def test_counters_are_no_weights() -> None:
    shapes = {key: shape for key, shape in KEYS.items() if not key.endswith("tracked")}
    comparison = compare(NET, file(shapes))
    assert comparison.fits
    assert comparison.counters == ("bn.num_batches_tracked",)


def test_renamed_and_ignored() -> None:
    shapes = {key.replace("conv", "features.0"): shape for key, shape in KEYS.items()} | {"aux.weight": (3, 3)}
    pairs = {"conv.weight": "features.0.weight", "conv.bias": "features.0.bias"}
    assert list(compare(NET, file(shapes), NameMap(pairs)).extra) == ["aux.weight"]
    comparison = compare(NET, file(shapes), NameMap(pairs, ignore=["aux.weight"]))
    assert comparison.fits
    assert comparison.matched["conv.bias"] == "features.0.bias"


def test_one_tensor_for_two_weights() -> None:
    graph = chain(("a", POINTWISE), ("b", POINTWISE))
    names = NameMap({"a.weight": "w", "b.weight": "w"})
    assert compare(graph, file({"w": (3, 3, 1, 1)}), names).matched == {"a.weight": "w", "b.weight": "w"}


# -- loading -----------------------------------------------------------------------------------------------------------


def test_loading(tmp_path: Path) -> None:
    source, target = build(NET, seed=1).double(), build(NET, seed=2).double()
    source.train()(torch.rand(4, 3, 4, 4, dtype=torch.float64))  # moves the running statistics
    state = {f"module.{key}": value for key, value in source.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    x = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    source.eval(), target.eval()
    assert not torch.equal(source(x), target(x))
    comparison = load_weights(target, NET, tmp_path / "w.pt")
    assert comparison.fits
    assert torch.equal(source(x), target(x))


def test_loading_is_all_or_nothing(tmp_path: Path) -> None:
    network = build(NET)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = {key: torch.ones_like(value) for key, value in before.items()}
    state["fc.bias"] = torch.ones(6)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CnnscopeError, match=r"E425: `w\.pt` does not fit `net`: 1 misshapen; 8 keys match"):
        load_weights(network, NET, tmp_path / "w.pt")
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())


def test_a_missing_counter_starts_at_zero(tmp_path: Path) -> None:
    network = build(NET)
    state = {key: torch.ones_like(value) for key, value in network.state_dict().items() if "tracked" not in key}
    torch.save(state, tmp_path / "w.pt")
    network.bn.num_batches_tracked.fill_(9)
    load_weights(network, NET, tmp_path / "w.pt")
    assert network.bn.num_batches_tracked == 0
    assert torch.equal(network.fc.bias, torch.ones(5))


def test_a_module_with_weights_from_a_file(tmp_path: Path) -> None:
    network = build(NET, seed=5)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    loaded = api.load(NET).module(weights=tmp_path / "w.pt")
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in network.state_dict().items())
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    with pytest.raises(CnnscopeError, match=r"E425: `x\.pt` does not fit `net`: 8 missing, 1 not the network's"):
        api.load(NET).module(weights=tmp_path / "x.pt")


def test_tensors_of_a_loss_do_not_undo_a_match() -> None:
    more = {"criterion.weight": (3,), "ema.decay": ()}
    comparison = compare(NET, file(dict(KEYS) | more))
    assert comparison.fits
    assert comparison.extra.keys() == more.keys()
    assert comparison.matched == {key: key for key in KEYS}
    lacking = {key: shape for key, shape in KEYS.items() if key != "conv.bias"}
    assert not compare(NET, file(lacking | more)).fits


def test_the_part_of_a_file_that_has_the_network_is_named() -> None:
    graph = chain(("flat", Flatten()), ("fc", Linear(2)), size=(4, 1, 1))
    own = {"fc.weight": (2, 4), "fc.bias": (2,)}
    parts = {f"{part}.{key}": shape for part in ("net", "ema") for key, shape in own.items()}
    found = compare(graph, file(parts | {"criterion.weight": (2,), "half.fc.weight": (2, 4)}))
    assert found.hint == "its tensors are in a part of the file: `w.pt#net`, `w.pt#ema`"
