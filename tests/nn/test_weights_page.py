"""The page on weights shows commands and what they print: each is run on the file it names."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import ModuleType

import pytest
import torch
from test_documentation import ROOT, columns, missing, shown

from cnnscope.cli.app import main

COMMANDS = list(shown(ROOT / "docs" / "weights.md"))


@pytest.fixture(scope="module")
def folder(torchvision: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights")
    torch.save(torchvision.models.resnet18().state_dict(), path / "resnet18.pth")
    return path


@pytest.mark.parametrize(("command", "lines"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_the_page_shows_what_is_printed(
    command: str, lines: list[str], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    main(shlex.split(command))
    assert missing(columns("\n".join(lines)), columns("".join(capsys.readouterr()))) is None


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 2
