"""Which layers have filters, their weights in order, and the order of their figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cnnscope
from cnnscope.errors import CnnscopeError, Diagnostic
from cnnscope.ir import Graph
from cnnscope.learned.filters.layer_filters import Chosen, Sort, choose, is_coloured, layer_filters, weights_of

SPEC = """\
cnnscope: 1
name: Mixed
input: {shape: [3, 16, 16]}
layers:
  - conv: {out: 8, kernel: 3, norm: batch, act: relu, name: stem}
  - depthwise: {kernel: 3, name: dw}
  - sepconv: {out: 12, kernel: 3, name: sep}
  - upconv: {out: 6, kernel: 2, stride: 2, groups: 2, name: up}
  - globalavgpool
  - flatten
  - linear: {out: 5, name: fc}
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> cnnscope.api.Model:
    path = tmp_path_factory.mktemp("specs") / "mixed.yaml"
    path.write_text(SPEC)
    return cnnscope.load(path)


def only(graph: Graph, name: str) -> Chosen:
    (chosen,) = choose(graph, [name])
    return chosen


def refused(graph: Graph, *names: str) -> Diagnostic:
    with pytest.raises(CnnscopeError) as caught:
        choose(graph, names)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_without_a_name_it_is_the_first_convolution(mixed: cnnscope.api.Model) -> None:
    (chosen,) = choose(mixed.graph)
    assert chosen.name == "stem"
    assert is_coloured(mixed.graph, chosen)
    assert not is_coloured(mixed.graph, only(mixed.graph, "dw"))


def test_weights_come_as_filters_first(mixed: cnnscope.api.Model) -> None:
    module = mixed.module()
    state = module.state_dict()
    shapes = {name: weights_of(only(mixed.graph, name), state).shape for name in ("stem", "dw", "up")}
    assert shapes == {"stem": (8, 3, 3, 3), "dw": (8, 1, 3, 3), "up": (6, 6, 2, 2)}
    np.testing.assert_array_equal(weights_of(only(mixed.graph, "stem"), state), state["stem.conv.weight"].numpy())


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_filters_of_a_transposed_convolution_are_what_an_input_stamps(groups: int) -> None:
    module = nn.Sequential(nn.ConvTranspose2d(6, 12, (2, 3), groups=groups), nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(1, 6, 4, 4))
    graph = cnnscope.load(module, input=(6, 4, 4)).graph
    found = weights_of(choose(graph)[0], module.state_dict())
    assert found.shape == (12, 6 // groups, 2, 3)
    for channel in range(6):
        x = torch.zeros(1, 6, 1, 1)
        x[0, channel] = 1
        stamped = (module[0](x) - module[0].bias.view(1, -1, 1, 1))[0].detach().numpy()
        group, place = divmod(channel, 6 // groups)
        for out in range(12):
            expected = found[out, place] if out // (12 // groups) == group else np.zeros((2, 3))
            np.testing.assert_allclose(stamped[out], expected, atol=1e-6)


def test_kernels_of_signals_are_one_high() -> None:
    model = cnnscope.load("m5")
    assert weights_of(choose(model.graph)[0], model.module().state_dict()).shape == (128, 1, 1, 80)


def test_an_unknown_layer_is_answered_with_the_nearest(mixed: cnnscope.api.Model) -> None:
    found = refused(mixed.graph, "stm")
    assert (found.code, found.message, found.hint) == ("E205", "`Mixed` has no layer `stm`", "did you mean `stem`?")
    found = refused(mixed.graph, "zzz")
    assert found.hint is not None
    assert found.hint.startswith("layers with filters: `stem`, `dw`, ")


def test_layers_without_filters_say_what_they_are(mixed: cnnscope.api.Model) -> None:
    found = refused(mixed.graph, "fc")
    assert (found.code, found.message) == ("E485", "`fc` has no filters, it is `linear`")
    assert found.hint is not None
    assert found.hint.startswith("layers with filters: `stem`")
    assert refused(cnnscope.load("mlp").graph).message == "`MLP` has no filters: none of its layers is a convolution"


def test_a_layer_with_several_names_them(mixed: cnnscope.api.Model) -> None:
    found = refused(mixed.graph, "sep")
    assert (found.code, found.message) == ("E485", "`sep` has several convolutions")
    assert found.hint is not None
    first = found.hint.removeprefix("name one: ").split(", ")[0].strip("`")
    assert only(mixed.graph, first).node.name == first


def test_three_spatial_axes_are_refused() -> None:
    found = refused(cnnscope.load("r3d_18").graph)
    assert found.code == "E485"
    assert found.message.endswith("have three spatial axes, and a picture has two")


def test_weights_that_are_not_finite_are_refused(mixed: cnnscope.api.Model) -> None:
    state = dict(mixed.module().state_dict())
    broken = state["stem.conv.weight"].clone()
    broken[0, 0, 0, 0], broken[1, 2, 2, 2] = float("nan"), float("inf")
    with pytest.raises(CnnscopeError) as caught:
        weights_of(only(mixed.graph, "stem"), {**state, "stem.conv.weight": broken})
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("E486", "2 of the 216 weights of `stem` are not finite")


@pytest.mark.parametrize("sort", ["norm", "orientation", "redundancy"])
def test_orders(mixed: cnnscope.api.Model, sort: Sort) -> None:
    weights = np.random.default_rng(1).standard_normal((8, 3, 3, 3)).astype(np.float32)
    weights[3] = 0
    rows = layer_filters(only(mixed.graph, "stem"), weights, sort).rows
    assert sorted(row.index for row in rows) == list(range(8))
    assert rows[-1].index == 3
    if sort == "norm":
        values = [row.norm for row in rows]
        assert values == sorted(values, reverse=True)
        np.testing.assert_allclose(values, np.sort(np.linalg.norm(weights.reshape(8, -1), axis=1))[::-1], rtol=1e-5)
    elif sort == "orientation":
        angles = [row.orientation for row in rows[:-1]]
        assert angles == sorted(angles)  # type: ignore[type-var]  # those before the last have one
    else:
        cosines = [row.redundancy for row in rows[:-1]]
        assert cosines == sorted(cosines, reverse=True)  # type: ignore[type-var]  # as above


def test_a_layer_states_its_chance(mixed: cnnscope.api.Model) -> None:
    weights = np.random.default_rng(1).standard_normal((8, 1, 3, 3)).astype(np.float32)
    chance = layer_filters(only(mixed.graph, "dw"), weights).chance
    assert all(found is not None and 0 < found.median < found.p95 < 1 for found in vars(chance).values())
    pointlike = layer_filters(only(mixed.graph, "stem"), np.ones((4, 3, 1, 1), np.float32)).chance
    assert (pointlike.coherence, pointlike.similarity) == (None, None)
