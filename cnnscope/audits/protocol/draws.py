"""Parameters drawn per image: they depend on the seed, the image's content and the slot's name, on nothing else.

Not on the order of images, batches, devices or processes, nor on which other slots there are.
"""

from __future__ import annotations

import hashlib

import numpy as np

from cnnscope.audits.protocol.protocol import Draw, Slot, Transform


def generator(seed: int, key: str, slot: str) -> np.random.Generator:
    """The random stream of one image (``key`` is the sha256 of its pixels) in one slot: Philox keyed by all three.

    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (SC11).
    """
    digest = hashlib.sha256(f"{seed}\n{key}\n{slot}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def resolve(slot: Slot, seed: int, key: str) -> Transform:
    """The transform of one image in a slot: the slot itself, unless its parameters are drawn."""
    if isinstance(slot, Transform):
        return slot
    random = generator(seed, key, slot.name)
    dy, dx = (_pixels(random, span, slot) for span in (slot.dy, slot.dx))
    factor, angle = (float(random.uniform(*span)) for span in (slot.zoom, slot.angle))
    return Transform(slot.family, slot.magnitude, slot.unit, slot.name, dy, dx, factor, angle)


def _pixels(random: np.random.Generator, span: tuple[float, float], slot: Draw) -> float:
    low, high = span
    return float(random.integers(int(low), int(high), endpoint=True) if slot.whole else random.uniform(low, high))
