"""What commands print, word for word. `python -m pytest tests/cli --snapshot-update` after a change made on purpose."""

from __future__ import annotations

import io

import pytest
from commands import BLOCKS, Run
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

import cnnscope

VERBS = ("summary", "shapes", "params", "flops", "memory", "rf")


@pytest.mark.parametrize("source", ["lenet5", "blocks.yaml"])
@pytest.mark.parametrize("verb", VERBS)
def test_tables_as_piped(run: Run, snapshot: SnapshotAssertion, verb: str, source: str) -> None:
    outcome = run(verb, source)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot


@pytest.mark.parametrize(
    "options",
    [
        ("--level", "op"), ("--depth", "1"), ("--quiet",), ("--columns", "macs,name,span"),
        ("--batch-size", "8", "--dtype", "float16"), ("--set", "width=4"), ("--input", "48x48x3"),
        ("--format", "csv"), ("--format", "tsv"), ("--format", "markdown"), ("--format", "json"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_options(run: Run, snapshot: SnapshotAssertion, options: tuple[str, ...]) -> None:
    outcome = run("summary", "blocks.yaml", *options)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot


@pytest.mark.parametrize(
    "words",
    [
        ("summary", "lenet5", "blocks.yaml"), ("params", "lenet5", "blocks.yaml", "-f", "json"),
        ("memory", "lenet5", "blocks.yaml", "-f", "csv"), ("rf", "blocks.yaml", "-f", "json"),
        ("rf", "blocks.yaml", "--verbose"), ("rf", "blocks.yaml", "--unit", "stage2.add:0,3"),
        ("rf", "lenet5", "--unit", "c3:9,0", "-f", "json"), ("ops", "linear"), ("ops", "linear", "-f", "json"),
        ("check", "lenet5"), ("check", "lenet5", "-f", "json"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_other_commands(run: Run, snapshot: SnapshotAssertion, words: tuple[str, ...]) -> None:
    outcome = run(*words)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot


@pytest.mark.parametrize("width", [120, 80, 40])
def test_a_terminal(snapshot: SnapshotAssertion, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(cnnscope.summary(BLOCKS).view())
    shown = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert shown.replace(str(BLOCKS), "blocks.yaml") == snapshot if width > 80 else "\u2026" not in shown
