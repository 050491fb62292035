"""Claims: one holder at a time, and none for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cnnscope.audits.run import claims
from cnnscope.audits.run.claims import abandoned, claimed, machine
from cnnscope.errors import CnnscopeError


def held_by(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps({"machine": machine(), "process": os.getpid(), "started": "0", **changes}))
    return path


def test_only_one_has_it_and_then_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.claim"
    with claimed(path) as first:
        with claimed(path) as second:
            assert (first, second) == (True, False)
        assert path.exists()
    assert not path.exists()
    with claimed(path) as again:
        assert again


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    path, gate = tmp_path / "a.claim", threading.Barrier(16)
    won = []

    def attempt() -> None:
        gate.wait()
        with claimed(path) as ours:
            won.append(ours)
            gate.wait()

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 15 + [True]


def test_a_claim_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a.claim"
    code = (
        "import sys, time; from pathlib import Path; from cnnscope.audits.run.claims import claimed\n"
        "with claimed(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert not abandoned(path)
        with claimed(path) as ours:
            assert not ours
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has asked for its exit code
        assert abandoned(path)
        holder.wait()
    with claimed(path) as ours:
        assert ours
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_has_by_now_does_not_count(tmp_path: Path) -> None:
    assert abandoned(held_by(tmp_path / "a.claim", started="before"))


def test_elsewhere_only_time_tells(tmp_path: Path) -> None:
    path = held_by(tmp_path / "a.claim", machine="another")
    assert not abandoned(path)
    long_ago = time.time() - claims.STALE - 5
    os.utime(path, (long_ago, long_ago))
    assert abandoned(path)


def test_a_holder_keeps_its_claim_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.02)
    path = tmp_path / "a.claim"
    with claimed(path):
        os.utime(path, (0, 0))
        limit = time.monotonic() + 60
        while path.stat().st_mtime == 0 and time.monotonic() < limit:
            time.sleep(0.02)
        assert path.stat().st_mtime > time.time() - 60


def test_half_a_claim_is_given_time(tmp_path: Path) -> None:
    path = tmp_path / "a.claim"
    path.write_text("{")
    assert not abandoned(path)
    os.utime(path, (0, 0))
    assert abandoned(path)


def test_a_claim_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "a.claim"
    with pytest.raises(CnnscopeError) as caught, claimed(path):
        raise AssertionError
    assert caught.value.diagnostics[0].message == f"cannot write `{path}`: no such file or directory"
