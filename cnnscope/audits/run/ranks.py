"""Which of several processes this is, as `torchrun` says in the environment. They need no connection to each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cnnscope.errors import CnnscopeError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """``rank`` of ``world`` processes on all machines, ``local`` among those of this machine, from 0."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str] | None = None) -> Ranks:
        """From RANK, WORLD_SIZE and LOCAL_RANK, a single process without them; E478 where they make no sense."""
        environment = os.environ if environment is None else environment
        rank, world = (_whole(environment, name, least) for name, least in (("RANK", 0), ("WORLD_SIZE", 1)))
        local = _whole(environment, "LOCAL_RANK", 0)
        if rank >= world:
            raise CnnscopeError.of("E478", f"`RANK={rank}` of `WORLD_SIZE={world}`: ranks count from 0",
                                   hint="`torchrun` sets both")  # fmt: skip
        return cls(rank, world, local)

    @property
    def leads(self) -> bool:
        """Whether this process puts the result together."""
        return self.rank == 0

    def order(self, items: Sequence[T]) -> list[T]:
        """Its own share first, every ``world``-th of them, then what others may not get to."""
        own = list(items[self.rank :: self.world])
        return own + [item for i, item in enumerate(items) if i % self.world != self.rank]

    def device(self, name: str) -> str:
        """Its GPU where each rank has one of its own: ``cuda`` is ``cuda:LOCAL_RANK``."""
        if self.world == 1 or name not in ("auto", "cuda"):
            return name
        if name == "auto":
            import torch

            if not torch.cuda.is_available():
                return name
        return f"cuda:{self.local}"


def _whole(environment: Mapping[str, str], name: str, least: int) -> int:
    text = environment.get(name, str(least))
    if not text.strip().isdecimal() or int(text) < least:
        raise CnnscopeError.of("E478", f"`{name}={text}` is no whole number from {least}", hint="`torchrun` sets it")
    return int(text)
