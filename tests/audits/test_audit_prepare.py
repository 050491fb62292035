"""From pictures to pixels with a margin, and from their labels to the network's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cnnscope.audits.protocol.presets import preset
from cnnscope.audits.protocol.protocol import Border, Protocol, shift
from cnnscope.audits.run.prepare import LabelMatch, adapted, match_classes, prepare
from cnnscope.trained.images import Sample, Skipped
from cnnscope.trained.preprocess import Preprocess

SIZE = (3, 16, 16)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, shape, dtype=np.uint8))


def pixels(picture: Image.Image, border: Border, margin: int, resize: int = 16) -> np.ndarray:
    protocol = Protocol("test", "", (shift(1, 0),), border, margin)
    prepared, _ = prepare([Sample("a", picture, None, "k")], [0], Preprocess(SIZE, resize), protocol, LabelMatch(10))
    return prepared.pixels[0]


def test_a_margin_is_what_the_picture_has_and_then_its_mirror_image() -> None:
    picture = noise(20, 20)
    shown = np.asarray(picture).transpose(2, 0, 1)
    assert np.array_equal(pixels(picture, "crop", 2, resize=20), shown)
    more = pixels(picture, "crop", 5, resize=20)
    assert np.array_equal(more[:, 3:-3, 3:-3], shown)
    assert np.array_equal(more[:, 3:-3, :3], shown[:, :, 3:0:-1])  # the border pixel is not repeated


def test_other_borders_are_black_the_picture_again_or_the_mean() -> None:
    picture = noise(16, 16)
    shown = np.asarray(picture).transpose(2, 0, 1)
    assert pixels(picture, "zero", 3)[:, :3].max() == 0
    assert np.array_equal(pixels(picture, "circular", 3)[:, 3:-3, :3], shown[:, :, -3:])
    protocol = Protocol("test", "", (shift(1, 0),), "mean", 3)
    preprocess = Preprocess(SIZE, 16, mean=(0.0, 0.5, 1.0))
    prepared, _ = prepare([Sample("a", picture, None, "k")], [0], preprocess, protocol, LabelMatch(10))
    assert prepared.pixels[0, :, 0, 0].tolist() == [0, 128, 255]
    assert np.array_equal(prepared.pixels[0][:, 3:-3, 3:-3], shown)


def test_mixed_sizes_and_modes_become_one_array_and_nothing_is_lost() -> None:
    entries = [
        Sample("grey", noise(30, 40, "L"), 1, "a"), Skipped("bad", "it is empty"), Sample("tiny", noise(5, 9), 2, "b"),
        Sample("far", noise(50, 16), 12, "c"), Sample("wide", noise(200, 20), None, "d"),
    ]  # fmt: skip
    protocol = Protocol("test", "", (shift(1, 0),), "crop", 4)
    prepared, places = prepare(entries, [3, 5, 6, 7, 9], Preprocess(SIZE, 18), protocol, LabelMatch(10))
    assert prepared.pixels.shape == (3, 3, 24, 24)
    assert (prepared.name, prepared.key) == (("grey", "tiny", "wide"), ("a", "b", "d"))
    assert prepared.label.tolist() == [1, 2, -1]
    assert places == (3, 6, 9)
    assert prepared.enlarged == 1
    assert prepared.skipped == (Skipped("bad", "it is empty"), Skipped("far", "its label 12 is none of 10 classes"))


def test_nothing_usable_is_an_empty_array() -> None:
    protocol = Protocol("test", "", (shift(1, 0),), "crop", 4)
    prepared, places = prepare([Skipped("a", "it is empty")], [0], Preprocess(SIZE), protocol, LabelMatch(10))
    assert (prepared.pixels.shape, len(prepared), places) == ((0, 3, 24, 24), 0, ())


def test_folders_named_as_classes_are_these_whatever_their_order() -> None:
    classes = match_classes(("cat", "dog"), ("dog", "bird", "cat"), 3)
    assert [classes.label(label) for label in (0, 1, None)] == [2, 0, -1]


def test_as_many_folders_as_classes_count_in_order() -> None:
    classes = match_classes(("n01", "n02"), ("dog", "cat"), 2)
    assert [classes.label(label) for label in (0, 1)] == [0, 1]
    assert match_classes((), (), 10).label(9) == 9


def test_another_number_of_folders_leaves_labels_out() -> None:
    classes = match_classes(("a", "b"), (), 10)
    assert classes.note == "labels are left out: the images are of 2 classes, the network knows 10"
    assert [classes.label(label) for label in (0, 1)] == [-1, -1]


@pytest.mark.parametrize(
    ("name", "own", "asked", "border"),
    [
        ("quick", None, None, "crop"), ("quick", "zero", None, "zero"), ("quick", "zero", "mean", "mean"),
        ("engstrom-grid", None, None, "zero"), ("engstrom-grid", "circular", None, "zero"),
        ("engstrom-grid", None, "reflect", "reflect"),
    ],
)  # fmt: skip
def test_the_border_is_what_is_asked_then_the_papers_then_the_datas(
    name: str, own: str | None, asked: Border | None, border: str
) -> None:
    protocol, _ = adapted(preset(name, (32, 32)), Preprocess((3, 32, 32), border=own), asked)
    assert protocol.border == border
    assert protocol.margin == (preset(name, (32, 32)).margin if border == "crop" else 0)


def test_a_protocol_may_fix_the_size_of_the_picture() -> None:
    wanted = preset("zhang-256", (224, 224))
    protocol, preprocess = adapted(wanted, Preprocess((3, 224, 224), 300, border="zero"), None)
    assert (preprocess.resize, protocol.margin, protocol.border) == (256, 16, "zero")
    _, tall = adapted(preset("zhang-256", (224, 256)), Preprocess((3, 224, 256)), None)
    assert tall.resize == (256, 288)
