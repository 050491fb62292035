"""What a command did, and the networks these tests use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BLOCKS = Path(__file__).with_name("blocks.yaml")


@dataclass(frozen=True)
class Outcome:
    """Exit code and streams of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]
