"""Receptive fields through reshapes: tokens, windows, cells; several inputs; what no rule covers."""

from __future__ import annotations

import pytest
from rf_networks import Net

from cnnscope.analysis.receptive_field import Field, theoretical
from cnnscope.analysis.receptive_field.exact import exact
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Value
from cnnscope.ir.steps import Expand, Permute, Reshape, Taps, Whole
from cnnscope.ops.generic import Unsupported
from cnnscope.ops.tokens import Attention


def agree(net: Net, layer: str, *positions: tuple[int, ...]) -> Field:
    """The theoretical field of ``layer``, after comparing it with the exact one at units that see no border."""
    field, answers = theoretical(net.graph())[layer], exact(net.graph())
    for position in positions:
        assert field.box(position) == answers.box(layer, position, local=True), position
    return field


# -- tokens ------------------------------------------------------------------------------------------------------------


def vit(*, attention: bool) -> Net:
    net = Net(3, 64, 48)
    net.add("classtoken", net.add("tokens", net.conv(8, 16, "x", stride=16), name="tokens"), name="all")
    net.add("linear", net.add("layernorm", net.add("position")), out=8, name="worked")
    if attention:
        net.add("add", "worked", net.add("attention", heads=2), name="mixed")
    net.add("slice", axis=1, start=1, name="patches")
    net.add("permute", order=[2, 1])
    net.add("reshape", shape=[8, 4, 3], name="unflattened")
    net.conv(4, 3, pad=1, name="head")
    return net


@pytest.mark.parametrize("attention", [False, True])
def test_every_token_knows_its_patch(attention: bool) -> None:
    net = vit(attention=attention)
    field = agree(net, "tokens", (0,), (5,), (11,))
    assert (field.size, field.stride, field.padding) == ((16, 16), (16, 16), (0, 0))
    for layer in ("all", "worked"):
        assert agree(net, layer, (0,), (1,), (12,)).size == (16, 16)
    assert agree(net, "patches", (7,)).via == (("attention",) if attention else ())
    assert agree(net, "unflattened", (3, 2), (0, 1)).size == (16, 16)
    assert agree(net, "head", (1, 1), (2, 1)).size == (48, 48)


def test_class_token_has_no_local_field() -> None:
    net = vit(attention=True)
    net.add("token", "worked", index=0, name="before")
    net.add("token", "mixed", index=0, name="after")
    net.add("token", "mixed", index=1, name="patch")
    fields, answers = theoretical(net.graph()), exact(net.graph())
    assert (fields["before"].size, fields["before"].via) == (None, ())
    assert (fields["after"].size, fields["after"].via) == (None, ("attention",))
    assert not fields["after"].position_dependent
    assert answers.box("before", ()) is None
    assert answers.box("after", ()) == ((0, 63), (0, 47))
    assert fields["patch"].position_dependent  # one token out of the middle: only the exact analysis says which
    assert answers.box("patch", (), local=True) == ((0, 15), (0, 15))


# -- windows and cells -------------------------------------------------------------------------------------------------


def windows(net: Net, size: int, n: int) -> None:
    """Swin's window partition of an n x n map: (windows, tokens, C)."""
    net.view(Permute((0, 2, 3, 1)), Reshape((1, n // size, size, n // size, size, 2)), Permute((0, 1, 3, 2, 4, 5)),
             Reshape(((n // size) ** 2, size * size, 2)))  # fmt: skip


def unwindows(net: Net, size: int, n: int) -> None:
    net.view(Reshape((1, n // size, n // size, size, size, 2)), Permute((0, 1, 3, 2, 4, 5)), Reshape((1, n, n, 2)),
             Permute((0, 3, 1, 2)))  # fmt: skip


def test_window_attention_is_local() -> None:
    """Liu et al. 2021, section 3.2: attention in 4x4 windows, then in windows shifted by 2."""
    net, n = Net(2, 48, 48), 24
    net.conv(2, 2, "x", stride=2)
    for shift in (0, 2):
        entry = net.last
        for axis in (2, 3):
            net.add("roll", shift=-shift, axis=axis)
        windows(net, 4, n)
        net.put(Attention(heads=1), net.last)
        unwindows(net, 4, n)
        for axis in (2, 3):
            net.add("roll", shift=shift, axis=axis)
        net.add("add", entry, net.last, name=f"block{shift}")
    first = agree(net, "block0", (8, 8), (11, 10))
    assert (first.size, first.size_min, first.stride, first.via) == ((8, 8), (8, 8), (2, 2), ())
    second = agree(net, "block2", *((y, x) for y in range(8, 16) for x in (9, 12)))
    assert (second.size, second.size_min) == ((16, 16), (16, 16))
    assert second.jitter == (6, 6)  # the four units of a window share a field


def test_attention_in_one_window_over_the_image_is_global() -> None:
    net = Net(2, 4, 4)
    windows(net, 4, 4)
    net.put(Attention(heads=1), net.last, name="attention")
    field = theoretical(net.graph())["attention"]
    assert (field.size, field.via) == (None, ("attention",))


def test_grid_attention_reaches_across_the_image() -> None:
    """Tu et al. 2022 (MaxViT), section 3.2: tokens one grid cell apart, so the reach is the image's."""
    net = Net(2, 8)
    net.view(Reshape((1, 2, 4, 2)), Permute((0, 3, 2, 1)))  # N, low digit, high digit, C
    net.view(Whole((2,), "attention"), Expand((1, 2, 4, 2)))
    field = theoretical(net.graph())[net.last]
    assert (field.size, field.via) == (None, ("attention",))


@pytest.mark.parametrize("mix", ["conv", "depthwise", "pool"])
def test_space_to_depth_by_reshape(mix: str) -> None:
    """Cells of 2x2 moved into the channels: the layer behind is a strided one."""
    net, n = Net(3, 40, 40), 20
    net.view(Reshape((1, 3, n, 2, n, 2)), Permute((0, 1, 3, 5, 2, 4)), Reshape((1, 12, n, n)))
    cells = net.last
    if mix == "pool":
        net.add("maxpool", kernel=3, stride=1, pad=1, name="out")
    else:
        net.conv(12, 3, groups=12 if mix == "depthwise" else 1, pad=1, name="out")
    for layer, size in ((cells, 2), ("out", 6)):
        field = agree(net, layer, (9, 9), (10, 7))
        assert (field.size, field.stride, field.via) == ((size, size), (2, 2), ())


def test_depth_to_space_by_reshape_is_pixel_shuffle() -> None:
    net = Net(4, 20, 20)
    stem = net.conv(8, 3, "x", stride=2)
    net.view(Reshape((1, 2, 2, 2, 9, 9)), Permute((0, 1, 4, 2, 5, 3)), Reshape((1, 2, 18, 18)))
    moved = net.last
    net.add("pixelshuffle", stem, factor=2, name="shuffled")
    fields = theoretical(net.graph())
    assert fields[moved] == fields["shuffled"]
    assert fields[moved].stride == (1, 1)
    net.conv(2, 3, net.add("add", moved, "shuffled"), name="behind")
    assert agree(net, "behind", (7, 7), (8, 6)).size == (5, 5)


def test_axes_that_cannot_be_followed_are_position_dependent() -> None:
    net = Net(1, 6, 10)
    net.add("reshape", net.conv(1, 3, "x", pad=1), shape=[1, 10, 6], name="torn")
    field = theoretical(net.graph())["torn"]
    assert (field.size, field.position_dependent) == (None, True)
    assert exact(net.graph()).box("torn", (0, 0), local=True) == ((0, 1), (0, 1))


def test_pieces_of_an_axis_keep_their_places() -> None:
    """Every eighth of a line, then the channels behind each: no piece may be taken for another."""
    net = Net(3, 8)
    net.view(Reshape((1, 3, 4, 2)), Permute((0, 3, 2, 1)), Reshape((1, 2, 12)))
    field, answers = theoretical(net.graph())[net.last], exact(net.graph())
    places = [(low, rest) for low in range(2) for rest in range(12)]
    assert [field.box(place) for place in places] == [answers.box(net.last, place) for place in places]
    assert field.box((1, 7)) == ((5, 5),)


@pytest.mark.parametrize("pick", ["slice", "concat"])
def test_cells_in_channels_are_united_once_channels_are_handled(pick: str) -> None:
    net = Net(1, 40)
    cells = net.add("pixelunshuffle", factor=2)
    if pick == "slice":
        net.add("slice", cells, axis=1, stop=1)
    else:
        net.add("concat", cells, net.conv(3, 2, "x", stride=2))
    picked = net.last
    net.conv(1, 3, picked, pad=1, name="behind")
    fields, answers = theoretical(net.graph()), exact(net.graph())
    assert (fields[picked].size, fields["behind"].size, fields["behind"].stride) == ((2,), (6,), (2,))
    assert fields["behind"].via == ()
    assert answers.box("behind", (9,), local=True) == (((16, 20),) if pick == "slice" else ((16, 21),))


def test_a_torn_piece_is_not_the_whole_image() -> None:
    net = Net(3, 16)
    net.view(Reshape((1, 3, 8, 2)), Permute((0, 2, 1, 3)), Reshape((1, 8, 6)), Taps(2, 5, 1, ((0,),)))
    net.view(Whole((2,), "dense"))
    field = theoretical(net.graph())[net.last]
    assert (field.size, field.position_dependent, field.via) == (None, True, ())
    assert exact(net.graph()).box(net.last, (3,), local=True) == ((6, 7),)


# -- joins -------------------------------------------------------------------------------------------------------------


def test_unequal_strides_are_position_dependent_and_the_exact_analysis_still_answers() -> None:
    net = Net(1, 9)
    net.add("crop", net.conv(1, 1, "x"), size=4, offset=0, name="slow")
    net.add("crop", net.conv(1, 1, "x", stride=2), size=4, offset=0, name="fast")
    net.add("add", "slow", "fast", name="sum")
    field = theoretical(net.graph())["sum"]
    assert (field.size, field.stride, field.position_dependent) == (None, None, True)
    assert field.shortest == (1,)
    assert [exact(net.graph()).box("sum", (o,)) for o in range(4)] == [((0, 0),), ((1, 2),), ((2, 4),), ((3, 6),)]


def test_a_window_over_the_whole_map_spread_over_its_positions_depends_on_the_position() -> None:
    """A 5x5 window on a 5x5 map is local, and stays where it is while the position moves."""
    net = Net(2, 5, 5)
    map_ = net.conv(2, 3, "x", pad=1)
    net.add("reshape", net.add("linear", net.add("flatten", net.conv(2, 5, "x")), out=2), shape=[2, 1, 1])
    net.add("mul", map_, net.last, name="scaled")
    assert theoretical(net.graph())["scaled"].position_dependent
    assert exact(net.graph()).box("scaled", (0, 0), local=True) == ((0, 4), (0, 4))


def test_squeeze_excite_keeps_the_local_path() -> None:
    net = Net(4, 21, 21)
    map_ = net.conv(4, 5, "x", pad=2)
    net.add("mul", map_, net.conv(4, 1, net.add("globalavgpool", map_)), name="scaled")
    field = agree(net, "scaled", (10, 10), (3, 15))
    assert (field.size, field.via, field.position_dependent) == ((5, 5), ("global-pool",), False)


def test_group_norm_is_global_and_keeps_the_own_position() -> None:
    net = Net(4, 9, 9)
    net.add("groupnorm", net.conv(4, 3, "x"), groups=2, name="norm")
    field = agree(net, "norm", (3, 3))
    assert (field.size, field.via) == ((3, 3), ("norm-statistics",))
    assert exact(net.graph()).box("norm", (0, 0)) == ((0, 8), (0, 8))


def test_concatenation_along_an_image_axis_is_position_dependent() -> None:
    net = Net(1, 8, 8)
    net.add("concat", net.conv(1, [3, 1], "x"), net.conv(1, 1, "x"), axis=2, name="stacked")
    field = theoretical(net.graph())["stacked"]
    assert (field.size, field.position_dependent) == (None, True)
    answers = exact(net.graph())
    assert [answers.box("stacked", (y, 5)) for y in (0, 6)] == [((0, 2), (5, 5)), ((0, 0), (5, 5))]


def test_upsampling_by_a_size_with_aligned_corners_depends_on_the_position() -> None:
    net = Net(1, 5)
    net.add("upsample", size=12, mode="bilinear", align_corners=True, name="up")
    assert theoretical(net.graph())["up"].position_dependent
    assert exact(net.graph()).box("up", (11,)) == ((4, 4),)


# -- inputs ------------------------------------------------------------------------------------------------------------


def two_inputs(left: tuple[int, ...], right: tuple[int, ...]) -> Net:
    net = Net(*left)
    net.inputs = {"left": net.inputs["x"], "right": Value((1, *right))}
    return net


def test_several_inputs() -> None:
    net = two_inputs((1, 12, 12), (1, 12, 12))
    net.conv(1, 3, "left", name="l", pad=1)
    net.conv(1, 5, "right", name="r", pad=2)
    net.add("add", "l", "r", name="both")
    fields, left = theoretical(net.graph()), theoretical(net.graph(), wrt="left")
    assert [fields[name].size for name in ("left", "l", "r", "both")] == [(1, 1), (3, 3), (5, 5), (5, 5)]
    assert [left[name].size for name in ("left", "right", "r", "both")] == [(1, 1), None, None, (3, 3)]
    assert exact(net.graph(), wrt="left").box("both", (6, 6)) == ((5, 7), (5, 7))
    assert exact(net.graph(), wrt="left").box("r", (6, 6)) is None


def test_images_of_different_dimension() -> None:
    net = two_inputs((1, 30), (1, 8, 8))
    net.conv(1, 9, "left", name="sound")
    net.conv(1, 3, "right", name="picture")
    net.add("concat", *(net.add("flatten", name) for name in ("sound", "picture")), name="joint")
    fields, answers = theoretical(net.graph()), exact(net.graph())
    assert [len(fields[name].size or ()) for name in ("sound", "picture")] == [1, 2]
    assert answers.box("sound", (0,)) == ((0, 8),)
    assert answers.box("picture", (0, 0)) == ((0, 2), (0, 2))
    assert len(fields["joint"].maps) == 2


def test_vectors_have_no_field() -> None:
    net = Net(7, kind="flat")
    net.add("linear", out=3, name="fc")
    assert theoretical(net.graph())["fc"] == Field()
    assert exact(net.graph()).box("fc", ()) is None


def test_behind_an_op_without_a_rule_the_field_is_unknown() -> None:
    net = Net(1, 8, 8)
    before = net.conv(1, 3, "x")
    net.put(Unsupported(shape=(1, 1, 6, 6)), before, name="odd")
    net.conv(1, 3, "odd", name="behind")
    net.conv(1, 3, before, name="beside")
    fields, answers = theoretical(net.graph()), exact(net.graph())
    assert {"odd", "behind"}.isdisjoint(fields)
    assert fields["beside"].size == (5, 5)
    assert answers.range("behind") is None
    with pytest.raises(CnnscopeError, match="E306: the receptive field of `behind` is unknown"):
        answers.box("behind", (0, 0))
