"""Standard streams that are full, closed or narrow, and signals: no traceback, no exit code 70, no half of a file."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import BLOCKS, Run

from cnnscope import api, files
from cnnscope.cli import signals

PROGRAM = [sys.executable, "-m", "cnnscope"]
HELP = "  = help: write to a file that there is room for: `-o FILE`\n"
PLACE = "error[E405]: cannot write to standard output: "


def shell(words: str, place: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """What a line of the shell does, where ``cnnscope`` is the program."""
    line = words.replace("cnnscope", " ".join(PROGRAM), 1)
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, cwd=place, env=os.environ | environment, timeout=120, check=False
    )


@pytest.mark.parametrize("words", ["summary lenet5", "", "expand lenet5", "summary --help", "--version"])
def test_a_full_disk_and_a_closed_descriptor_are_refusals(tmp_path: Path, words: str) -> None:
    full = shell(f"cnnscope {words} > /dev/full", tmp_path)
    assert (full.returncode, full.stderr.decode()) == (2, f"{PLACE}no space left on device\n{HELP}")
    closed = shell(f"cnnscope {words} >&-", tmp_path)
    assert (closed.returncode, closed.stderr.decode()) == (2, f"{PLACE}bad file descriptor\n{HELP}")


def test_they_are_json_where_json_was_asked_for(tmp_path: Path) -> None:
    (error,) = json.loads(shell("cnnscope summary lenet5 -f json > /dev/full", tmp_path).stderr)["errors"]
    assert (error["code"], error["message"]) == ("E405", "cannot write to standard output: no space left on device")


def test_what_goes_to_a_file_needs_no_stream_at_all(tmp_path: Path) -> None:
    done = shell("cnnscope summary lenet5 -o out.json <&- >&- 2>&-", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert json.loads((tmp_path / "out.json").read_text())["format"] == "cnnscope.summary"
    assert [file.name for file in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_messages_that_nobody_gets_change_no_exit_code(tmp_path: Path, stderr: str) -> None:
    assert shell(f"cnnscope summary nothing {stderr}", tmp_path).returncode == 2
    done = shell(f"cnnscope summary lenet5 -o out.txt {stderr} && cat out.txt", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"LeNet-5")


def test_help_ends_silently_when_its_reader_goes_away(tmp_path: Path) -> None:
    done = shell("cnnscope summary --help | true; exit ${PIPESTATUS[0]}", tmp_path)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_closed_standard_input_is_said(tmp_path: Path) -> None:
    done = shell("cnnscope summary - <&-", tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        b"error[E109]: standard input is closed\n  = help: pass a spec on: `cnnscope summary - < net.yaml`\n"
    )


NAMES = {"accents": "Blöcke", "other scripts": "数", "beyond 16 bits": "\N{GRINNING FACE}", "half a pair": "\\ud800"}


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}])
def test_json_is_json_in_every_encoding(tmp_path: Path, environment: dict[str, str]) -> None:
    name = " ".join(NAMES.values())
    text = BLOCKS.read_text().replace("name: Blocks", f'name: "{name}"')
    (tmp_path / os.fsdecode(b"n\xff.yaml")).write_text(text, encoding="utf-8")
    done = shell("cnnscope summary $'n\\xff.yaml' -f json", tmp_path, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout.decode(environment["PYTHONIOENCODING"]))
    assert found["model"]["name"] == json.loads(f'"{name}"')
    refused = shell("cnnscope summary 'Blöcke 数.yaml' -f json", tmp_path, **environment)
    assert refused.returncode == 2
    (error,) = json.loads(refused.stderr.decode(environment["PYTHONIOENCODING"]))["errors"]
    assert error["file"] == "Blöcke 数.yaml"


@pytest.mark.parametrize(
    "words",
    ["summary {}", "summary {} -f json", "summary {} -o out.csv", "expand {} -o out.yaml", "diagram {} -o out.svg",
     "page {} -o out.html", "export {} --to json -o out.json", "diff {} lenet5", "summary lenet5 --columns {}",
     "summary lenet5 --set {}=3", "{}", "rf lenet5 --unit {}:3,3", "summary lenet5 -o {}.json"],
)  # fmt: skip
def test_names_that_are_no_text_are_names(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    name = os.fsdecode(b"n\xff.yaml")
    text = BLOCKS.read_text().replace("name: Blocks", 'name: "half \\ud800"')
    (tmp_path / name).write_text(text)
    run("--version")  # the fixture goes to the folder of the tests first
    monkeypatch.setattr("os.chdir", lambda *_: None)
    here = os.open(tmp_path, os.O_RDONLY)
    os.fchdir(here)
    os.close(here)
    outcome = run(*(word.format(name) for word in words.split()))
    assert outcome.code in (0, 1, 2)
    assert "internal error" not in outcome.err
    for file in tmp_path.glob("out.*"):
        file.read_text(encoding="utf-8")
    if "json" in words and outcome.code == 0 and "-o" not in words:
        json.loads(outcome.out)


def test_a_signal_leaves_nothing_half_written(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")

    def interrupted(number: int) -> None:
        with signals.heard(), files.replacing(target) as draft:
            draft.write_text("ha")
            signal.raise_signal(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        with pytest.raises(signals.Terminated) as caught:
            interrupted(number)
        assert caught.value.exit_code == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with signals.heard():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


AT_AN_IMPORT = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Kill:
    def find_spec(self, name, *_):
        if name == {name!r}:
            os.kill(os.getpid(), signal.{signal})

sys.meta_path.insert(0, Kill())
sys.argv = ["cnnscope", "summary", "lenet5", "-o", "out.json"]
runpy.run_module("cnnscope", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGINT, "cnnscope.cli.app"), (signal.SIGTERM, "cnnscope.cli.app"),
        (signal.SIGINT, "cnnscope.analysis.summary"), (signal.SIGTERM, "cnnscope.analysis.summary"),
        (signal.SIGHUP, "cnnscope.render.result"),
    ],
)  # fmt: skip
def test_a_signal_ends_the_program_silently_at_any_time(tmp_path: Path, number: signal.Signals, name: str) -> None:
    program = AT_AN_IMPORT.format(name=name, signal=number.name)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode in (-number, 128 + number)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_spec("torchvision") is None, reason="needs torchvision")
def test_too_little_memory_is_said(tmp_path: Path) -> None:
    done = shell("ulimit -v 400000; cnnscope summary torchvision:resnet18", tmp_path)  # torch alone needs more
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error[E474]: there is not enough memory for this\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"), RuntimeError("can't start new thread"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)  # fmt: skip
def test_every_spelling_of_too_little_memory_is_known(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(api, "load", fail)
    outcome = run("summary", "lenet5")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error[E474]: there is not enough memory for this\n  = help: free some")
