"""``-o`` writes a complete file or none, in the format its suffix says."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from commands import Run

from cnnscope import files
from cnnscope.errors import CnnscopeError


@pytest.mark.parametrize(
    ("suffix", "start"),
    [(".json", "{"), (".csv", "name,op,"), (".tsv", "name\top\t"), (".md", "**LeNet-5"), (".txt", "LeNet-5 (lenet5)")],
)
def test_the_suffix_picks_the_format(run: Run, tmp_path: Path, suffix: str, start: str) -> None:
    target = tmp_path / f"out{suffix}"
    outcome = run("summary", "lenet5", "-o", str(target))
    assert (outcome.code, outcome.out, outcome.err) == (0, "", f"wrote {target}\n")
    assert target.read_text().startswith(start)
    assert list(tmp_path.iterdir()) == [target]


def test_the_format_option_has_the_last_word(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "out.dat"
    assert run("summary", "lenet5", "-f", "json", "-o", str(target), "-q").err == ""
    assert json.loads(target.read_text())["format"] == "cnnscope.summary"


def test_what_is_written_is_what_would_be_printed(run: Run, tmp_path: Path) -> None:
    run("rf", "lenet5", "-o", str(tmp_path / "out.txt"))
    assert (tmp_path / "out.txt").read_text() == run("rf", "lenet5").out


def test_a_suffix_that_tells_nothing_is_refused(run: Run, tmp_path: Path) -> None:
    outcome = run("summary", "lenet5", "-o", str(tmp_path / "out.jsn"))
    assert outcome.code == 2
    assert outcome.err == "error[E404]: `out.jsn` has no known suffix\n  = help: did you mean `.json`?\n"
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_named(run: Run, tmp_path: Path) -> None:
    missing, folder = tmp_path / "no" / "out.json", tmp_path / "folder.json"
    folder.mkdir()
    outcome = run("summary", "lenet5", "-o", str(missing))
    assert (outcome.code, outcome.err) == (2, f"error[E405]: cannot write `{missing}`: no such file or directory\n")
    outcome = run("summary", "lenet5", "-o", str(folder))
    assert (outcome.code, outcome.err) == (2, f"error[E405]: cannot write `{folder}`: it is a folder\n")
    assert list(tmp_path.iterdir()) == [folder]
    assert list(folder.iterdir()) == []


def test_a_read_only_file_is_left_alone(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may write anything
    outcome = run("summary", "lenet5", "-o", str(target))
    assert (outcome.code, outcome.err) == (2, f"error[E405]: cannot write `{target}`: permission denied\n")
    assert target.read_text() == "old"


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CnnscopeError, match=f"cannot write `{target}`: no space left on device"):
        files.write_text(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_and_links_stay_as_they_are(tmp_path: Path) -> None:
    target, link = tmp_path / "out.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    files.write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    files.write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_devices_take_what_they_are_given(run: Run) -> None:
    assert run("summary", "lenet5", "-f", "json", "-o", os.devnull, "-q").code == 0
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("verb", ["expand", "schema"])
def test_text_documents_are_written_the_same_way(run: Run, tmp_path: Path, verb: str) -> None:
    words = (verb, *(("lenet5",) if verb == "expand" else ("summary",)))
    target = tmp_path / "out"
    assert run(*words, "-o", str(target)).code == 0
    assert target.read_text() == run(*words).out
