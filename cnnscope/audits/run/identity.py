"""What makes two audits the same: then their pieces fit together, and what one has measured the other need not."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from cnnscope._version import __version__
from cnnscope.audits.protocol.protocol import Protocol
from cnnscope.errors import CnnscopeError
from cnnscope.files import write_bytes
from cnnscope.ir import Graph
from cnnscope.trained.images import ImageSet
from cnnscope.trained.network import TrainedNetwork
from cnnscope.trained.preprocess import Preprocess

FILE = "identity.json"
Identity = Mapping[str, str]

_ELSEWHERE = "name another folder with -o, or start over with --no-resume"


def identify(
    network: TrainedNetwork, preprocess: Preprocess, images: ImageSet, protocol: Protocol, *,
    seed: int, batch: int, layers: Sequence[str], piece: int, limit: int | None,
) -> Identity:  # fmt: skip
    """Everything that decides what is stored, by names that a message can use; not who computes it, nor the order."""
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
    """Marks a folder as this audit's, or finds that it is; E473 says what differs where it is another's.

    Of two audits that come at once the first one has it.
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
    """Complete or not at all, and only where there is none: a link, unlike a rename, replaces nothing."""
    draft = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    write_bytes(draft, (json.dumps(dict(identity), indent=2) + "\n").encode())
    try:
        os.link(draft, file)
    except FileExistsError:
        pass  # another rank, or another audit: which of them is told by the content
    except OSError:  # a file system without links
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _digest_graph(graph: Graph) -> str:
    """Over what is computed, whatever it was loaded from."""
    lines = [f"{n.name} {n.op!r} {n.inputs} {n.output.shape} {sorted(n.params.items())}\n" for n in graph.nodes]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
