"""``kernels`` on the command line: the lecture's example, pictures with what is beside them, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from documents import valid
from PIL import Image

LECTURE = """\
kernel -1 1 over 0 1 0 1 1

at  window  products    sum  row of the matrix
 0  0 1     -1*0 + 1*1    1  -1  1  0  0  0
 1  1 0     -1*1 + 1*0   -1   0 -1  1  0  0
 2  0 1     -1*0 + 1*1    1   0  0 -1  1  0
 3  1 1     -1*1 + 1*1    0   0  0  0 -1  1

output 1 -1 1 0
the 4x5 matrix times the input is the output; each row is the one above, moved by one: a Toeplitz matrix; 8 of 20 entries are not 0
as networks do, the kernel is not flipped (cross-correlation); flipped first (convolution in signal processing) it would give -1 1 -1 0
"""  # noqa: E501  # as printed


def document(run: Run, *words: str) -> Any:
    outcome = run(*words, "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    return valid(json.loads(outcome.out))


def test_the_lectures_example(run: Run) -> None:
    outcome = run("kernels", "--kernel", "-1 1", "--input", "0 1 0 1 1")
    assert (outcome.code, outcome.out, outcome.err) == (0, LECTURE, "")


def test_two_axes_with_all_settings(run: Run) -> None:
    words = ("kernels", "--kernel", "1 0 -1; 2 0 -2; 1 0 -1", "--input", "0 0 1 1; 0 0 1 1; 0 0 1 1", "--pad", "1")
    outcome = run(*words, "--stride", "2", "-q")
    assert outcome.out.splitlines()[3].startswith("0,0  0 0 0; 0 0 0; 0 0 0  1*0 + 0*0 + -1*0 + 2*0")
    found = document(run, *words, "--stride", "2")["example"]
    assert (found["output"], found["stride"], found["pad"]) == ([[0, -3], [0, -3]], 2, 1)
    flat = np.array(found["matrix"]) @ np.ravel(found["input"])
    np.testing.assert_array_equal(flat, np.ravel(found["output"]))
    assert [step["sum"] for step in found["steps"]] == flat.tolist()


def test_a_wide_matrix_is_left_to_json(run: Run) -> None:
    words = ("kernels", "--kernel", "1 1", "--input", " ".join("1" * 40))
    outcome = run(*words)
    assert "row of the matrix" not in outcome.out
    assert "entries are not 0; `-f json` has it" in outcome.out
    assert np.shape(document(run, *words)["example"]["matrix"]) == (39, 40)


def test_designed_kernels_on_the_bundled_digit(run: Run) -> None:
    outcome = run("kernels", "-q")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("3x3 kernels on a bundled digit (5), 32x32\n")
    names = [line.split("  ")[0] for line in outcome.out.splitlines()[3:]]
    assert names == ["Sobel x", "Sobel y", "Gaussian", "Laplacian", "sharpen", "box blur", "identity"]
    found = document(run, "kernels", "--size", "5")
    assert len(found["kernels"]) == 55
    assert found["image"] == {"name": "a bundled digit (5)", "height": 32, "width": 32}


def test_sobel_fires_for_vertical_edges(run: Run, tmp_path: Path) -> None:
    edge = np.zeros((20, 30), np.uint8)
    edge[:, 15:] = 255
    Image.fromarray(edge).save(tmp_path / "edge.png")
    kernels = document(run, "kernels", "--image", str(tmp_path / "edge.png"))["kernels"]
    found = {one["name"]: one["response"] for one in kernels}
    assert found["Sobel x"] == {"min": -4.0, "max": 0.0}
    assert found["Sobel y"] == {"min": 0.0, "max": 0.0}
    assert found["box blur"] == {"min": 0.0, "max": pytest.approx(1.0)}


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_has_its_arrays_and_its_figures_beside_it(run: Run, tmp_path: Path, suffix: str) -> None:
    outcome = run("kernels", "-o", str(tmp_path / f"x.{suffix}"), "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    files = json.loads(outcome.out)["files"]
    assert [Path(file["path"]).name for file in files] == [f"x.{suffix}", "x.json", "x.responses.npy", "x.kernels.npy"]
    assert all(Path(file["path"]).stat().st_size == file["bytes"] for file in files)
    manifest = json.loads((tmp_path / "x.json").read_text())
    valid(manifest)
    assert (manifest["picture"], manifest["arrays"]["responses"]) == (f"x.{suffix}", "x.responses.npy")
    kernels, responses = (np.load(tmp_path / manifest["arrays"][name]) for name in ("kernels", "responses"))
    assert (kernels.shape, responses.shape) == ((7, 3, 3), (7, 32, 32))
    assert responses[0].max() == manifest["kernels"][0]["response"]["max"]


def test_a_kernel_of_ones_own_on_an_image(run: Run) -> None:
    """The lecture's sharpening kernel adds up to -1: it turns white into black."""
    found = document(run, "kernels", "--kernel", "0 -1 0; -1 3 -1; 0 -1 0")
    (kernel,) = found["kernels"]
    assert (kernel["name"], kernel["sum"]) == ("own", -1)
    assert kernel["response"]["min"] < -0.9


def test_an_example_loads_no_framework_and_no_numpy() -> None:
    program = (
        "import sys; from cnnscope.cli.app import main; "
        "main(['kernels', '--kernel', '-1 1', '--input', '0 1 0 1 1']); "
        "print([name for name in ('torch', 'numpy', 'matplotlib', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_pictures_of_kernels_load_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from cnnscope.cli.app import main; "
        f"main(['kernels', '-o', {str(tmp_path / 'x.png')!r}]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


FAILURES = [
    (["--kernel", "1 x", "--input", "1 2"], "error[E487]: `x` in `--kernel` is no number"),
    (["--kernel", "1", "--input", "1 2; 3"],
     "error[E487]: the rows of `--input` differ in length: the first has 2 numbers, the 2nd 1"),
    (["--kernel", "1 nan", "--input", "1 2"], "error[E487]: `--kernel` has `nan` in it, which is not finite"),
    (["--kernel", "1 2 3", "--input", "1 2"], "error[E488]: the kernel has 3 numbers, and the input 2"),
    (["--kernel", "1 1", "--input", "1 2 3", "--pad", "1000000"],
     "error[E489]: 2,000,002 steps over 3 numbers are more than anyone follows"),
    (["--kernel", " ".join("1" * 40)], "error[E488]: the kernel is 1x40, and a bundled digit (5) only 32x32"),
    (["--input", "1 2"], "error[E409]: `--input` needs a kernel to slide over it"),
    (["--kernel", "1", "--input", "1", "--image", "x.png"], "error[E409]: `--input` and `--image` are two inputs"),
    (["--kernel", "1", "--size", "5"],
     "error[E409]: `--size` is of the designed kernels, and `--kernel` gives its own"),
    (["--stride", "2"], "error[E409]: `--stride` belongs to a kernel and an input of numbers"),
    (["--image", "nowhere.png"], "error[E606]: cannot read the image `nowhere.png`: no such file or directory"),
    (["--image", "blocks.yaml"], "error[E606]: cannot read the image `blocks.yaml`: it is no image of a known format"),
    (["--kernel", "1 1", "--input", "1 2 3", "-o", "x.bmp"], "error[E404]: `x.bmp` has no known suffix"),
    (["-o", "nowhere/x.png"], "error[E405]: cannot write `nowhere/x.png`: no such file or directory"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), FAILURES, ids=[" ".join(words)[:40] for words, _ in FAILURES])
def test_bad_input_is_answered(run: Run, words: list[str], message: str) -> None:
    outcome = run("kernels", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[0] == message


def test_large_kernels_add_up_and_stay_legible(run: Run) -> None:
    lines = run("kernels", "--size", "31", "-q").out.splitlines()
    sums = {line[:12].strip(): line[12:].split() for line in lines[3:5]}
    assert {name: cells[0] for name, cells in sums.items()} == {"Sobel x": "0", "Sobel y": "0"}
    assert all("e+" in cells[3] and "e+" in cells[5] for cells in sums.values())
