"""Who may write in a folder of an audit: the audit it belongs to, and which process measures which shard.

`settle` marks a folder with the identity of its audit: everything that decides what is stored. Claims are files that
processes on any machine see in a shared folder; only one process can create each. Its holder touches it every few
seconds. A claim is free for anyone once its holder is known to be dead, or when it was not touched for a while. Should
two processes measure the same shard all the same, both write the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from cnnscope._version import __version__
from cnnscope.audits.protocol.protocol import Protocol
from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason, write_bytes
from cnnscope.ir import Graph
from cnnscope.trained.images import ImageSet
from cnnscope.trained.network import TrainedNetwork
from cnnscope.trained.preprocess import Preprocess

BEAT = 5.0
"""Seconds between touches of a claim."""
STALE = 60.0
"""Seconds after which an untouched claim of a process on another machine counts as abandoned."""


def machine() -> str:
    """Names the host and its process namespace, if any: process numbers can be compared only where these are equal."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Yields whether this process has the claim, and gives it back afterwards. E405 if the claim cannot be written."""
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
    """Whether the process that holds a claim is gone."""
    try:
        holder = json.loads(path.read_bytes())
        touched = path.stat().st_mtime
    except FileNotFoundError:
        return False
    except ValueError:  # the file is being written, or the machine went down while writing
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
            path.unlink(missing_ok=True)  # a full disk leaves the file empty
            raise CnnscopeError.of("E405", f"cannot write `{path}`: {os_reason(error)}") from None
    return False


def _remove(path: Path) -> bool:
    """Removes an abandoned claim; False if another process was faster, or if the claim turns out to be new."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return False
    if abandoned(aside):
        aside.unlink(missing_ok=True)
        return True
    with suppress(FileExistsError, FileNotFoundError):  # the holder continues; at worst a shard is measured twice
        os.link(aside, path)
    aside.unlink(missing_ok=True)
    return False


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with suppress(OSError):  # an audit survives a file system that is away for a moment
            os.utime(path)


def _alive(holder: dict[str, object]) -> bool:
    """Whether the process that took the claim still runs on this machine; its number may belong to another one by
    now."""
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
    """When a process began, in ticks since boot; empty if the system does not say, ``ended`` for a zombie."""
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
    """The time by the clock of the file system, which may differ from this machine's."""
    probe = folder / f".now.{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


FILE = "identity.json"
Identity = Mapping[str, str]
_ELSEWHERE = "name another folder with -o, or start over with --no-resume"


def identify(
    network: TrainedNetwork, preprocess: Preprocess, images: ImageSet, protocol: Protocol, *,
    seed: int, batch: int, layers: Sequence[str], piece: int, limit: int | None,
) -> Identity:  # fmt: skip
    """Everything that decides what is stored, by names for messages.

    Who computes it and in which order does not count.
    """
    return {
        "network": _digest_graph(network.graph), "weights": network.weights_sha256,
        "preprocessing": json.dumps(preprocess.to_dict(), sort_keys=True), "images": images.sha256,
        "limit": "none" if limit is None else str(limit), "shard size": str(piece), "protocol": protocol.hash(seed),
        "preset": protocol.name, "seed": str(seed), "device": network.device.type,
        "precision": str(network.dtype).removeprefix("torch."), "batch size": str(batch), "layers": ", ".join(layers),
        "torch": str(torch.__version__), "cnnscope": __version__,
    }  # fmt: skip


def digest(identity: Identity) -> str:
    """sha256 of an identity."""
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()


def settle(folder: Path, identity: Identity) -> None:
    """Marks a folder with this audit's identity. If it has a mark already, E473 says what differs.

    Of two audits that start at the same time, the first one gets the folder.
    """
    file = folder / FILE
    if not file.exists():
        _create(file, identity)
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        raise CnnscopeError.of("E473", f"`{folder}` holds shards of an audit that cannot be told: `{FILE}` is damaged",
                               hint=_ELSEWHERE) from None  # fmt: skip
    if found != identity:
        names = [name for name in identity if found.get(name) != identity[name]] if isinstance(found, dict) else []
        verb = "differs" if len(names) == 1 else "differ"
        raise CnnscopeError.of(
            "E473", f"`{folder}` holds shards of another audit: {', '.join(names) or 'everything'} {verb}",
            hint=_ELSEWHERE,
        )  # fmt: skip


def _create(file: Path, identity: Identity) -> None:
    """Writes the file completely or not at all, and only if there is none: a link, unlike a rename, replaces
    nothing."""
    draft = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    write_bytes(draft, (json.dumps(dict(identity), indent=2) + "\n").encode())
    try:
        os.link(draft, file)
    except FileExistsError:
        pass  # by another rank or another audit: the caller compares the content
    except OSError:  # the file system has no links
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _digest_graph(graph: Graph) -> str:
    """sha256 of what is computed, whatever source the graph was loaded from."""
    lines = [f"{n.name} {n.op!r} {n.inputs} {n.output.shape} {sorted(n.params.items())}\n" for n in graph.nodes]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
