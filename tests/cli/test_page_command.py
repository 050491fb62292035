"""``page`` on the command line: what it writes, says and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Run

from cnnscope.cli.output import Quiet


def test_a_page_is_written_and_named(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "net.html"
    outcome = run("page", "lenet5", "-o", str(target))
    assert outcome.code == 0
    assert str(target) in outcome.out
    assert target.read_text().startswith("<!DOCTYPE html>\n")
    assert list(tmp_path.iterdir()) == [target]


def test_without_a_name_it_takes_the_models(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("page", "lenet5", "-f", "json")
    document = json.loads(outcome.out)
    content = (tmp_path / "lenet-5.html").read_bytes()
    assert document["format"] == "cnnscope.files"
    assert document["files"] == [{"path": "lenet-5.html", "kind": "html", "bytes": len(content)}]


def test_input_and_image_reach_the_page(run: Run, tmp_path: Path) -> None:
    from PIL import Image

    photo, target = tmp_path / "cat.png", tmp_path / "net.html"
    Image.new("RGB", (30, 20), "red").save(photo)
    assert run("page", "resnet18", "--input", "3x64x96", "--image", str(photo), "-o", str(target)).code == 0
    page = target.read_text()
    assert "input 3x64x96" in page
    assert "data:image/png;base64," in page


@pytest.mark.parametrize(
    ("where", "message"),
    [("missing/net.html", "no such file or directory"), ("", "it is a folder"), ("file/net.html", "not a directory")],
)
def test_what_cannot_be_written(run: Run, tmp_path: Path, where: str, message: str) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / where
    outcome = run("page", "lenet5", "-o", str(target), "-q")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error[E405]: cannot write `{target}`: {message}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file or directory"), (b"", "it is empty"),
     (b"no picture", "it is no image of a known format"),
     (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "it is no image of a known format")],
)  # fmt: skip
def test_what_is_no_image(run: Run, tmp_path: Path, content: bytes | None, message: str) -> None:
    image, target = tmp_path / "cat.png", tmp_path / "net.html"
    if content is not None:
        image.write_bytes(content)
    outcome = run("page", "lenet5", "--image", str(image), "-o", str(target), "-q")
    assert outcome.code == 2
    assert outcome.err == (
        f"error[E606]: cannot read the image `{image}`: {message}\n  = help: use a PNG or JPEG file\n"
    )
    assert not target.exists()


def test_a_page_is_html(run: Run, tmp_path: Path) -> None:
    outcome = run("page", "lenet5", "-o", str(tmp_path / "net.pdf"))
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert outcome.err == "error[E404]: `net.pdf` is not the name of a page\n  = help: use .html\n"


def test_a_cut_off_image_is_refused(run: Run, tmp_path: Path) -> None:
    from PIL import Image

    whole, cut = tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    Image.effect_noise((200, 200), 50).save(whole)
    cut.write_bytes(whole.read_bytes()[:2000])
    outcome = run("page", "lenet5", "--image", str(cut), "-o", str(tmp_path / "net.html"), "-q")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error[E606]: cannot read the image `{cut}`: ")


def test_an_image_needs_an_input_to_lie_on(run: Run, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (9, 9)).save(tmp_path / "cat.png")
    outcome = run("page", "m5", "--image", str(tmp_path / "cat.png"), "-o", str(tmp_path / "net.html"), "-q")
    assert outcome.code == 2
    assert outcome.err == (
        "error[E607]: `--image` needs an input with a height and a width, and this network has none\n"
    )


def test_what_takes_long_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    from time import monotonic, sleep

    said, limit = "", monotonic() + 60
    with Quiet().announced("drawing", after=0.01):
        while not said and monotonic() < limit:
            sleep(0.01)
            said = capsys.readouterr().err
    assert said == "drawing ...\n"
    with Quiet(quiet=True).announced("drawing", after=0.01):
        sleep(0.05)
    with Quiet().announced("drawing"):
        pass
    assert capsys.readouterr().err == ""
