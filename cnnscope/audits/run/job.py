"""An audit that is about to run: the network, the images and how they are divided, the protocol; and its progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from cnnscope.audits.features import INPUT, default_layers
from cnnscope.audits.protocol.presets import preset as named
from cnnscope.audits.protocol.protocol import Border, Protocol
from cnnscope.audits.run import shards
from cnnscope.audits.run.claims import Identity, digest, identify
from cnnscope.audits.run.prepare import LabelMatch, Prepared, adapted, match_classes, prepare
from cnnscope.audits.run.shards import Piece, divide
from cnnscope.errors import CnnscopeError
from cnnscope.progress import Progress
from cnnscope.trained.images import ImageSet, Skipped, open_images
from cnnscope.trained.network import TrainedNetwork
from cnnscope.trained.preprocess import Preprocess

_LARGE = 64 * 3 * 224 * 224
"""Numbers in a batch of inputs: enough to keep a CPU busy, and few enough for the memory of a small machine."""


@dataclass(frozen=True)
class Job:
    """An audit that is about to run.

    ``layers`` are watched besides the input. ``batch`` is the largest number of samples in a forward pass, ``size`` the
    largest number of images in a shard. With ``strict``, images that cannot be used are an error.
    """

    network: TrainedNetwork
    preprocess: Preprocess
    images: ImageSet
    classes: LabelMatch
    protocol: Protocol
    seed: int
    batch: int
    layers: tuple[str, ...]
    size: int
    limit: int | None
    strict: bool

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The shards, in the order of the images."""
        return divide(self.images, self.size, self.limit)

    @cached_property
    def identity(self) -> Identity:
        """Everything that decides what is stored, by name."""
        return identify(
            self.network, self.preprocess, self.images, self.protocol, seed=self.seed, batch=self.batch,
            layers=self.layers, piece=self.size, limit=self.limit,
        )  # fmt: skip

    @property
    def digest(self) -> str:
        """sha256 of the identity."""
        return digest(self.identity)

    @property
    def watched(self) -> tuple[str, ...]:
        """The layers in the outcomes: the input and ``layers``."""
        return (INPUT, *self.layers)

    @property
    def total(self) -> int:
        """The number of images that are looked at."""
        return sum(len(piece.places) for piece in self.pieces)

    def read(self, piece: Piece, places: Sequence[int] | None = None) -> tuple[Prepared, tuple[int, ...]]:
        """The images of a shard, or at some places of its part of the set, and their places in the whole set."""
        wanted = piece.places if places is None else tuple(places)
        prepared, used = prepare(piece.shard.read(wanted), wanted, self.preprocess, self.protocol, self.classes)
        if self.strict and prepared.skipped:
            raise refused(prepared.skipped)
        return prepared, tuple(piece.first + place for place in used)


def open_job(
    network: TrainedNetwork, *, preset: str = "quick", seed: int = 0, batch: int | None = None,
    limit: int | None = None, border: Border | None = None, layers: Sequence[str] | None = None,
    size: int = shards.SIZE, strict: bool = False,
) -> Job:  # fmt: skip
    """The audit of a network on its images.

    `CnnscopeError`: E205 for an unknown layer, E454 for preprocessing, E460 and E461 for images, E462 and E463 for what
    ``strict`` refuses, E471 and E472 for the protocol, E414 for a missing package.
    """
    if network.data is None:
        raise CnnscopeError.of("E460", f"`{network.source}` comes without images",
                               hint="name some with `--data`: a folder, an .npz, tars or parquet files")  # fmt: skip
    height, width = network.input_shape[1:]
    protocol, preprocess = adapted(named(preset, (height, width)), network.preprocess, border)
    for layer in layers or ():
        network.check_layer(layer)
    images = open_images(network.data)
    classes = match_classes(images.classes, network.labels, network.classes)
    if strict and not classes.known:
        raise CnnscopeError.of("E463", f"the images are of {len(images.classes)} classes, the network knows "
                               f"{network.classes}", hint="`--labels` names the network's classes")  # fmt: skip
    if strict and images.skipped:
        raise refused(images.skipped)
    return Job(
        network=network, preprocess=preprocess, images=images, classes=classes, protocol=protocol, seed=seed,
        batch=batch or default_batch(network),
        layers=default_layers(network) if layers is None else tuple(layers), size=size, limit=limit, strict=strict,
    )  # fmt: skip


def default_batch(network: TrainedNetwork) -> int:
    """256 samples; on a CPU up to 1,024 where inputs are small, fewer where they are large."""
    if network.device.type != "cpu":
        return 256
    fits = max(16, _LARGE // prod(network.input_shape))
    return int(min(1024, 1 << (fits.bit_length() - 1)))


def refused(skipped: Sequence[Skipped]) -> CnnscopeError:
    """E462 for images that would be left out."""
    first = skipped[0]
    more = f", as {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return CnnscopeError.of("E462", f"`{first.name}` cannot be used{more}: {first.reason}",
                            hint="without `--strict-data` it is left out and counted")  # fmt: skip


class AuditProgress:
    """Counts images and transforms over all threads and ranks, and reports them to ``progress``."""

    def __init__(self, slots: int, progress: Progress) -> None:
        self.slots, self.progress, self.lock = slots, progress, threading.Lock()
        self.total = self.ready = self.finished = self.partial = 0
        self.start = time.monotonic()

    def begin(self, total: int, ready: int) -> None:
        """Starts with ``ready`` of ``total`` images measured. Where several threads start, the first one counts."""
        with self.lock:
            if self.finished == self.total:
                self.total, self.ready, self.finished = total, ready, ready
                self.start = time.monotonic()
            self._show()

    def advance(self, samples: int) -> None:
        """This process measured ``samples`` more images x transforms."""
        with self.lock:
            self.partial += samples
            self._show()

    def done(self, entries: int, samples: int) -> None:
        """``entries`` more images are finished; ``samples`` of theirs were counted by `advance` (0 for other ranks'
        images)."""
        with self.lock:
            self.finished += entries
            self.partial -= samples
            self._show()

    def note(self, text: str) -> None:
        """Something happened that the user should know."""
        with self.lock:
            self.progress.note(text)

    @property
    def text(self) -> str:
        """``1,280 of 50,000 images, 12,300 images x transforms/s, 3 min left``."""
        samples = (self.finished - self.ready) * self.slots + self.partial
        missing = (self.total - self.finished) * self.slots - self.partial
        if missing <= 0:
            return f"all {self.total:,} images measured; now controls, random weights and the report"
        words = f"{self.finished + self.partial // self.slots:,} of {self.total:,} images"
        if samples:
            rate = samples / max(time.monotonic() - self.start, 1e-9)
            words += f", {rate:,.0f} images x transforms/s, {duration(missing / rate)} left"
        return words

    def _show(self) -> None:
        self.progress("auditing", self.finished + self.partial / self.slots, max(self.total, 1), self.text)


def duration(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
