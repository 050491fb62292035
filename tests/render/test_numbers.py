"""How figures are written."""

from __future__ import annotations

import pytest

from cnnscope.render import numbers


@pytest.mark.parametrize(
    ("n", "text"),
    [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (246_824, "241.04 KiB"), (5_655_336, "5.39 MiB"),
     (2**40, "1.00 TiB"), (2**63, "8,192.00 PiB")],
)  # fmt: skip
def test_bytes_have_binary_prefixes(n: int | None, text: str) -> None:
    assert numbers.binary(n) == text


def test_counts_have_separators_and_unknown_is_not_zero() -> None:
    assert (numbers.count(1_234_567), numbers.count(0), numbers.count(None)) == ("1,234,567", "0", "?")


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 8, "12.5 %"), (0, 8, "0.0 %"), (0, 0, ""), (None, 8, ""), (8, 8, "100.0 %")]
)
def test_shares(part: int | None, whole: int | None, text: str) -> None:
    assert numbers.share(part, whole) == text


def test_shapes() -> None:
    assert (numbers.shape((3, 224, 224)), numbers.shape((10,)), numbers.shape(())) == ("3x224x224", "10", "scalar")


def test_a_title_cannot_drive_the_terminal() -> None:
    assert numbers.printable("a\x1b[31mb\u202e\n") == r"a\x1b[31mb\u202e\n"
    assert numbers.printable("Größe 数") == "Größe 数"
