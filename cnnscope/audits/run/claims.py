"""Who is measuring what: claims on pieces, as files that processes on any machine see in a shared folder.

A claim is a file that only one process can create. Its holder touches it every few seconds; a claim whose holder is
known to be dead, or that was not touched for a while, is anyone's. Should two processes still measure one piece, both
write the same.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason

BEAT = 5.0
"""Seconds between touches of a claim."""
STALE = 60.0
"""Seconds after which an untouched claim of a process elsewhere counts as left behind."""


def machine() -> str:
    """What has to be equal for process numbers to mean the same: the host, and where there are some, its namespace."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process holds the claim inside; it is given back afterwards. E405 where it cannot be written."""
    if not _take(path):
        yield False
        return
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, done), daemon=True)
    beating.start()
    try:
        yield True
    finally:
        done.set()
        beating.join()
        path.unlink(missing_ok=True)


def abandoned(path: Path) -> bool:
    """Whether the holder of a claim is gone."""
    try:
        holder = json.loads(path.read_bytes())
        touched = path.stat().st_mtime
    except FileNotFoundError:
        return False
    except ValueError:  # being written at this moment, or by a machine that went down
        holder, touched = {}, _touched(path)
    if holder.get("machine") == machine():
        return not _alive(holder)
    return _now(path.parent) - touched > STALE


def _take(path: Path) -> bool:
    holder = {"machine": machine(), "process": os.getpid(), "started": _started(os.getpid())}
    for _ in range(2):
        try:
            with path.open("x") as file:
                file.write(json.dumps(holder))
            return True
        except FileExistsError:
            if not abandoned(path) or not _remove(path):
                return False
        except OSError as error:
            path.unlink(missing_ok=True)  # a full disk leaves it empty
            raise CnnscopeError.of("E405", f"cannot write `{path}`: {os_reason(error)}") from None
    return False


def _remove(path: Path) -> bool:
    """Takes an abandoned claim away; false where another process was faster, or it turns out to be a new one."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return False
    if abandoned(aside):
        aside.unlink(missing_ok=True)
        return True
    with suppress(FileExistsError, FileNotFoundError):  # the holder goes on; at worst a piece is measured twice
        os.link(aside, path)
    aside.unlink(missing_ok=True)
    return False


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with suppress(OSError):  # a file system that is away for a moment ends no audit
            os.utime(path)


def _alive(holder: dict[str, object]) -> bool:
    """Whether a process of this machine is still the one that took the claim: numbers are used again."""
    process = holder.get("process")
    if not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _started(process) == holder.get("started")


def _started(process: int) -> str:
    """When a process began, in ticks since the machine did; empty where the system does not say, ``ended`` for one that
    is only waited for."""
    try:
        state, *numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "ended" if state in "ZX" else numbers[18]
    except (OSError, IndexError, ValueError):
        return ""


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _now(folder: Path) -> float:
    """The time by the clock of the file system, which may not be this machine's."""
    probe = folder / f".now.{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
