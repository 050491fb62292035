"""What an audit does to every image: fixed transforms, and transforms whose parameters are drawn for each image.

Drawn parameters depend on the seed, the image's content and the slot's name alone: not on the order of images, batches,
devices or processes, nor on which other slots there are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from cnnscope.audits.outcomes import Family, TransformRecord

Axis = Literal["", "horizontal", "vertical"]
Border = Literal["crop", "reflect", "zero", "mean", "circular"]
BORDERS: tuple[Border, ...] = ("crop", "reflect", "zero", "mean", "circular")
CLEAN = "clean"
"""Stands for the untransformed image in chains."""


@dataclass(frozen=True, slots=True)
class Transform:
    """One movement of the picture's content: mirrored, then scaled by ``zoom`` and turned by ``angle`` about the centre
    of the input, then moved by ``dy`` and ``dx``.

    ``angle`` is in degrees counter-clockwise, ``dy`` and ``dx`` in pixels down and to the right, ``zoom`` > 1 enlarges.
    ``flip`` names the direction along which left and right (``horizontal``) or top and bottom (``vertical``) swap.
    ``magnitude``, in ``unit``, is what curves are drawn over and gates are named by: the larger of ``|dy|`` and
    ``|dx|`` (``px``), ``zoom`` (``x``), the signed angle above -180 (``deg``), 0 for a flip.
    """

    family: Family
    magnitude: float
    unit: str
    name: str
    dy: float = 0.0
    dx: float = 0.0
    zoom: float = 1.0
    angle: float = 0.0
    flip: Axis = ""

    @property
    def on_grid(self) -> bool:
        """Whether every pixel lands on a pixel, so that nothing is interpolated: whole shifts, quarter turns, flips."""
        return self.zoom == 1 and self.angle % 90 == 0 and self.dy % 1 == 0 and self.dx % 1 == 0

    @property
    def record(self) -> TransformRecord:
        """What is stored of the transform beside its outcomes."""
        return TransformRecord(
            name=self.name, family=self.family, magnitude=self.magnitude, unit=self.unit, on_grid=self.on_grid,
            dy=float(self.dy), dx=float(self.dx),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Draw:
    """A transform whose parameters are drawn anew for every image, uniformly and independently.

    Each range is (lowest, highest), both included; ``whole`` draws whole pixels. ``magnitude`` is the largest possible.
    """

    family: Family
    magnitude: float
    unit: str
    name: str
    dy: tuple[float, float] = (0, 0)
    dx: tuple[float, float] = (0, 0)
    zoom: tuple[float, float] = (1, 1)
    angle: tuple[float, float] = (0, 0)
    whole: bool = True

    @property
    def on_grid(self) -> bool:
        """Whether nothing is ever interpolated."""
        return self.whole and self.zoom == (1, 1) and self.angle == (0, 0)

    @property
    def record(self) -> TransformRecord:
        """What is stored beside its outcomes; the shifts differ from image to image."""
        return TransformRecord(self.name, self.family, self.magnitude, self.unit, self.on_grid)


Slot = Transform | Draw


@dataclass(frozen=True)
class Protocol:
    """The transforms that every image goes through.

    ``source`` names the paper and section it follows. ``margin`` is how many pixels of the picture
    around the input may be shown, as far as it has them; ``border`` says what lies beyond: the picture's mirror image
    (``crop`` where there is a margin, ``reflect``), the picture again (``circular``), black (``zero``) or the mean of
    the preprocessing (``mean``). ``resize`` is the picture's shorter side, where the protocol fixes it. ``chains`` are
    slots (or `CLEAN`) that follow one another in small steps, ``pairs`` groups of slots compared all with all.

    ValueError for two slots of one name, or for a chain or pair that names none.
    """

    name: str
    source: str
    slots: tuple[Slot, ...]
    border: Border = "crop"
    margin: int = 0
    resize: int | None = None
    chains: tuple[tuple[str, ...], ...] = ()
    pairs: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        names = [slot.name for slot in self.slots]
        if len(set(names)) < len(names) or CLEAN in names:
            raise ValueError(f"slots of one name in protocol {self.name}")
        named = {name for group in (*self.chains, *self.pairs) for name in group}
        if unknown := named - {*names, CLEAN}:
            raise ValueError(f"protocol {self.name} has no slot {', '.join(sorted(unknown))}")

    def bordered(self, border: Border) -> Protocol:
        """The same protocol with another border; with all but ``crop`` only the input's own pixels are shown."""
        return replace(self, border=border, margin=self.margin if border == "crop" else 0)

    @property
    def records(self) -> tuple[TransformRecord, ...]:
        """The slots as they are stored beside outcomes."""
        return tuple(slot.record for slot in self.slots)

    def index(self, names: Iterable[str]) -> tuple[int, ...]:
        """The places of slots by name; `CLEAN` is -1."""
        places = {slot.name: i for i, slot in enumerate(self.slots)} | {CLEAN: -1}
        return tuple(places[name] for name in names)

    def to_dict(self) -> dict[str, Any]:
        """The protocol as plain values, for the record."""
        return {
            "name": self.name, "source": self.source, "border": self.border, "margin": self.margin,
            "resize": self.resize, "slots": [asdict(slot) for slot in self.slots],
            "chains": [list(chain) for chain in self.chains], "pairs": [list(group) for group in self.pairs],
        }  # fmt: skip

    def hash(self, seed: int = 0) -> str:
        """sha256 of everything that decides the pixels of the transformed images; names and comparisons do not
        count."""
        decisive = {
            "seed": seed, "border": self.border, "margin": self.margin, "resize": self.resize,
            "slots": [_plain(asdict(slot)) for slot in self.slots],
            "draws": "philox4x64, key sha256(seed, image, slot)", "interpolation": "bilinear, align_corners=False",
        }  # fmt: skip
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def shift(dy: float, dx: float) -> Transform:
    """Content moved ``dy`` pixels down and ``dx`` to the right."""
    return Transform("translation", max(abs(dy), abs(dx)), "px", f"shift {dy:+g},{dx:+g}", dy=dy, dx=dx)


def rotate(angle: float) -> Transform:
    """Content turned counter-clockwise by ``angle`` degrees."""
    signed = 180 - (180 - angle) % 360
    return Transform("rotation", signed, "deg", f"rotate {signed:g}", angle=signed)


def zoom(factor: float) -> Transform:
    """Content enlarged by ``factor``."""
    return Transform("scale", factor, "x", f"zoom {factor:g}", zoom=factor)


def mirror(axis: Axis) -> Transform:
    """Content mirrored: ``horizontal`` swaps left and right."""
    return Transform("flip", 0.0, "", f"flip {axis}", flip=axis)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Values with numbers as floats, so that 1 and 1.0 have the same hash."""

    def plain(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    return {key: plain(value) for key, value in values.items()}


def generator(seed: int, key: str, slot: str) -> np.random.Generator:
    """The random stream of one image (``key`` is the sha256 of its pixels) in one slot: Philox keyed by all three.

    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (SC11).
    """
    digest = hashlib.sha256(f"{seed}\n{key}\n{slot}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def resolve(slot: Slot, seed: int, key: str) -> Transform:
    """The transform of one image in a slot: the slot itself, or one with drawn parameters."""
    if isinstance(slot, Transform):
        return slot
    random = generator(seed, key, slot.name)
    dy, dx = (_pixels(random, span, slot) for span in (slot.dy, slot.dx))
    factor, angle = (float(random.uniform(*span)) for span in (slot.zoom, slot.angle))
    return Transform(
        family=slot.family, magnitude=slot.magnitude, unit=slot.unit, name=slot.name, dy=dy, dx=dx, zoom=factor,
        angle=angle,
    )  # fmt: skip


def _pixels(random: np.random.Generator, span: tuple[float, float], slot: Draw) -> float:
    low, high = span
    return float(random.integers(int(low), int(high), endpoint=True) if slot.whole else random.uniform(low, high))
