"""Sets of images: folders, folders of classes, .npz; what they hold, in which order, and what they leave out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, grey, noise

from cnnscope.errors import CnnscopeError
from cnnscope.trained.images import Sample, Skipped, npz, open_images
from cnnscope.trained.images import folder as folders


def names(path: Path) -> list[tuple[str, int | None]]:
    return [(entry.name, entry.label) for entry in open_images(path) if isinstance(entry, Sample)]


def refusal(path: Path) -> tuple[str, str, str | None]:
    with pytest.raises(CnnscopeError) as caught:
        list(open_images(path))
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.message, diagnostic.hint


def test_a_folder_is_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.png", "a.PNG", "c.jpeg"):
        (tmp_path / name).write_bytes(encoded(noise(1), "JPEG" if "j" in name else "PNG"))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".hidden.png").write_bytes(b"")
    opened = open_images(tmp_path)
    assert names(tmp_path) == [("a.PNG", None), ("b.png", None), ("c.jpeg", None)]
    assert (opened.kind, opened.labelled, len(opened)) == ("a folder", False, 3)
    assert opened.skipped == (Skipped("notes.txt", "its name is not an image's"),)


def test_folders_of_classes_are_labelled_by_their_order(tmp_path: Path) -> None:
    for label, name in enumerate(("cat", "dog")):
        for i in range(2):
            place = tmp_path / name / "deep" / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(encoded(noise(10 * label + i)))
    opened = open_images(tmp_path)
    assert (opened.classes, opened.labelled) == (("cat", "dog"), True)
    assert names(tmp_path) == [
        ("cat/deep/0.png", 0), ("cat/deep/1.png", 0), ("dog/deep/0.png", 1), ("dog/deep/1.png", 1),
    ]  # fmt: skip


def test_every_file_is_a_sample_or_skipped_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(grey(5)))
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.jpg").write_text("a text")
    (tmp_path / "d.jpg").write_bytes(encoded(noise(1), "JPEG")[:100])
    entries = list(open_images(tmp_path))
    reasons = {entry.name: entry.reason for entry in entries if isinstance(entry, Skipped)}
    assert len(entries) == 4
    assert reasons["b.png"] == "it is empty"
    assert reasons["c.jpg"] == "it is no image of a known format"
    assert set(reasons) == {"b.png", "c.jpg", "d.jpg"}


def test_shards_have_counts_identities_and_any_of_their_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "SHARD", 4)
    for i in range(10):
        (tmp_path / f"{i}.png").write_bytes(encoded(grey(i)))
    opened = open_images(tmp_path)
    assert [(shard.name, shard.count) for shard in opened.shards] == [("00000", 4), ("00001", 4), ("00002", 2)]
    assert [entry.name for entry in opened.shards[1].read([0, 3])] == ["4.png", "7.png"]
    (tmp_path / "9.png").write_bytes(encoded(grey(9, (5, 5))))
    again = open_images(tmp_path)
    same = [a.identity == b.identity for a, b in zip(opened.shards, again.shards, strict=True)]
    assert same == [True, True, False]
    assert opened.sha256 != again.sha256


def test_a_file_that_goes_away_is_skipped(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(grey(1)))
    opened = open_images(tmp_path)
    (tmp_path / "a.png").unlink()
    gone, _ = opened
    assert gone == Skipped("a.png", "no such file or directory")


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: (path / "x").mkdir(parents=True)])
def test_folders_without_images_are_refused(tmp_path: Path, make: object) -> None:
    path = tmp_path / "set"
    assert callable(make)
    make(path)
    code, message, hint = refusal(path)
    assert (code, message) == ("E460", f"there are no images in `{path}`")
    assert hint == "images end in .png, .jpg, .jpeg, .bmp, .gif, .webp"


def test_paths_that_are_no_set_are_refused(tmp_path: Path) -> None:
    missing, text = tmp_path / "nothing", tmp_path / "set.txt"
    text.write_text("a")
    assert refusal(missing)[:2] == ("E460", f"there are no images at `{missing}`: no such file or folder")
    assert refusal(text)[:2] == ("E460", f"`{text}` is no set of images")


# -- .npz --------------------------------------------------------------------------------------------------------------


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for an option
    return path


@pytest.mark.parametrize("shape", [(3, 8, 9), (3, 8, 9, 1), (3, 1, 8, 9), (3, 8, 9, 3), (3, 3, 8, 9)])
def test_arrays_of_every_layout_become_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = saved(tmp_path / "a.npz", images=pixels, labels=np.array([2, -1, 0]))
    entries = list(open_images(path))
    assert [(e.name, e.label) for e in entries if isinstance(e, Sample)] == [
        ("images[0]", 2), ("images[1]", None), ("images[2]", 0),
    ]  # fmt: skip
    plain = pixels[1]
    if shape[-1] == 9 and len(shape) == 4:
        plain = plain.transpose(1, 2, 0)
    (_, entry, _) = entries
    assert isinstance(entry, Sample)
    assert np.array_equal(np.asarray(entry.image), plain.squeeze())


def test_real_numbers_are_from_0_to_1(tmp_path: Path) -> None:
    pixels = np.array([[[0.0, 0.5, 1.0]], [[2.0, -1.0, 0.25]], [[np.nan, 0, 0]]])
    first, second, third = open_images(saved(tmp_path / "a.npz", images=pixels))
    assert isinstance(first, Sample)
    assert isinstance(second, Sample)
    assert [np.asarray(e.image).tolist() for e in (first, second)] == [[[0, 128, 255]], [[255, 0, 64]]]
    assert third == Skipped("images[2]", "it has values that are not finite")


def test_only_the_test_split_is_read(tmp_path: Path) -> None:
    arrays = {"images": np.zeros((4, 8, 8), np.uint8), "split": np.array(["train", "test", "test", "train"])}
    path = saved(tmp_path / "a.npz", **arrays)
    assert names(path) == [("images[1]", None), ("images[2]", None)]
    assert len(npz.open_npz(path, split="train")) == 2
    with pytest.raises(CnnscopeError, match="E460"):
        npz.open_npz(path, split="validation")


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.zeros(3)}, "it has no array `images` but x"),
        ({"images": np.zeros((2, 8))}, "`images` is float64 of 2 axes, not pixels"),
        ({"images": np.array([["a"]])}, "`images` is <U1 of 2 axes, not pixels"),
        ({"images": np.zeros((2, 8, 8, 5))}, "`images` has neither 1 nor 3 channels: (2, 8, 8, 5)"),
        ({"images": np.zeros((2, 8, 8)), "labels": np.zeros(3, int)}, "`labels` has shape (3,) for 2 images"),
        ({"images": np.zeros((2, 8, 8)), "labels": np.zeros(2)}, "`labels` are float64, not whole numbers"),
    ],
)
def test_archives_of_other_things_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], reason: str) -> None:
    path = saved(tmp_path / "a.npz", **arrays)
    assert refusal(path)[:2] == ("E461", f"cannot read the images in `{path}`: {reason}")


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", images=np.zeros((2, 8, 8)))
    path.write_bytes(path.read_bytes()[:200])
    code, message, _ = refusal(path)
    assert (code, message.startswith(f"cannot read the images in `{path}`: ")) == ("E461", True)


def test_archives_that_unpack_to_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "LARGEST", 1000)
    path = saved(tmp_path / "a.npz", images=np.zeros((2, 32, 32), np.uint8))
    assert refusal(path)[1].endswith("it unpacks to more than 0 GiB")


def test_pickles_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.array([{}], dtype=object))
    assert refusal(path)[0] == "E461"
