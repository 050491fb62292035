"""Measured pieces as files: written completely or not at all, and believed only if nothing in them changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cnnscope.audits.outcomes import Outcomes, packed, unpacked
from cnnscope.errors import CnnscopeError
from cnnscope.files import write_bytes
from cnnscope.trained.images import Skipped

FOLDER = "shards"
"""Where they are, in the folder of an audit."""


@dataclass(frozen=True)
class Measured:
    """A measured piece: N images, their ``places`` (N) in the whole set, and how it went.

    ``batch`` is the smallest that was used, ``seconds`` how long it took, pictures read included.
    """

    outcomes: Outcomes
    places: tuple[int, ...]
    skipped: tuple[Skipped, ...] = ()
    enlarged: int = 0
    batch: int = 0
    seconds: float = 0.0

    def save(self, path: Path, identity: str) -> None:
        """Writes an .npz, which `Outcomes.load` reads too; E405 where it cannot be written."""
        everything = {f.name: getattr(self.outcomes, f.name) for f in fields(Outcomes)}
        arrays = {name: value for name, value in everything.items() if isinstance(value, np.ndarray)}
        facts = {
            "identity": identity, "sha256": self.outcomes.result_hash(), "places": list(self.places),
            "skipped": [[s.name, s.reason] for s in self.skipped], "enlarged": self.enlarged, "batch": self.batch,
            "seconds": self.seconds,
        }  # fmt: skip
        header = {
            "transforms": [asdict(transform) for transform in self.outcomes.transforms],
            "layers": list(self.outcomes.layers), "name": list(self.outcomes.name), "key": list(self.outcomes.key),
            "piece": facts,
        }  # fmt: skip
        write_bytes(path, packed(header, arrays))


def load(path: Path, identity: str) -> Measured:
    """What `Measured.save` wrote for the same audit; E475 where it is damaged or of another one."""
    outcomes = Outcomes.load(path)
    header, _ = unpacked(path)
    try:
        facts: Mapping[str, Any] = header["piece"]
        if facts["identity"] != identity:
            raise ValueError("it is of another audit")
        if facts["sha256"] != outcomes.result_hash():
            raise ValueError("its content is not what was written")
        skipped = tuple(Skipped(name, reason) for name, reason in facts["skipped"])
        return Measured(outcomes, tuple(facts["places"]), skipped, facts["enlarged"], facts["batch"], facts["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise CnnscopeError.of("E475", f"`{path}` is no piece of this audit: {error}") from None
