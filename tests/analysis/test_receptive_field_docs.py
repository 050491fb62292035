"""The example on the receptive-field page prints what its comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "receptive-fields.md"


def test_the_example_prints_its_comments(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    exec(block, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\S  +# (.*)$", block, re.M)
