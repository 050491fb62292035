"""Growth of receptive fields and the field of a unit, as pictures: what is drawn, and what is refused."""

from __future__ import annotations

import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import cnnscope
from cnnscope import CnnscopeError, Model
from cnnscope.cli.app import main
from cnnscope.render import growth as growths
from cnnscope.render import style
from cnnscope.render import unit as units
from cnnscope.render.growth import Growth, growth, plot
from cnnscope.render.style import PICTURES
from cnnscope.spec import load as load_spec

DILATED = """\
cnnscope: 1
name: Dilated
input: {shape: [3, 48, 48]}
layers:
  - conv: {out: 8, kernel: 3, dilation: 2, pad: 2}
  - conv: {name: d, out: 8, kernel: 3, dilation: 8, pad: 8}
"""


@cache
def model(name: str) -> Model:
    return cnnscope.load(load_spec("d.yaml", text=DILATED).graph if name == "dilated" else name)


def content(name: str) -> Growth:
    return growth(model(name).graph, model(name).layers("rf").summary)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure drawn, laid out, instead of its bytes."""
    drawn: list[Figure] = []

    def keep(figure: Figure, form: str) -> bytes:
        FigureCanvasAgg(figure).draw()
        drawn.append(figure)
        return b""

    monkeypatch.setattr(style, "encoded", keep)
    return drawn


# -- growth ------------------------------------------------------------------------------------------------------------


def test_lenet_grows_as_the_lecture_computes_it() -> None:
    found = content("lenet5")
    (curve,) = found.curves
    assert dict(zip(found.rows, curve.longest, strict=True)) == {
        "c1": 5, "s2": 6, "c3": 14, "s4": 16, "c5": 32, "flatten1": 32, "f6": 32, "output": 32,
    }  # fmt: skip
    assert curve.shortest == curve.longest
    assert found.rows[curve.saturated(curve.longest) or 0] == "c5"
    assert found.strides == (1, 2, 2, 4, 4, 4, 4, 4)


def test_a_residual_network_has_a_shortest_path_that_never_spans_the_image() -> None:
    (curve,) = content("resnet50").curves
    rows = content("resnet50").rows
    assert curve.shortest[rows.index("layer4.2.add")] == 11  # the stem's, all blocks skipped
    assert curve.longest[rows.index("layer4.2.add")] == 427
    assert curve.saturated(curve.shortest) is None
    place = curve.saturated(curve.longest)
    assert place is not None
    before, there = curve.longest[place - 1], curve.longest[place]
    assert (before or 0) < 224 <= (there or 0)


def test_axes_that_differ_have_curves_of_their_own() -> None:
    assert [(curve.axes, curve.image) for curve in content("r3d_18").curves] == [("z", 16), ("y, x", 112)]
    assert [(curve.axes, curve.image) for curve in content("m5").curves] == [("", 32000)]


def test_layers_without_a_local_field_are_drawn_as_seeing_the_image() -> None:
    found = content("alexnet")
    assert [found.rows[i] for i in found.whole] == ["fc6", "drop6", "fc7", "drop7", "fc8"]
    assert all(curve.longest[i] is None for curve in found.curves for i in found.whole)


def test_the_scale_is_logarithmic_where_a_linear_one_would_squeeze_half_of_the_layers() -> None:
    assert content("m5").logarithmic
    assert not content("lenet5").logarithmic
    assert not content("resnet50").logarithmic


@pytest.mark.parametrize("name", ["lenet5", "resnet152", "deeplabv3_resnet50", "googlenet", "m5"])
def test_names_under_the_axis_never_meet(figures: list[Figure], name: str) -> None:
    plot(content(name), "png")
    (axes,) = figures[0].axes
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    assert len(boxes) > 7
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
    strides = [text for text in axes.texts if text.get_text() != "stride"]
    places = sorted((text.get_window_extent() for text in strides), key=lambda box: float(box.x0))
    assert all(left.x1 <= right.x0 for left, right in pairwise(places))


def test_the_plot_draws_what_was_computed(figures: list[Figure]) -> None:
    plot(content("unet"), "png")
    (axes,) = figures[0].axes
    (curve,) = content("unet").curves
    lines = {str(line.get_label()): line for line in axes.lines}
    assert tuple(lines["longest path: the receptive field"].get_ydata()) == curve.longest
    assert tuple(lines["shortest path"].get_ydata()) == curve.shortest
    assert set(lines["image: 572 pixels"].get_ydata()) == {572}
    assert not any("spans" in label for label in lines)
    assert "linear scale" in axes.get_ylabel()
    assert axes.get_title(loc="left") == "U-Net"


def test_a_network_that_looks_at_no_image_has_no_plot() -> None:
    tokens = "cnnscope: 1\nname: T\ninput: {shape: [8]}\nlayers:\n  - linear: 4\n"
    graph = load_spec("t.yaml", text=tokens).graph
    with pytest.raises(CnnscopeError, match="E607: there is no receptive field to plot: `T` looks at no image"):
        growth(graph, cnnscope.load(graph).layers("rf").summary)


@pytest.mark.parametrize("form", PICTURES)
def test_files_are_the_same_every_time_and_the_users_settings_do_not_matter(form: str) -> None:
    import matplotlib

    first = plot(content("lenet5"), form)
    report = model("dilated").unit("d", (20, 4))
    unit = units.picture(report, form)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None}):
        assert plot(content("lenet5"), form) == first
        assert units.picture(report, form) == unit
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert first.startswith(starts[form])
    if form == "svg":
        ElementTree.fromstring(first)
    assert b"CreationDate" not in first
    assert matplotlib.__version__.encode() not in first


def test_drawing_needs_no_global_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # so that importing it fails
    assert plot(content("lenet5"), "png")


# -- one unit ----------------------------------------------------------------------------------------------------------


def rectangles(figure: Figure) -> dict[str, tuple[float, ...]]:
    """The labelled rectangles of the first axes: left, top, width, height."""
    patches = (patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle))
    return {
        str(p.get_label()): (*p.get_xy(), p.get_width(), p.get_height())
        for p in patches if p.get_label()
    }  # fmt: skip


def test_the_boxes_are_those_of_the_analysis(figures: list[Figure]) -> None:
    report = model("resnet50").unit("layer3.0.conv2", (0, 5))
    assert (report.theoretical, report.exact) == (((-53, 53), (27, 133)), ((0, 53), (27, 133)))
    units.picture(report, "png")
    assert rectangles(figures[0]) == {
        "padding it reaches into": (26.5, -53.5, 107, 107),
        "theoretical field, padding counted": (26.5, -53.5, 107, 107), "exact box": (26.5, -0.5, 107, 54),
    }  # fmt: skip
    assert figures[0].axes[0].get_ylim()[1] < -53.5  # what is padded is in sight


def test_holes_are_the_pixels_between_the_taps(figures: list[Figure]) -> None:
    units.picture(model("dilated").unit("d", (20, 20)), "png")
    (tint,) = figures[0].axes[0].images
    colours = np.asarray(tint.get_array())
    taps = {20 + far + near for far in (-8, 0, 8) for near in (-2, 0, 2)}
    touched = {(y, x) for y in taps for x in taps}
    hues = {tuple(colours[y, x]) for y, x in touched}
    assert len(hues) == 1
    inside = {(y, x) for y in range(10, 31) for x in range(10, 31)}
    holes = {tuple(colours[y, x]) for y, x in inside - touched}
    assert len(holes) == 1
    assert not hues & holes
    assert colours[..., 3][[0, 47], [0, 47]].tolist() == [0, 0]
    title = figures[0].legends[0].get_title().get_text()
    assert "81 of 441 pixels (18.4 %) in that box" in title


@pytest.mark.parametrize(
    ("name", "layer", "position", "text"),
    [
        ("m5", "conv3", (20,), "sees x 1162 to 1461; every pixel"),
        ("r3d_18", "layer2.0.conv1", (2, 5, 5), "sees z 0 to 10, y 7 to 33, x 7 to 33; every pixel in that box in"),
        ("resnet50", "fc", (), "sees y 0 to 223, x 0 to 223; every pixel in that box\nthe whole image through global-"),
    ],
)
def test_signals_volumes_and_global_units(
    figures: list[Figure], name: str, layer: str, position: tuple[int, ...], text: str
) -> None:
    units.picture(model(name).unit(layer, position), "png")
    assert text in figures[0].legends[0].get_title().get_text()


def test_two_inputs_have_a_panel_each(figures: list[Figure]) -> None:
    rows = [row for row in model("siamese").layers("rf").summary.rows if row.receptive_field]
    units.picture(model("siamese").unit(rows[-1].name, ()), "png")
    assert [axes.get_title(loc="left") for axes in figures[0].axes[:2]] == list(model("siamese").graph.inputs)


# -- command line ------------------------------------------------------------------------------------------------------


def rf(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["rf", *words])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16", "LA", "F"])
def test_images_of_every_mode_lie_under_the_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    source, target = tmp_path / "in.tiff", tmp_path / "out.png"
    Image.new(mode, (90, 40), 1).save(source)
    words = ("lenet5", "--unit", "c3:1,2", "--image", str(source), "-o", str(target), "-f", "json")
    code, out, err = rf(*words, capsys=capsys)
    assert (code, err) == (0, "")
    assert f'"bytes": {target.stat().st_size}' in out


def test_the_image_is_shown_where_the_unit_sees_it(figures: list[Figure], tmp_path: Path) -> None:
    picture = Image.new("RGB", (64, 32), "red")
    picture.paste("blue", (0, 0, 32, 32))
    picture.save(tmp_path / "in.png")
    from cnnscope.render.html import fitted

    units.picture(model("alexnet").unit("conv2", (1, 1)), "png", fitted(tmp_path / "in.png", model("alexnet").graph))
    photo = figures[0].axes[0].images[0]
    assert np.asarray(photo.get_array()).shape == (227, 227, 3)
    assert tuple(photo.get_extent()) == (-0.5, 226.5, 226.5, -0.5)
    assert np.asarray(photo.get_array())[100, [10, 210]].tolist() == [[0, 0, 255], [255, 0, 0]]


def _bad_images(folder: Path) -> dict[str, str]:
    (folder / "text.png").write_text("no picture")
    good = folder / "good.png"
    Image.effect_noise((64, 64), 50).save(good)
    (folder / "cut.png").write_bytes(good.read_bytes()[:900])
    header = good.read_bytes()
    wide = header[:16] + (100_000).to_bytes(4) + (100_000).to_bytes(4) + header[24:]
    import zlib

    (folder / "huge.png").write_bytes(wide[:29] + zlib.crc32(wide[12:29]).to_bytes(4) + wide[33:])
    return {
        "text.png": "it is no image of a known format", "missing.png": "no such file or directory",
        "cut.png": "", "huge.png": "", ".": "",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["text.png", "missing.png", "cut.png", "huge.png", "."])
def test_images_that_cannot_be_read_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    reason = _bad_images(tmp_path)[name]
    target, image = tmp_path / "out.png", tmp_path / name
    code, out, err = rf("lenet5", "--unit", "c3:1,2", "--image", str(image), "-o", str(target), capsys=capsys)
    assert (code, out, target.exists()) == (2, "", False)
    assert err.startswith(f"error[E606]: cannot read the image `{image}`: {reason}")
    assert err.endswith("\n  = help: use a PNG or JPEG file\n")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("lenet5", "-o", "/"), "error[E404]: `/` has no known suffix"),
        (("lenet5", "-o", "out.gif"), "error[E404]: `out.gif` has no known suffix"),
        (("lenet5", "-o", "no/out.svg"), "error[E405]: cannot write `no/out.svg`: no such file or directory"),
        (("lenet5", "vgg11", "-o", "o.svg"), "error[E409]: `-o o.svg` draws one SOURCE"),
        (
            ("lenet5", "--plot", "o.svg", "-o", "o.json"),
            "note: `--plot` is now called `--output`\nerror[E409]: `--plot` and `--output` are the same option",
        ),
        (("lenet5", "--image", "o.png"), "error[E409]: `--image` lies under one unit's field"),
        (("lenet5", "--unit", "c1:1,1", "-o", "o.gif"), "error[E404]: `o.gif` has no known suffix"),
        (("lenet5", "--unit", "c4:1,1", "-o", "o.png"), "error[E205]: no layer is called `c4`"),
        (("lenet5", "--unit", "c3:1,10", "-o", "o.png"), "error[E203]: `c3` has 10x10 positions, and 1,10 is none"),
        (("m5", "--unit", "conv3:1", "--image", "in.png", "-o", "o.png"), "error[E607]: `--image` needs an input with"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: Any, error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = rf(*words, capsys=capsys)
    assert (code, out, list(tmp_path.iterdir())) == (2, "", [])
    assert err.startswith(error)


def test_a_unit_without_a_picture_is_answered_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = rf("lenet5", "--unit", "c3:1,2", capsys=capsys)
    assert code == 0
    rf("lenet5", "--unit", "c3:1,2", "-o", "u.txt", capsys=capsys)
    assert (tmp_path / "u.txt").read_text() == out
    assert rf("lenet5", "--plot", "g.svg", "-f", "json", capsys=capsys)[0] == 0
    assert growths.plot(content("lenet5"), "svg") == (tmp_path / "g.svg").read_bytes()
