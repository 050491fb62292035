"""Every verb on a terminal of 80 characters: no line is longer, no word is cut, no total is lost."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from commands import Run
from safetensors.torch import save_file
from synthetic_outcomes import result

from cnnscope.audits.report import save
from cnnscope.cli.app import main
from cnnscope.cli.commands import COMMANDS
from cnnscope.render.folding import cells
from cnnscope.render.table import Table, plain
from cnnscope.render.terminal import RichTable

HIDDEN = "hidden here, shown with -v or on a wider terminal: (total"

MODELS = ("resnet50", "unet", "googlenet")
LAYERS = ("summary", "shapes", "params", "flops", "memory", "rf")
COMMANDS_SHOWN = [
    *((verb, model) for model in MODELS for verb in LAYERS),
    ("summary", "lenet5"), ("summary", "siamese"), ("summary", *MODELS), ("memory", *MODELS),
    ("summary", "resnet50", "-v"), ("rf", "unet", "-v"),
    *(("summary", model, "--view", "sheet") for model in ("mobilenet_v3_large", "googlenet", "vit_tiny")),
    ("flops", "resnet50", "--sort", "macs", "--top", "10"), ("summary", "resnet50", "--level", "op"),
    ("rf", "alexnet", "--unit", "conv5:3,3"), ("diff", "resnet50", "resnet18"), ("diff", "lenet5", "alexnet", "-v"),
    ("equivariance", "googlenet"), ("ablate", "resnet50", "--remove", "layer3", "--remove", "layer2,layer4"),
    ("edit", "resnet50", "--scale", "0.5"), ("edit", "resnet18", "--width", "layer2.0.conv2=96", "-v"),
    ("check", "resnet50", "lenet5"), ("check", "unet", "-v"), ("zoo", "resnet*", "unet"), ("zoo", "conv", "-v"),
    ("ops",), ("ops", "conv"), ("ops", "residual"),
    ("filters", "--layer", "c3"), ("features", "-o", "f.png"), ("attribute", "-o", "a.png", "--method", "saliency"),
    ("attribute", "--method", "saliency", "--trust", "-o", "t.png"),
    ("transfer", "lenet5-digits", "--classes", "3"), ("transfer", "alexnet", "--classes", "3", "-v"),
    ("kernels",), ("kernels", "--size", "7"), ("kernels", "--kernel", "-1 1", "--input", "0 1 0 1 1"),
    ("kernels", "--kernel", "1 0 -1; 2 0 -2; 1 0 -1", "--input", "0 0 1 1; 0 0 1 1; 0 0 1 1", "--pad", "1"),
    ("report", "one"), ("report", "one", "-v"),
    ("compare", "one", "one"), ("compare", "one", "one", "-v"),
    ("diagram", "lenet5", "-o", "d.svg"), ("page", "lenet5", "-o", "p.html"),
    ("weights", "check", "lenet5", "other.safetensors"), ("weights", "map", "lenet5", "other.safetensors"),
]  # fmt: skip
UNTABLED = {"expand", "schema", "export", "audit"}
"""Verbs whose results are texts of other languages, and one that shows what `report` shows."""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Shown:
    """What a command drew: the tables, and its lines on the terminal."""

    tables: list[Table]
    lines: list[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audit, with weights of another network, and one with long names of modules."""
    here = tmp_path_factory.mktemp("terminal")
    (here / "one").mkdir()
    save(result(), here / "one")
    save_file({"conv.weight": torch.zeros(6, 1, 5, 5), "conv.bias": torch.zeros(6)}, here / "other.safetensors")
    (here / "long.py").write_text(LONG)
    return here


LONG = """
from torch import nn

def network():
    "A network whose modules have paths of more than 60 characters, and one word that nothing divides."
    inner = nn.Sequential()
    inner.add_module("a_module_with_a_rather_long_name", nn.Conv2d(3, 8, 3, padding=1))
    inner.add_module("followed_by_an_activation_module", nn.ReLU())
    outer = nn.Sequential()
    outer.add_module("the_encoder_of_the_whole_network", inner)
    outer.add_module("x" * 70, nn.Conv2d(8, 4, 3))
    return outer
"""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Callable[..., Shown]:
    """``terminal(80, "summary", "lenet5")``: what it draws on a terminal of so many columns."""
    monkeypatch.chdir(folder)
    tables: list[Table] = []

    class Recorded(RichTable):
        def __init__(self, table: Table, whole: bool = False) -> None:
            super().__init__(table, whole)
            tables.append(table)

    monkeypatch.setattr("cnnscope.render.terminal.RichTable", Recorded)
    for key, value in {"NO_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(key, value)

    def show(columns: int, *words: str) -> Shown:
        monkeypatch.setenv("COLUMNS", str(columns))
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        tables.clear()
        assert main(words) in (0, 1, 4), words
        return Shown(list(tables), stream.getvalue().splitlines())

    return show


@pytest.mark.parametrize("words", COMMANDS_SHOWN, ids=" ".join)
def test_80_columns_are_enough(words: tuple[str, ...], terminal: Callable[..., Shown]) -> None:
    shown = terminal(80, *words)
    assert max(map(cells, shown.lines)) <= 80
    (table,) = shown.tables
    text, known = "\n".join(shown.lines), known_words(table)
    assert not {word for word in text.split() if word.strip("(),") not in known}
    for cell in table.total.cells if table.total else ():
        assert " ".join(cell.split()) in " ".join(text.split()), "a total is lost"


def known_words(table: Table) -> set[str]:
    """The words of a table and of what is said about it; of words that are wider than a column their parts."""
    whole = {word.strip("(),") for word in (*plain(table).split(), *HIDDEN.split())}
    parts = {part for word in whole if len(word) > 32 for part in re.findall(r"[^/_.:]*[/_.:]*", word)}
    rules = {"\u2500" * n for n in range(100)}
    return whole | parts | rules


@pytest.mark.parametrize("verb", LAYERS)
def test_long_names_fold_between_their_parts(verb: str, terminal: Callable[..., Shown]) -> None:
    shown = terminal(80, verb, "long.py:network", "--input", "3x16x16")
    assert max(map(cells, shown.lines)) <= 80
    text = "\n".join(shown.lines)
    assert "a_module_with_a_rather_long_name" in text
    assert text.count("x") >= 70


def test_wider_terminals_show_more(terminal: Callable[..., Shown]) -> None:
    counts = []
    for columns in (50, 80, 110, 400):
        lines = terminal(columns, "rf", "unet").lines
        heading = next(line for line in lines if line.startswith("layer"))
        counts.append(len(heading.split()))
        assert max(map(cells, lines)) <= columns
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[2]


def test_a_pipe_has_every_column_whatever_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for columns in ("40", "80", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        found.append(run("params", "resnet50").out)
    assert len(set(found)) == 1
    assert "buffers" in found[0]


def test_every_verb_is_here() -> None:
    assert {name for name, _ in COMMANDS.items()} <= {words[0] for words in COMMANDS_SHOWN} | UNTABLED
