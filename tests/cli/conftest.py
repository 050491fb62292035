"""Running the command line inside the test process."""

from __future__ import annotations

import io

import pytest
from commands import BLOCKS, Outcome, Run

from cnnscope.cli.app import main
from cnnscope.sources import spec_file


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("summary", "lenet5", stdin="...")``, from the folder of these tests, nothing being a terminal."""
    monkeypatch.chdir(BLOCKS.parent)
    monkeypatch.delenv("NO_COLOR", raising=False)

    def command(*words: str, stdin: str | bytes = "") -> Outcome:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        spec_file.standard_input.cache_clear()
        capsys.readouterr()
        code = main(words)
        return Outcome(code, *capsys.readouterr())

    return command
