"""What ops say when inputs or arguments do not fit, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from cnnscope.errors import CnnscopeError, ShapeError
from cnnscope.ir import Kind, Value
from cnnscope.ops import REGISTRY
from cnnscope.ops.arguments import ArgumentError

Shape = tuple[int, ...]
MAP, ROWS = (6, 9, 9), (5, 8)


def value(shape: Shape, kind: Kind = "map") -> Value:
    return Value((1, *shape), kind=kind)


SHAPES: list[tuple[str, dict[str, Any], list[Value], str, str | None]] = [
    ("conv", {"out": 4, "kernel": 10}, [value(MAP)], "E301: kernel 10 does not fit into 9 + 2*0", None),
    ("conv", {"out": 4, "kernel": 3, "pad": 9, "pad_mode": "reflect"}, [value(MAP)],
     "E301: reflect padding of 9 needs an input larger than that, not 9", None),
    ("conv", {"out": 256, "kernel": 3, "groups": 5}, [value((96, 9, 9))],
     "E301: groups 5 must divide in-channels 96 and out 256", None),
    ("linear", {"out": 4}, [value(MAP)], "E301: `linear` needs a flat or tokens input but gets 6x9x9",
     "put `- flatten` before it"),
    ("maxpool", {"kernel": 3, "pad": 2}, [value(MAP)],
     "E301: pad 2 is more than half the kernel 3: some windows would be empty", None),
    ("avgpool", {"kernel": 12, "stride": 3, "ceil": True}, [value(MAP)], "E301: kernel 12 does not fit into 9 + 2*0",
     None),
    ("lppool", {"kernel": 3, "pad": 1}, [value(MAP)], "E301: `lppool` takes no padding", "put `- pad: 1` before it"),
    ("aps", {"stride": [2, 3]}, [value(MAP)], "E301: stride 2x3 must divide 9x9",
     "put `- pad` or `- crop` before it, or choose another input size"),
    ("blurpool", {"ceil": True}, [value(MAP)], "E301: `blurpool` cannot round its size up", "put `- pad` before it"),
    ("globalavgpool", {}, [value(ROWS, "tokens")], "E301: `globalavgpool` needs a map input but gets 5x8",
     "use `token: 0` to pick a token, or `tokenmean` to average them"),
    ("batchnorm", {}, [value(ROWS, "tokens")], "E301: `batchnorm` needs a map or flat input but gets 5x8",
     "use `layernorm`"),
    ("layernorm", {"axes": 2}, [value(MAP)], "E301: `axes` is for tokens and flat inputs",
     "use `over: all` to normalise a whole map"),
    ("layernorm", {"axes": 3}, [value(ROWS, "tokens")], "E301: `axes: 3` is more than 5x8 has", None),
    ("groupnorm", {"groups": 4}, [value(MAP)], "E301: groups 4 must divide the 6 channels", None),
    ("instancenorm", {}, [value((6, 1, 1))], "E301: `instancenorm` needs more than one position, not 6x1x1", None),
    ("hardtanh", {"low": 1, "high": 1}, [value(MAP)], "E203: `low` 1 must be below `high` 1", None),
    ("softmax", {"axis": 4}, [value(MAP)], "E301: axis 4 does not exist in 6x9x9", "the axes are 1 to 3"),
    ("softmax", {"axis": 0}, [value(MAP)], "E301: axis 0 is the batch", "the axes are 1 to 3"),
    ("softmax", {"axis": -2}, [value((8,), "flat")], "E301: axis -2 is the batch", "the only axis is 1"),
    ("glu", {"axis": 2}, [value(MAP)], "E301: `glu` halves its axis, which has 9 elements: an odd number", None),
    ("add", {}, [value(MAP), value((6, 9, 8))],
     "E303: paths have different sizes: input 1 is 6x9x9, input 2 is 6x9x8", None),
    ("add", {}, [value(MAP), value((6, 1, 1))],
     "E303: paths have different sizes: input 1 is 6x9x9, input 2 is 6x1x1", None),
    ("add", {}, [*[value((1,), "flat")] * 7, value((2,), "flat")],
     "E303: paths have different sizes: input 1 is 1, input 8 is 2", None),
    ("sub", {}, [value(MAP)], "E301: `sub` takes 2 inputs but gets 1", None),
    ("mul", {}, [value(MAP)], "E301: `mul` takes at least 2 inputs but gets 1", None),
    ("mul", {}, [value(MAP), value((6, 1, 3))], "E303: paths have different sizes: input 1 is 6x9x9, input 2 is 6x1x3",
     "only axes of size 1 are stretched"),
    ("mul", {}, [value((9, 8)), value((9, 8), "tokens")],
     "E303: paths have different sizes: input 1 is 9x8 (map), input 2 is 9x8 (tokens)",
     "only axes of size 1 are stretched"),
    ("mul", {}, [value((3, 4), "tensor"), value((5,), "tensor")],
     "E303: paths have different sizes: input 1 is 3x4, input 2 is 5", None),
    ("concat", {}, [value(MAP), value((2, 9, 8))],
     "E303: paths have different sizes: input 1 is 6x9x9, input 2 is 2x9x8", "only the channels may differ"),
    ("flatten", {"start": 3, "end": 1}, [value(MAP)], "E301: `start` 3 lies behind `end` 1 in 6x9x9", None),
    ("reshape", {"shape": [4, 5]}, [value(MAP)], "E301: 6x9x9 has 486 elements, which do not make 4x5", None),
    ("reshape", {"shape": [4, -1]}, [value(MAP)], "E301: 6x9x9 has 486 elements, which do not make 4x-1", None),
    ("reshape", {"shape": [0, -1]}, [value(MAP)],
     "E203: `shape` takes positive numbers and one -1, not [0, -1]", None),
    ("permute", {"order": [0, 1, 2]}, [value(MAP)],
     "E301: `order` [0, 1, 2] is no reordering of the 3 axes of 6x9x9", "each of 1, 2, 3 once"),
    ("slice", {"start": 6}, [value(MAP)], "E301: `6:` takes nothing of axis 1, which has 6 elements", None),
    ("slice", {"axis": 2, "stop": 0}, [value(MAP)], "E301: `0:0` takes nothing of axis 2, which has 9 elements", None),
    ("pad", {"pad": 1, "pad_mode": "reflect", "value": 2}, [value(MAP)],
     "E203: `value` is for `pad_mode: zeros`, not reflect", None),
    ("pad", {"pad": 10, "pad_mode": "circular"}, [value(MAP)],
     "E301: circular padding of 10 is more than the input's 9", None),
    ("crop", {"size": 10}, [value(MAP)], "E301: a crop of 10x10 does not fit into 9x9", None),
    ("crop", {"size": 5, "offset": 5}, [value(MAP)], "E301: a crop of 5x5 at 5x5 does not fit into 9x9", None),
    ("shuffle", {"groups": 4}, [value(MAP)], "E301: groups 4 must divide the 6 channels", None),
    ("pixelshuffle", {"factor": 2}, [value(MAP)], "E301: factor 2 needs channels in multiples of 4, not 6", None),
    ("pixelunshuffle", {"factor": 2}, [value(MAP)], "E301: factor 2 must divide every extent of 9x9", None),
    ("upsample", {"scale": 2, "mode": "bicubic"}, [value((6, 9))],
     "E301: `mode: bicubic` is for two spatial axes, not 1", None),
    ("attention", {"heads": 2}, [value(MAP)], "E301: `attention` needs a tokens input but gets 6x9x9",
     "put `- tokens` before it"),
    ("attention", {"heads": 3}, [value(ROWS, "tokens")], "E301: heads 3 must divide the 8 channels", None),
    ("tokens", {}, [value((8,), "flat")], "E301: `tokens` needs a map input but gets 8", None),
    ("token", {"index": 5}, [value(ROWS, "tokens")], "E301: there is no token 5 among 5", "they are numbered 0 to 4"),
    ("tokenmean", {}, [value(MAP)], "E301: `tokenmean` needs a tokens input but gets 6x9x9", "use `globalavgpool`"),
]  # fmt: skip


@pytest.mark.parametrize(("tag", "args", "x", "message", "hint"), SHAPES)
def test_inputs_that_do_not_fit(tag: str, args: dict[str, Any], x: list[Value], message: str, hint: str | None) -> None:
    with pytest.raises(ShapeError) as caught:
        REGISTRY[tag].read(args, len(x[0].spatial) or None).bind(x).infer(x)
    assert str(caught.value) == message
    assert caught.value.diagnostics[0].hint == hint


ARGUMENTS: list[tuple[str, dict[str, Any], str, str, str | None]] = [
    ("conv", {"filters": 6, "kernel": 5}, "E202", "`conv` has no argument `filters`", "did you mean `out`?"),
    ("conv", {"kernal": 5, "out": 6}, "E202", "`conv` has no argument `kernal`", "did you mean `kernel`?"),
    ("depthwise", {"filters": 6, "kernel": 5}, "E202", "`depthwise` has no argument `filters`", None),
    ("conv", {"out": 6, "kernel": 5, "activation": "relu"}, "E202", "`conv` has no argument `activation`",
     "did you mean `act`?"),
    ("batchnorm", {"epsilon": 1}, "E202", "`batchnorm` has no argument `epsilon`", "did you mean `eps`?"),
    ("batchnorm", {"momentum": 1.5}, "E203", "`momentum` of `batchnorm`: expected a number from 0 to 1 but got `1.5`",
     None),
    ("leakyrelu", {"slope": "x"}, "E203", "`slope` of `leakyrelu`: expected a number but got `x`", None),
    ("layernorm", {"over": "channel"}, "E203", "`over` of `layernorm`: expected channels | all but got `channel`",
     "did you mean `channels`?"),
    ("groupnorm", {}, "E204", "`groupnorm` needs `groups`: a whole number >= 1", None),
    ("dropout", {"p": float("nan")}, "E203", "`p` of `dropout`: expected a number from 0 to 1 but got `nan`", None),
    ("dropout", {"rate": 0.5}, "E202", "`dropout` has no argument `rate`", "did you mean `p`?"),
    ("reshape", {"shape": "3x4"}, "E203", "`shape` of `reshape`: expected a list of whole numbers but got `3x4`", None),
    ("pad", {"pad": "same"}, "E203",
     "`pad` of `pad`: expected a whole number >= 0, one per axis, sides by name but got `same`", None),
    ("pad", {"pad": {"up": 1}}, "E203", "`pad` of `pad`: no side is called `up`; "
     "the sides are top, bottom, left, right", None),
    ("crop", {}, "E204", "`crop` needs `size`: a whole number >= 1, or a list with one per axis", None),
    ("upsample", {}, "E204", "`upsample` needs either `scale` or `size`", None),
    ("upsample", {"scale": 2, "size": 8}, "E204", "`upsample` needs either `scale` or `size`", None),
    ("upsample", {"scale": 2, "align_corners": True}, "E203", "`align_corners` has no meaning for `mode: nearest`",
     None),
    ("upsample", {"scale": [2, 2, 2]}, "E203", "`scale` of `upsample`: got 3 values but the map has 2 spatial axes",
     None),
    ("attention", {"num_heads": 3}, "E202", "`attention` has no argument `num_heads`", "did you mean `heads`?"),
    ("se", {"squeeze": 4, "ratio": 4}, "E203", "`se` takes `squeeze` or `ratio`, not both", None),
    ("se", {"act": "rleu"}, "E203", None, "did you mean `relu`?"),
]  # fmt: skip


@pytest.mark.parametrize(("tag", "args", "code", "message", "hint"), ARGUMENTS)
def test_arguments_that_cannot_be_read(
    tag: str, args: dict[str, Any], code: str, message: str | None, hint: str | None
) -> None:
    with pytest.raises(ArgumentError) as caught:
        REGISTRY[tag].read(args, 2)
    error = caught.value
    assert (error.code, error.hint) == (code, hint)
    assert message is None or error.message == message


@pytest.mark.parametrize("tag", REGISTRY)
def test_class_facts_name_arguments_that_exist(tag: str) -> None:
    """Aliases are shared by the ops of a file, so each must lead to an argument of one of them."""
    op = REGISTRY[tag]
    siblings = [other for other in REGISTRY.values() if other.__module__ == op.__module__]
    somewhere = {name for other in siblings for name in other.parameters()} | {"norm", "act"}
    assert set(op.aliases.values()) <= somewhere
    assert op.short is None or op.short in op.parameters()
    assert op.like is None or op.like in op.parameters()


def test_two_ops_cannot_share_a_tag() -> None:
    from cnnscope.ops import Op

    message = r"E412: the layer type `relu` exists twice: `cnnscope.ops.activation:ReLU` and `.*Copy`"
    with pytest.raises(CnnscopeError, match=message):

        class Copy(Op, tag="relu"):
            pass

    assert REGISTRY["relu"].__qualname__ == "ReLU"
