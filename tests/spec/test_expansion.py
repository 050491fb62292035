"""What the language means: parameters, defaults, blocks, residuals, joins, heads, reuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec_rows import graph_of, inputs, names, rows

from cnnscope.analysis.cost import node_costs, total
from cnnscope.errors import CnnscopeError
from cnnscope.ops.conv import Conv
from cnnscope.spec import load


def outputs(text: str, **options: object) -> list[tuple[int, ...]]:
    return [shape for _, _, shape in rows(text, **options)]


def convs(text: str) -> list[Conv]:
    return [node.op for node in graph_of(text).nodes if isinstance(node.op, Conv)]


# -- values -----------------------------------------------------------------------------------------------------------


def test_parameters_of_the_spec_and_their_replacement() -> None:
    text = "params: {w: 3, twice: '${2 * w}'}\nlayers: [conv: {out: $w, kernel: 1}, conv: {out: $twice, kernel: 1}]"
    assert outputs(text) == [(3, 8, 8), (6, 8, 8)]
    assert outputs(text, set={"w": 5}) == [(5, 8, 8), (10, 8, 8)]
    assert outputs(text, set={"w": "5", "twice": 7}) == [(5, 8, 8), (7, 8, 8)]


def test_any_value_can_be_a_parameter() -> None:
    text = """params: {k: [1, 3], a: {leakyrelu: 0.1}, n: batch, p: same, off: false}
layers: [conv: {out: 2, kernel: $k, act: $a, norm: $n, pad: $p, bias: $off}]
"""
    graph = graph_of(text)
    assert [node.op.tag for node in graph.nodes] == ["conv", "batchnorm", "leakyrelu"]
    assert graph.nodes[2].op.arguments() == {"slope": 0.1}
    assert graph.nodes[0].op.arguments()["kernel"] == [1, 3]
    assert not graph.nodes[0].op.arguments()["bias"]


def test_a_block_sees_its_own_parameters_and_the_spec_s_only() -> None:
    text = """params: {w: 2, out: 9}
blocks:
  outer: {params: {hidden: 5}, layers: [use: inner]}
  inner: {params: {out: "${w + 1}"}, layers: [conv: {out: $out, kernel: "${channels - 3}"}]}
layers: [use: outer]
"""
    assert outputs(text) == [(3, 8, 8)], "its own `out`, by default from the spec's w"


def test_a_default_may_use_parameters_above_it_and_the_channels() -> None:
    block = (
        "blocks: {b: {params: {expand: ~, wide: '${expand * channels}'}, layers: [conv: {out: $wide, kernel: 1}]}}\n"
    )
    assert outputs(block + "layers: [use: {block: b, with: {expand: 6}}]") == [(24, 8, 8)]
    assert outputs(block + "layers: [use: {block: b, with: {expand: 6, wide: 5}}]") == [(5, 8, 8)]


def test_channels_are_those_entering_the_list() -> None:
    text = """layers:
  - conv: {out: 6, kernel: 1}
  - conv: {out: $channels, kernel: 1, name: top}
  - conv: {out: 6, kernel: 1}
  - residual:
      shortcut: none
      layers: [conv: {out: 12, kernel: 1}, conv: {out: $channels, kernel: 1, name: in_residual}]
  - concat: {paths: {a: [conv: {out: 9, kernel: 1}, conv: {out: $channels, kernel: 1, name: x}]}}
  - flatten
  - linear: 10
  - residual: {layers: [linear: 20, linear: $channels]}
"""
    shapes = {name: shape for name, _, shape in rows(text)}
    assert shapes["top"][0] == 4
    assert shapes["in_residual"][0] == 6
    assert shapes["a.x"][0] == 6
    assert shapes["linear3"] == (10,)


def test_defaults_are_laid_over_each_other() -> None:
    text = """defaults: {conv: {kernel: 3, pad: half, act: relu}}
blocks:
  plain: {layers: [conv: {out: 2}]}
  other:
    defaults: {conv: {kernel: 5, act: none}}
    layers: [conv: {out: 2}, conv: {out: 2, act: tanh}, use: plain]
layers: [use: other, use: plain, conv: {out: 2, kernel: 1}]
"""
    assert [op.kernel[0] for op in convs(text)] == [5, 5, 3, 3, 1]
    assert [node.op.tag for node in graph_of(text).nodes] == [
        "conv", "conv", "tanh", "conv", "relu", "conv", "relu", "conv", "relu",
    ]  # fmt: skip


def test_the_spec_s_defaults_see_the_spec_s_parameters_inside_a_block() -> None:
    text = """params: {k: 3}
defaults: {conv: {kernel: $k, pad: half}}
blocks: {b: {params: {k: ~}, layers: [conv: {out: $k}]}}
layers: [use: {block: b, with: {k: 5}}]
"""
    (op,) = convs(text)
    assert (op.out, op.kernel) == (5, (3, 3))


def test_the_arguments_of_norm_and_act_and_their_own_defaults() -> None:
    text = """defaults: {batchnorm: {eps: 0.1, momentum: 0.5}, conv: {out: 2, kernel: 1, norm: {batch: {eps: 1e-3}}}}
layers: [conv, conv: {norm: batch}, conv: {norm: none}]
"""
    norms = [node.op.arguments() for node in graph_of(text).nodes if node.op.tag == "batchnorm"]
    assert [(norm["eps"], norm["momentum"]) for norm in norms] == [(1e-3, 0.5), (0.1, 0.5)]


def test_when_leaves_layers_out() -> None:
    text = "params: {a: 0}\nlayers: [relu: {when: $a}, tanh: {when: '${channels == 4}'}, gelu: {when: true}]"
    assert names(text) == ["tanh1", "gelu1"]
    assert names(text, set={"a": 1}) == ["relu1", "tanh1", "gelu1"]


# -- blocks -----------------------------------------------------------------------------------------------------------


def test_first_is_for_repetition_zero() -> None:
    block = "blocks: {b: {params: {s: 1}, layers: [maxpool: {kernel: 1, stride: $s}]}}\n"
    assert outputs(block + "layers: [use: {block: b, repeat: 3, first: {s: 2}}]") == [(4, 4, 4)] * 3
    assert outputs(block + "layers: [use: {block: b, repeat: 3, with: {s: 2}, first: {s: 1}}]") == [
        (4, 8, 8), (4, 4, 4), (4, 2, 2),
    ]  # fmt: skip


ROWS = st.lists(st.tuples(st.integers(1, 6), st.sampled_from([1, 3]), st.booleans()), min_size=1, max_size=6)


@given(ROWS, st.integers(1, 4))
def test_a_block_is_its_layers_written_out(table: list[tuple[int, int, bool]], repeat: int) -> None:
    cells = ", ".join(f"[{out}, {kernel}, {str(wide).lower()}]" for out, kernel, wide in table)
    blocks = f"""blocks:
  unit:
    params: {{out: ~, kernel: ~, wide: ~}}
    layers:
      - conv: {{out: $out, kernel: $kernel, pad: half, act: relu}}
      - conv: {{out: "${{2 * out}}", kernel: 1, when: $wide}}
  all:
    layers:
      - use: {{block: unit, each: [[out, kernel, wide], {cells}]}}
"""
    written = ""
    for out, kernel, wide in table * repeat:
        written += f"  - conv: {{out: {out}, kernel: {kernel}, pad: half, act: relu}}\n"
        written += f"  - conv: {{out: {2 * out}, kernel: 1}}\n" if wide else ""
    short = graph_of(f"{blocks}layers:\n  - use: {{block: all, repeat: {repeat}}}\n")
    long = graph_of(f"layers:\n{written}")
    assert [(node.op, node.output) for node in short.nodes] == [(node.op, node.output) for node in long.nodes]
    assert [param.shape for param in short.params.values()] == [param.shape for param in long.params.values()]


# -- residuals and joins ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shortcut", "branch", "expected"),
    [
        ("identity", "conv: {out: 4, kernel: 1}", ["conv1", "add"]),
        ("project", "conv: {out: 4, kernel: 1}", ["conv1", "shortcut", "add"]),
        ("identity_or_project", "conv: {out: 4, kernel: 1}", ["conv1", "add"]),
        ("identity_or_project", "conv: {out: 5, kernel: 1}", ["conv1", "shortcut", "add"]),
        ("identity_or_none", "conv: {out: 4, kernel: 1}", ["conv1", "add"]),
        ("identity_or_none", "conv: {out: 5, kernel: 1}", ["conv1"]),
        ("none", "conv: {out: 4, kernel: 1}", ["conv1"]),
        ("[maxpool: {kernel: 1}]", "relu", ["relu1", "shortcut.maxpool1", "add"]),
        ("[]", "relu", ["relu1", "add"]),
    ],
)
def test_shortcuts(shortcut: str, branch: str, expected: list[str]) -> None:
    assert names(f"layers: [residual: {{shortcut: {shortcut}, layers: [{branch}]}}]") == expected


def test_the_activation_behind_a_residual_stays_where_nothing_is_added() -> None:
    text = "layers: [residual: {act: relu, shortcut: identity_or_none, layers: [conv: {out: 5, kernel: 1}]}]"
    assert names(text) == ["conv1", "relu1"]


def test_a_projection_takes_bias_norm_and_strides() -> None:
    text = """defaults: {conv: {bias: false, norm: batch, act: relu, pad: half, dilation: 2}}
layers:
  - residual:
      shortcut: project
      layers: [conv: {out: 6, kernel: 3, stride: [1, 2]}, maxpool: {kernel: 1, stride: 2}, conv: {out: 7, kernel: 1}]
"""
    graph = graph_of(text)
    conv = graph.node("shortcut.conv")
    assert isinstance(conv.op, Conv)
    assert (conv.op.out, conv.op.kernel, conv.op.stride, conv.op.dilation, conv.op.bias) == (
        7,
        (1, 1),
        (2, 4),
        (1, 1),
        False,
    )
    assert graph.node("shortcut.norm").inputs == ("shortcut.conv",)
    assert "shortcut.act" not in {node.name for node in graph.nodes}
    assert graph.node("add").inputs == ("conv2.act", "shortcut.norm")


@pytest.mark.parametrize(("size", "kernel", "stride"), [(9, 3, 2), (8, 3, 3), (7, 5, 2), (224, 7, 4)])
def test_a_projection_fits_wherever_same_sized_windows_do(size: int, kernel: int, stride: int) -> None:
    text = f"""cnnscope: 1
input: {{shape: [2, {size}, {size}]}}
layers: [residual: {{shortcut: project, layers: [conv: {{out: 3, kernel: {kernel}, stride: {stride}, pad: half}}]}}]
"""
    assert outputs(text)[-1] == (3, -(-size // stride), -(-size // stride))


def test_the_order_of_a_difference() -> None:
    assert inputs("layers: [relu, sub: {from: [input, relu1]}]", "sub") == ("input", "relu1")
    assert inputs("layers: [sub: {paths: {a: [relu], b: []}}]", "sub") == ("a.relu1", "input")


def test_split_shares_the_channels() -> None:
    text = "layers: [concat: {split: channels, paths: {a: [], b: [conv: {out: $channels, kernel: 1}]}}]"
    assert rows(text) == [
        ("a.split", "slice", (2, 8, 8)),
        ("b.split", "slice", (2, 8, 8)),
        ("b.conv1", "conv", (2, 8, 8)),
        ("concat", "concat", (4, 8, 8)),
    ]
    first, second = (node.op.arguments() for node in graph_of(text).nodes[:2])
    assert [(part["axis"], part["start"], part["stop"]) for part in (first, second)] == [(1, 0, 2), (1, 2, 4)]


def test_composites_become_plain_layers() -> None:
    layers = "layers: [se: {squeeze: 2}, sepconv: {out: 6, kernel: 3, act: relu}]"
    text = f"defaults: {{conv: {{norm: batch, act: gelu}}}}\n{layers}"
    graph = graph_of(text)
    assert [(node.name, node.op.tag) for node in graph.nodes] == [
        ("se1.scale.gate.mean", "globalavgpool"),
        ("se1.scale.gate.reduce.conv", "conv"),
        ("se1.scale.gate.reduce.act", "relu"),
        ("se1.scale.gate.expand.conv", "conv"),
        ("se1.scale.gate.expand.act", "sigmoid"),
        ("se1.scale.mul", "mul"),
        ("sepconv1.depthwise", "conv"),
        ("sepconv1.pointwise.conv", "conv"),
        ("sepconv1.pointwise.act", "relu"),
    ]
    assert graph.outputs == ("sepconv1.pointwise.act",)


def test_like_takes_another_layer_s_size() -> None:
    text = "layers: [maxpool: 2, upsample: {like: input}, crop: {like: maxpool1}]"
    assert outputs(text) == [(4, 4, 4), (4, 8, 8), (4, 4, 4)]


# -- inputs and outputs -----------------------------------------------------------------------------------------------


def test_hwc_is_the_author_s_layout_and_the_graph_s_is_not() -> None:
    text = "cnnscope: 1\ninput: {shape: [28, 30, 1], layout: HWC}\nlayers: [conv: {out: 2, kernel: [3, 5]}]\n"
    graph = graph_of(text)
    assert graph.layout == "HWC"
    assert graph.inputs["input"].shape == (1, 1, 28, 30)
    assert graph.nodes[0].output.features == (2, 26, 26)
    assert graph_of(text, input=(10, 12, 1)).inputs["input"].features == (1, 10, 12)


@pytest.mark.parametrize(
    ("shape", "kind", "full"),
    [("[7]", "flat", (1, 7)), ("[2, 7]", "map", (1, 2, 7)), ("[2, 7, 6, 5]", "map", (1, 2, 7, 6, 5))],
)
def test_one_to_three_dimensions_and_vectors(shape: str, kind: str, full: tuple[int, ...]) -> None:
    value = graph_of(f"cnnscope: 1\ninput: {{shape: {shape}}}\nlayers: [relu]\n").inputs["input"]
    assert (value.kind, value.shape) == (kind, full)


def test_several_inputs() -> None:
    both = "inputs: {left: {shape: [1, 8, 8]}, right: {shape: [1, 8, 8]}}"
    text = f"cnnscope: 1\n{both}\nlayers: [add: {{from: [left, right]}}]\n"
    assert inputs(text, "add") == ("left", "right")
    other = graph_of(text, input={"left": (1, 3, 3), "right": (1, 3, 3)})
    assert other.node("add").output.features == (1, 3, 3)


def test_an_axis_of_the_input_that_is_a_parameter() -> None:
    text = """cnnscope: 1
input: {shape: [$in_channels, 8, 8]}
params: {in_channels: 1}
layers: [conv: {out: "${2 * in_channels}", kernel: 3}]
"""
    assert graph_of(text).node("conv1").output.features == (2, 6, 6)
    assert graph_of(text, set={"in_channels": 3}).node("conv1").output.features == (6, 6, 6)
    assert graph_of(text, input=(3, 5, 5)).node("conv1").output.features == (6, 3, 3)
    assert graph_of(text, input=(5,), set={"in_channels": 3}).node("conv1").output.features == (6, 3, 3)
    with pytest.raises(CnnscopeError, match="the input is 2x8x8"):
        graph_of(text, input=(3, 5, 5), set={"in_channels": 2})
    with pytest.raises(CnnscopeError, match="the input is 1x8x8"):
        graph_of(text, input=(32, 32, 3))


def test_a_training_only_head_has_weights_but_no_work() -> None:
    text = """layers: [conv: {out: 4, kernel: 1}]
heads:
  main: [conv: {out: 2, kernel: 1}]
  aux: {training_only: true, layers: [conv: {out: 3, kernel: 1}]}
"""
    graph = graph_of(text)
    assert [node.training_only for node in graph.nodes] == [False, False, True]
    cost = total(node_costs(graph).values())
    assert cost.params == (4 * 4 + 4) + (4 * 2 + 2) + (4 * 3 + 3)
    assert cost.macs == 64 * (4 * 4 + 4 * 2)


# -- weights ----------------------------------------------------------------------------------------------------------


def test_reuse_of_a_layer() -> None:
    text = """layers:
  - conv: {out: 4, kernel: 1, norm: batch, act: relu, name: a}
  - reuse: a
  - reuse: {layer: a, from: input, name: b}
"""
    graph = graph_of(text)
    assert names(text) == [f"{row}.{part}" for row in ("a", "a2", "b") for part in ("conv", "norm", "act")]
    assert dict(graph.node("b.conv").params) == dict(graph.node("a.conv").params) == {
        "weight": "a.conv.weight", "bias": "a.conv.bias",
    }  # fmt: skip
    assert graph.node("a2.conv").inputs == ("a.act",)
    assert graph.node("b.conv").inputs == ("input",)
    trainable = [key for key, param in graph.params.items() if not param.buffer]
    assert trainable == ["a.conv.weight", "a.conv.bias", "a.norm.weight", "a.norm.bias"]


def test_reuse_of_blocks_residuals_and_heads() -> None:
    text = """blocks: {unit: {params: {k: 1}, layers: [conv: {out: $channels, kernel: $k}, relu]}}
layers:
  - use: {block: unit, repeat: 2, with: {k: 1}, name: s}
  - residual: {name: r, layers: [conv: {out: 4, kernel: 1}]}
  - reuse: {layer: s, name: t}
  - reuse: {layer: r, name: q}
  - reuse: {layer: t, name: u}
heads:
  one: [conv: {out: 2, kernel: 1, name: last}]
  two: {from: s, layers: [reuse: one]}
"""
    graph = graph_of(text)
    weights = {node.name: node.params["weight"] for node in graph.nodes if node.params}
    assert weights == {
        "s.0.conv1": "s.0.conv1.weight", "s.1.conv1": "s.1.conv1.weight", "r.conv1": "r.conv1.weight",
        "t.0.conv1": "s.0.conv1.weight", "t.1.conv1": "s.1.conv1.weight", "q.conv1": "r.conv1.weight",
        "u.0.conv1": "s.0.conv1.weight", "u.1.conv1": "s.1.conv1.weight",
        "one.last": "one.last.weight", "two.one.last": "one.last.weight",
    }  # fmt: skip
    assert graph.node("q.add").inputs == ("q.conv1", "t.1.relu1")
    assert graph.outputs == ("one.last", "two.one.last")


def test_frozen_layers_blocks_and_patterns() -> None:
    block = "blocks: {unit: {layers: [conv: {out: 4, kernel: 1, norm: batch}]}}\n"
    text = (
        block
        + """layers:
  - conv: {out: 4, kernel: 1, frozen: true, name: a}
  - use: {block: unit, frozen: true, name: b}
  - use: {block: unit, repeat: 2, name: c}
  - conv: {out: 4, kernel: 1, name: d}
freeze: [c.0, "d.b*"]
"""
    )
    frozen = {key for key, param in graph_of(text).params.items() if not param.trainable and not param.buffer}
    assert frozen == {
        "a.weight", "a.bias",
        "b.conv1.conv.weight", "b.conv1.conv.bias", "b.conv1.norm.weight", "b.conv1.norm.bias",
        "c.0.conv1.conv.weight", "c.0.conv1.conv.bias", "c.0.conv1.norm.weight", "c.0.conv1.norm.bias",
        "d.bias",
    }  # fmt: skip


# -- what comes with the network --------------------------------------------------------------------------------------


def test_files_are_found_from_the_spec_s_folder() -> None:
    text = """cnnscope: 1
name: Small
about: {year: 1998, source: a paper}
input: {shape: [1, 8, 8]}
reference: {params: 0, macs: 0, source: by hand}
weights: weights/net.safetensors
data: /data/mnist
labels: [zero, 1, 2.5]
preprocess: {resize: 32, mean: [0.5], std: 0.25}
layers: [relu]
"""
    spec = load("models/net.yaml", text=text)
    assert (spec.name, str(spec.weights), str(spec.data)) == ("Small", "models/weights/net.safetensors", "/data/mnist")
    assert spec.labels == ("zero", "1", "2.5")
    assert spec.about == {"year": 1998, "source": "a paper"}
    assert spec.reference == {"params": 0, "macs": 0, "source": "by hand"}
    assert spec.preprocess == {"resize": 32, "mean": [0.5], "std": 0.25}
    assert str(load("a/b.yaml", text=text.replace("[zero, 1, 2.5]", "names.txt")).labels) == "a/names.txt"


def test_a_spec_without_a_name_has_its_file_s() -> None:
    assert load("models/tiny.yaml", text="cnnscope: 1\ninput: {shape: [1, 8, 8]}\nlayers: [relu]\n").name == "tiny"
