"""``--help`` of every command at any width: no line is too long, no word is cut, every option is there."""

from __future__ import annotations

from collections import Counter

import pytest
from commands import Run

from cnnscope.cli.commands import COMMANDS

VERBS = [(), *((name,) for name, _ in COMMANDS.items()), ("weights", "check"), ("weights", "map")]
BOX = str.maketrans(dict.fromkeys("╭╮╰╯─│", " "))


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_help_fits(words: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for columns in (60, 80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        outcome = run(*words, "--help")
        assert (outcome.code, outcome.err) == (0, "")
        assert max(map(len, outcome.out.splitlines())) <= columns
        found[columns] = Counter(outcome.out.translate(BOX).split())
    assert found[60] == found[80] == found[100]


def test_choices_bounds_and_defaults_are_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = " ".join(run("summary", "--help").out.translate(BOX).split())
    assert "One of layer, op. [default: layer]" in text
    assert "Rows to show, without --sort those that are largest. JSON and CSV have all. [N >= 1]" in text
    assert "--verbose, -v Show all columns that there are." in text
    assert "[required]" in text
    assert "[default: rf]" in run("diagram", "--help").out
