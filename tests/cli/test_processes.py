"""The program as a process: pipes, terminals, standard input."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest
from commands import BLOCKS

PROGRAM = [sys.executable, "-m", "cnnscope"]


def on_a_terminal(*words: str, columns: int = 100, **environment: str) -> str:
    """What the program writes to a terminal."""
    ours, theirs = pty.openpty()
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    settings = {"TERM": "xterm-256color", "COLUMNS": str(columns), **environment}
    with subprocess.Popen([*PROGRAM, *words], stdout=theirs, stderr=theirs, env=plain | settings) as process:
        os.close(theirs)
        written = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux's way of saying that the other end was closed
                break
            if not chunk:
                break
            written += chunk
        process.wait(60)
    os.close(ours)
    return written.decode()


def test_a_terminal_gets_colours_and_lines() -> None:
    shown = on_a_terminal("summary", str(BLOCKS))
    assert "\x1b[34m" in shown
    assert "\u2500" in shown


@pytest.mark.parametrize(
    ("options", "environment"), [((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"}), (("--color", "never"), {})]
)
def test_colours_can_be_had_without(options: tuple[str, ...], environment: dict[str, str]) -> None:
    assert "\x1b[" not in on_a_terminal("summary", str(BLOCKS), *options, **environment)
    assert "\x1b[" not in on_a_terminal("summary", "nothing", *options, **environment)


def test_errors_are_coloured_on_a_terminal() -> None:
    shown = on_a_terminal("summary", "nothing")
    assert "\x1b[1;31merror[E401]" in shown


def test_a_pipe_gets_neither_unless_asked() -> None:
    piped = subprocess.run([*PROGRAM, "summary", str(BLOCKS)], capture_output=True, text=True, check=True)
    assert "\x1b[" not in piped.stdout
    assert "\u2500" not in piped.stdout
    words = [*PROGRAM, "summary", str(BLOCKS), "--color", "always"]
    assert "\x1b[" in subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        [*PROGRAM, "summary", "densenet201", "-f", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_other_encodings_lose_nothing(tmp_path: Path) -> None:
    spec = tmp_path / "net.yaml"
    spec.write_text(BLOCKS.read_text().replace("name: Blocks", "name: Blöcke 数"), encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*PROGRAM, "summary", str(spec)], capture_output=True, env=environment, check=True)
    assert done.stdout.startswith(rb"Bl\u00f6cke \u6570")


def test_a_spec_can_come_through_a_pipe() -> None:
    expanded = subprocess.run([*PROGRAM, "expand", "resnet18"], capture_output=True, check=True).stdout
    checked = subprocess.run([*PROGRAM, "check", "-"], input=expanded, capture_output=True, check=True).stdout
    assert checked.splitlines()[-1] == b"2 ok, 0 wrong, 0 without reference"
