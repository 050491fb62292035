"""The words that build networks out of layers are explained with the keys that the language has."""

from __future__ import annotations

import re

import pytest

from cnnscope.errors import CnnscopeError
from cnnscope.ops import REGISTRY
from cnnscope.ops.base import named
from cnnscope.questions import layer_types
from cnnscope.spec import load
from cnnscope.spec.jsonschema import language
from cnnscope.spec.layers import STRUCTURES
from cnnscope.spec.structures import STRUCTURES_EXPLAINED


def keys(word: str) -> set[str]:
    definition = language()["definitions"]["head" if word == "heads" else word]
    return set(next((c for c in definition.get("anyOf", ()) if "properties" in c), definition)["properties"])


@pytest.mark.parametrize("word", STRUCTURES_EXPLAINED)
def test_a_word_has_the_keys_that_the_schema_has(word: str) -> None:
    shown = [record["argument"] for record in layer_types(word).records()]
    assert set(shown) == keys(word)
    assert len(shown) == len(set(shown))


def test_every_structure_is_explained() -> None:
    assert set(STRUCTURES_EXPLAINED) == {*STRUCTURES, "heads"}


@pytest.mark.parametrize("word", STRUCTURES_EXPLAINED)
def test_a_page_fits_80_columns(word: str) -> None:
    text = str(layer_types(word))
    assert max(map(len, text.splitlines())) <= 88
    assert text.startswith(f"{word}: ")


HEAD = """cnnscope: 1
input: {shape: [64, 28, 28]}
blocks:
  basic: {params: {out: ~, stride: 1}, layers: [conv: {out: $out, kernel: 3, pad: half, stride: $stride}]}
  stage: {params: {out: ~, repeat: ~}, layers: [use: {block: basic, repeat: $repeat, with: {out: $out}}]}
layers:
  - relu: {name: right}
  - conv: {out: 64, kernel: 3, pad: half, name: tower}
  - relu: {name: mid}
"""


@pytest.mark.parametrize("word", STRUCTURES_EXPLAINED)
def test_examples_load(word: str) -> None:
    structure = STRUCTURES_EXPLAINED[word]
    lines = [f"  {line}" if structure.layer else line for line in structure.examples]
    text = HEAD + "\n".join(lines)
    assert load("net.yaml", text=text).graph.nodes


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("Conv2d", "conv"), ("nn.Conv3d", "conv"), ("torch.nn.LazyConv1d", "conv"), ("Conv2DTranspose", "upconv"),
        ("ConvTranspose1d", "upconv"), ("DepthwiseConv2D", "depthwise"), ("SeparableConv1D", "sepconv"),
        ("GlobalAveragePooling2D", "globalavgpool"), ("GlobalMaxPool1D", "globalmaxpool"), ("MaxPooling3D", "maxpool"),
        ("AveragePooling1D", "avgpool"), ("AdaptiveAvgPool3d", "adaptiveavgpool"), ("Dense", "linear"),
        ("BatchNorm1d", "batchnorm"), ("SyncBatchNorm", "batchnorm"), ("LayerNormalization", "layernorm"),
        ("GroupNormalization", "groupnorm"), ("InstanceNorm2d", "instancenorm"), ("LocalResponseNorm", "lrn"),
        ("UpSampling2D", "upsample"), ("ZeroPadding2D", "pad"), ("ReflectionPad2d", "pad"), ("Cropping2D", "crop"),
        ("Dropout", "dropout"), ("Dropout2d", "spatialdropout"), ("SpatialDropout3D", "spatialdropout"),
        ("LeakyReLU", "leakyrelu"), ("Swish", "silu"), ("Concatenate", "concat"), ("SimpleRNN", "rnn"),
        ("LSTM", "lstm"), ("MultiHeadAttention", "attention"), ("ChannelShuffle", "shuffle"),
    ],
)  # fmt: skip
def test_names_of_frameworks(name: str, tag: str) -> None:
    """`ops` shows the layer type, a spec suggests it."""
    assert named(name) is REGISTRY[tag]
    assert layer_types(name).to_json() == layer_types(tag).to_json()
    word = name.rpartition(".")[2]
    if word != tag:
        with pytest.raises(CnnscopeError) as caught:
            load("net.yaml", text=f"cnnscope: 1\ninput: {{shape: [3, 8, 8]}}\nlayers: [{word}: {{}}]")
        assert caught.value.diagnostics[0].hint == f"did you mean `{tag}`?"


@pytest.mark.parametrize("name", ["conv2dd", "Conv4d", "nn", "2d", "", "."])
def test_other_names_are_unknown(name: str) -> None:
    assert named(name) is None
    with pytest.raises(CnnscopeError, match=re.escape(f"E201: unknown layer type `{name}`")):
        layer_types(name)
