"""Training a network's new head, and what of the network is not frozen: cross entropy, AdamW, no augmentation.

On a CPU the same seed gives the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.audits.statistics.intervals import wilson
from cnnscope.errors import CnnscopeError
from cnnscope.progress import Progress
from cnnscope.trained.network import TrainedNetwork
from cnnscope.training.document import Accuracy, TrainingRun
from cnnscope.training.model import Images, TransferModel, prepare
from cnnscope.training.plan import Plan, Strategy


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train: passes over the data, AdamW's learning rate, images per step, and the seed of all random draws."""

    epochs: int = 10
    learning_rate: float = 1e-3
    batch_size: int = 32
    seed: int = 0


def train(
    network: TrainedNetwork, plan: Plan, strategy: Strategy, images: Images, settings: Settings, progress: Progress
) -> tuple[TransferModel, list[float], int]:  # fmt: skip
    """The trained model, the mean loss of each epoch, and how many held-out images it gets right.

    If everything before the head is frozen, the features are computed once. E497 if the loss is not finite or the
    device's memory does not suffice.
    """
    model = prepare(network, plan, strategy, settings.seed)
    try:
        if cacheable(model, plan):
            features = _features(network, model, images.pixels, settings, progress)
            held = _features(network, model, images.held_pixels, settings, progress)
            losses = fit(model, features, images.labels, settings, progress, cached=True)
            return model, losses, _correct(model, held, images.held_labels, settings, cached=True)
        losses = fit(model, _Inputs(network, images.pixels), images.labels, settings, progress, cached=False)
        inputs = _Inputs(network, images.held_pixels)
        return model, losses, _correct(model, inputs, images.held_labels, settings, cached=False)
    except torch.OutOfMemoryError:
        message = f"batches of {settings.batch_size} do not fit in the memory of `{network.device}`"
        raise CnnscopeError.of("E497", message, hint="use a smaller `--batch-size`, or freeze more") from None


def cacheable(model: TransferModel, plan: Plan) -> bool:
    """Whether nothing before the head changes in training and everything after it reads the head alone."""
    trained = {key for key, param in model.graph.params.items() if param.trainable}
    return model.tail is not None and trained <= set(plan.new.params.values())


@dataclass(frozen=True)
class _Inputs:
    """The network's input for some rows of the pixels at a time."""

    network: TrainedNetwork
    pixels: Tensor

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.network.input(self.pixels[rows])


def fit(
    model: TransferModel, inputs: Tensor | _Inputs, labels: Tensor, settings: Settings, progress: Progress, *,
    cached: bool,
) -> list[float]:  # fmt: skip
    """Trains in place and returns the mean loss of each epoch.

    ``inputs`` are features (N, ...) if ``cached``, else images.
    """
    forward = model.from_features if cached else model.logits
    parameters = [p for p in model.module.parameters() if p.requires_grad]
    device = parameters[0].device
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    losses: list[float] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        for epoch in range(settings.epochs):
            total = 0.0
            order = torch.randperm(len(labels), generator=generator)
            for done, rows in _batches(order, settings.batch_size):
                optimizer.zero_grad(set_to_none=True)
                with _diverging(epoch if total or losses else None, settings):
                    loss = F.cross_entropy(forward(inputs[rows]), labels[rows].to(device))
                loss.backward()  # type: ignore[no-untyped-call]  # torch's own, without types
                optimizer.step()
                total += float(loss.detach()) * len(rows)
                progress(f"epoch {epoch + 1}", epoch * len(order) + done, settings.epochs * len(order))
            losses.append(total / len(order))
    return losses


@contextmanager
def _diverging(epoch: int | None, settings: Settings) -> Iterator[None]:
    """Turns E453 (scores are not finite) into E497, which blames the learning rate; ``epoch`` is None before any
    step."""
    try:
        yield
    except CnnscopeError as error:
        if epoch is None:
            raise
        hint = f"use a smaller `--lr` than {settings.learning_rate:g}"
        raise CnnscopeError.of("E497", f"the loss is not finite in epoch {epoch + 1}", hint=hint) from error


def _batches(order: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Yields the number of rows done after each step, and the step's rows.

    A single last row is added to the step before it: batch norm cannot be trained on one image.
    """
    pieces = [order[start : start + size] for start in range(0, len(order), size)]
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [torch.cat(pieces[-2:])]
    done = 0
    for rows in pieces:
        done += len(rows)
        yield done, rows


@torch.no_grad()
def _features(
    network: TrainedNetwork, model: TransferModel, pixels: Tensor, settings: Settings, progress: Progress
) -> Tensor:  # fmt: skip
    """(N, ...): the input of the head for each image."""
    found: list[Tensor] = []
    handle = model.head.register_forward_pre_hook(lambda module, args: found.append(args[0].detach()))
    try:
        for done, rows in _batches(torch.arange(len(pixels)), settings.batch_size):
            model.module(network.input(pixels[rows]))
            progress("computing features", done, len(pixels))
    finally:
        handle.remove()
    return torch.cat(found)


@torch.no_grad()
def _correct(
    model: TransferModel, inputs: Tensor | _Inputs, labels: Tensor, settings: Settings, *, cached: bool
) -> int:  # fmt: skip
    """The number of images whose prediction is right, with the whole network in eval mode."""
    model.module.eval()
    forward = model.from_features if cached else model.logits
    right = 0
    for _, rows in _batches(torch.arange(len(labels)), settings.batch_size):
        with _diverging(settings.epochs - 1, settings):
            logits = forward(inputs[rows])
        right += int((logits.argmax(1).cpu() == labels[rows]).sum())
    return right


def summarise(
    network: TrainedNetwork, strategy: Strategy, data: str, images: Images, settings: Settings,
    losses: Sequence[float], correct: int, cached: bool,
) -> TrainingRun:  # fmt: skip
    """What the document says of a run."""
    held = len(images.held_labels)
    low, high = wilson(correct / held, held)
    return TrainingRun(
        strategy=strategy.name, data=data, data_sha256=images.sha256, trained_on=len(images.labels), held_out=held,
        split=images.split, skipped=images.skipped, epochs=settings.epochs, learning_rate=settings.learning_rate,
        batch_size=settings.batch_size, seed=settings.seed, device=str(network.device), features_cached=cached,
        losses=tuple(losses), correct=correct, accuracy=Accuracy(value=correct / held, low=low, high=high),
        chance=float(images.held_labels.bincount().max()) / held, weights=network.weights,
    )  # fmt: skip
