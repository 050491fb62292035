"""``rf --unit --values`` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run


def test_a_trained_network_on_its_own_image(run: Run, tmp_path: Path) -> None:
    outcome = run("rf", "lenet5-digits", "--unit", "c3:5,4,4", "--values")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("LeNet-5 on digits (lenet5-digits), unit c3:5,4,4 (conv 5x5 16) on images[")
    assert "the network computes" in outcome.out
    for name in ("a.svg", "b.svg"):
        assert run("rf", "lenet5-digits", "--unit", "c3:5,4,4", "--values", "-o", str(tmp_path / name), "-q").code == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--unit", "c3:4,4", "--values"), "E203", "a unit of `c3` (16x10x10) has 3 numbers, not 2"),
        (("--unit", "c3:16,4,4", "--values"), "E203", "`c3` has 16x10x10 units, and 16,4,4 is none of them"),
        (("--unit", "flatten1:1", "--values"), "E464", "`flatten1` is `flatten`"),
        (("--unit", "c9:1,1,1", "--values"), "E205", "no layer is called `c9`"),
        (("--values",), "E409", "`--values` is about what one unit computes"),
        (("--unit", "c3:1,1", "--weights", "x.pt"), "E409", "`--weights` is about what one unit computes"),
        (("--unit", "c3:1,1,1", "--values", "--image", "nowhere.png"), "E606", "cannot read the image"),
    ],
)
def test_bad_input_is_answered(run: Run, words: tuple[str, ...], code: str, message: str) -> None:
    outcome = run("rf", "lenet5-digits", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error[{code}]: ")
    assert message in outcome.err
