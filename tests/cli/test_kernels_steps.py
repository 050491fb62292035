"""``kernels`` worked out in pictures: strips and animations of the steps, and options that do not go together."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from commands import Run
from documents import valid
from PIL import Image

from cnnscope import kernels

PICTURES = [
    ("conv", ("--kernel", "1 -1 | 0 2", "--input", "1 2 3 | 4 5 6", "--bias", "1/2", "--act", "relu"), 2),
    ("image", ("--kernel", "1 0; 0 1", "--input", "1 2 3; 4 5 6", "--pad", "1", "--stride", "2"), 4),
    ("upconv", ("--op", "upconv", "--kernel", "1 2; 3 4", "--input", "1 2; 3 4", "--pad", "1"), 4),
    ("maxpool", ("--op", "maxpool", "--input", "1 5 2 7", "--size", "2"), 2),
    ("avgpool", ("--op", "avgpool", "--input", "1 5 2 7; 1 1 1 1"), 2),
]


@pytest.mark.parametrize(("words", "frames"), [row[1:] for row in PICTURES], ids=[row[0] for row in PICTURES])
def test_a_step_a_frame_with_the_same_bytes_twice(
    run: Run, tmp_path: Path, words: tuple[str, ...], frames: int
) -> None:
    contents = []
    for name in ("a.gif", "b.gif"):
        outcome = run("kernels", *words, "-o", str(tmp_path / name), "-q")
        assert (outcome.code, outcome.err) == (0, "")
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    picture = Image.open(io.BytesIO(contents[0]))
    assert picture.n_frames == frames  # type: ignore[attr-defined]
    shown = []
    for i in range(frames):
        picture.seek(i)
        shown.append(picture.convert("RGB").tobytes())
    assert len(set(shown)) == frames, "every step looks different"


def test_chosen_steps_make_a_strip(run: Run, tmp_path: Path) -> None:
    words = ("kernels", "--kernel", "1 1", "--input", "1 2 3 4 5", "--steps")
    heights = []
    for steps in ("2", "2,4"):
        outcome = run(*words, steps, "-o", str(tmp_path / "x.png"), "-q")
        assert (outcome.code, outcome.err) == (0, "")
        heights.append(Image.open(tmp_path / "x.png").height)
    assert heights[1] > heights[0]
    outcome = run(*words, "2,4", "-f", "json")
    example = valid(json.loads(outcome.out))["example"]
    assert [step["position"] for step in example["steps"]] == [[1], [3]]
    assert (len(example["matrix"]), example["output"]) == (4, [[3, 5, 7, 9]])


def test_the_document_says_what_was_done() -> None:
    example = kernels(kernel="1 0 | 0 1", input="1 2 3 | 4 5 6", bias="-7", act="relu").to_dict()["example"]
    assert (example["op"], example["channels"], example["bias"], example["activation"]) == ("conv", 2, -7, "relu")
    assert (example["kernel"], example["input"]) == ([[1, 0], [0, 1]], [[1, 2, 3], [4, 5, 6]])
    assert [(step["sum"], step["output"]) for step in example["steps"]] == [(6, 0), (8, 1)]


TABLE = """\
transposed kernel 1 2 1 over 1 2

at  window  products  sum  column of the matrix
 0  1       1 2 1       4  2 1 0
 1  2       2 4 2       8  0 1 2

output 2 3 4, stride 2, padding 1
"""


def test_a_transposed_convolution_as_a_table(run: Run) -> None:
    outcome = run("kernels", "--op", "upconv", "--kernel", "1 2 1", "--input", "1 2", "--stride", "2", "--pad", "1")
    assert outcome.out.startswith(TABLE)


NUMBERS = ("--input", "1 2 3 4")
BAD = [
    (("--op", "maxpool", "--kernel", "1 1", *NUMBERS), "E409", "`--op maxpool` has no kernel"),
    (("--op", "upconv", *NUMBERS), "E409", "`--input` needs a kernel to slide over it"),
    (("--op", "maxpool"), "E409", "`--op` belongs to a kernel and an input of numbers"),
    (("--op", "maxpool", *NUMBERS, "--bias", "1"), "E409", "`--bias` does not go with `--op maxpool`"),
    (("--op", "avgpool", *NUMBERS, "--dilation", "2"), "E409", "`--dilation` does not go with `--op avgpool`"),
    (("--op", "upconv", "--kernel", "1", *NUMBERS, "--act", "tanh"), "E409", "`--act` does not go with `--op upconv`"),
    (("--op", "maxpool", "--input", "1 2 | 3 4"), "E409", "works on each channel alone, and `--input` has 2"),
    (("--kernel", "1", *NUMBERS, "--bias", "x"), "E487", "`x` in `--bias` is no number"),
    (("--kernel", "1", *NUMBERS, "--steps", "9"), "E409", "there is no step 9"),
    (("--steps", "1"), "E409", "`--steps` belongs to a kernel and an input of numbers"),
    (("--op", "maxpool", *NUMBERS, "--size", "5"), "E488", "the window has 5 numbers, and the input 4"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "message"), BAD)
def test_options_that_do_not_go_together(run: Run, words: tuple[str, ...], code: str, message: str) -> None:
    outcome = run("kernels", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error[{code}]: ")
    assert message in outcome.err


def test_pictures_that_nobody_follows_are_refused(run: Run, tmp_path: Path) -> None:
    words = ("kernels", "--kernel", "1", "--input", " ".join("1" * 70), "-o")
    for name, message in (("x.png", "a picture of 70 steps is more than anyone follows; 12 fit"),
                          ("x.gif", "70 frames are more than anyone watches; 64 fit")):  # fmt: skip
        outcome = run(*words, str(tmp_path / name))
        assert outcome.code == 2
        assert outcome.err.startswith(f"error[E489]: {message}")
    outcome = run("kernels", "-o", str(tmp_path / "x.gif"))
    assert outcome.err.startswith("error[E404]: `x.gif` has no known suffix")
    assert list(tmp_path.iterdir()) == []
