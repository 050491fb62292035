"""One picture from bytes: every mode becomes grey or RGB of 8 bits, and what cannot be read is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, noise
from PIL import Image

from cnnscope import pictures as module
from cnnscope.errors import CnnscopeError
from cnnscope.pictures import decoded, read_picture
from cnnscope.trained.images import Sample, Skipped
from cnnscope.trained.images.sample import sample


def picture(content: bytes) -> Image.Image:
    found = decoded(content)
    assert isinstance(found, Image.Image), found
    return found


def test_rgb_and_grey_stay_as_they_are() -> None:
    for channels in (1, 3):
        made = noise(1, channels=channels)
        found = picture(encoded(made))
        assert found.mode == made.mode
        assert np.array_equal(np.asarray(found), np.asarray(made))


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    clear.putpixel((0, 0), (10, 20, 30, 255))
    found = picture(encoded(clear))
    assert found.mode == "RGB"
    assert (found.getpixel((0, 0)), found.getpixel((3, 3))) == ((10, 20, 30), (255, 255, 255))


def test_grey_with_transparency_stays_grey() -> None:
    found = picture(encoded(Image.new("LA", (4, 4), (7, 255))))
    assert (found.mode, found.getpixel((1, 1))) == ("L", 7)


def test_palettes_become_colours() -> None:
    made = Image.new("RGB", (4, 4), (200, 10, 60)).convert("P", palette=Image.Palette.ADAPTIVE)
    found = picture(encoded(made))
    assert (found.mode, found.getpixel((2, 2))) == ("RGB", (200, 10, 60))


def test_cmyk_becomes_rgb() -> None:
    found = picture(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"))
    assert (found.mode, found.getpixel((3, 3))) == ("RGB", (255, 255, 255))


def test_sixteen_bits_become_eight() -> None:
    values = np.array([[0, 257, 65_535], [32_896, 128, 129]], np.uint16)
    found = picture(encoded(Image.fromarray(values)))
    assert found.mode == "L"
    assert np.asarray(found).tolist() == [[0, 1, 255], [128, 0, 1]]  # value / 257, rounded


def test_black_and_white_become_grey() -> None:
    found = picture(encoded(Image.new("1", (4, 4), 1)))
    assert (found.mode, found.getpixel((0, 0))) == ("L", 255)


def test_real_numbers_are_scaled_to_their_greatest() -> None:
    found = picture(encoded(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), "TIFF"))
    assert np.asarray(found).tolist() == [[0, 128, 255]]


def test_cameras_that_were_turned_are_put_upright() -> None:
    made = Image.new("L", (6, 4), 0)
    made.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: 90 degrees clockwise puts it upright
    made.info["exif"] = exif.tobytes()
    import io

    content = io.BytesIO()
    made.save(content, "PNG", exif=exif.tobytes())
    found = picture(content.getvalue())
    assert found.size == (4, 6)
    assert found.getpixel((3, 0)) == 255


def test_the_first_picture_of_an_animation_counts() -> None:
    import io

    content = io.BytesIO()
    Image.new("L", (4, 4), 9).save(content, "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 200)])
    assert picture(content.getvalue()).convert("L").getpixel((0, 0)) == 9


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"hello, I am a text", "it is no image of a known format"),
        (None, "it is larger than 64 MiB"),
    ],
)
def test_what_is_no_picture_says_why(content: bytes | None, reason: str) -> None:
    assert decoded(content) == reason


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
def test_truncated_files_are_damaged(form: str) -> None:
    whole = encoded(noise(3, (64, 64)), form)
    found = decoded(whole[: len(whole) // 2])
    assert isinstance(found, str)
    assert found.startswith(("it is damaged (", "it is no image"))


def test_pictures_of_too_many_pixels_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_AREA", 99)
    assert decoded(encoded(noise(0, (10, 10)))) == "it has 10 x 10 pixels, more than 64 million"


def test_a_sample_is_keyed_by_its_bytes() -> None:
    one, same, other = (sample(name, encoded(noise(seed)), 3) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert isinstance(one, Sample)
    assert isinstance(same, Sample)
    assert isinstance(other, Sample)
    assert (one.key == same.key, one.key == other.key, one.label) == (True, False, 3)
    assert sample("x", b"", None) == Skipped("x", "it is empty")


def test_a_picture_that_was_named_has_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("words")
    for name, reason in (("a.jpg", "it is no image of a known format"), ("b.jpg", "no such file or directory")):
        with pytest.raises(CnnscopeError, match="E606") as caught:
            read_picture(tmp_path / name)
        (diagnostic,) = caught.value.diagnostics
        assert diagnostic.message == f"cannot read the image `{tmp_path / name}`: {reason}"
