"""The document of a transfer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from cnnscope.render.documents.document import INLINE, Count, Document, Ordinal, Share, keywords
from cnnscope.render.documents.network import Conventions, Model
from cnnscope.training.plan import Part


@dataclass(frozen=True, kw_only=True)
class NewHead:
    """The layer that is replaced, and what replaces it."""

    layer: str
    op: str
    classes_before: Count
    classes: Annotated[int, keywords(minimum=2)]
    params: Count


@dataclass(frozen=True, kw_only=True)
class TrainedLayer:
    """What happens to a layer."""

    name: str
    part: Part
    """unused: of a head that only the original training had"""


@dataclass(frozen=True, kw_only=True)
class TransferCost:
    """The figures of a way of training."""

    trained_params: Count
    frozen_params: Count
    unused_params: Count
    """of heads that only the original training had"""
    weight_bytes: Count
    """parameters and buffers"""
    gradient_bytes: Count
    sgd_momentum_bytes: Count
    """a velocity for each trained parameter"""
    adamw_bytes: Count
    """two moments a trained parameter"""
    kept_activation_bytes: Count
    """tensors autograd keeps for the backward pass of a batch, the loss apart"""
    peak_activation_bytes: Count
    """most that is alive in the forward pass, what is kept included"""
    total_sgd_momentum_bytes: Count
    total_adamw_bytes: Count
    """weights, gradients, optimizer state, activations at the peak"""
    forward_macs: Count
    """an image"""
    frozen_macs: Count
    """forward MACs before anything trained, whose results could be stored"""
    backward_macs: Count
    """an image"""


@dataclass(frozen=True, kw_only=True)
class TransferStrategy:
    """One way of training."""

    name: str
    layers: Sequence[TrainedLayer]
    cost: TransferCost = field(metadata=INLINE)
    buffers: Count
    estimated: Sequence[str]
    """layers without a rule, counted as keeping their inputs and output"""
    unsupported: Sequence[str]
    lower_bound: bool
    """MACs of unsupported layers are missing"""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The share of images that are right, with its 95 % Wilson interval."""

    value: Share
    low: Share
    high: Share


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """One run of training and its score."""

    strategy: str
    data: str
    data_sha256: str
    trained_on: Count
    held_out: Ordinal
    split: str
    skipped: Count
    optimizer: Literal["adamw"] = "adamw"
    epochs: Ordinal
    learning_rate: float
    batch_size: Count
    seed: Count
    device: str
    features_cached: bool
    """what the head reads was computed once"""
    losses: Sequence[float]
    """mean cross entropy of each epoch"""
    correct: Count
    accuracy: Accuracy
    """on held-out images, with the 95 % Wilson interval"""
    chance: Share
    """share of the most frequent class among them"""
    weights: str
    """what training started from"""


@dataclass(frozen=True, kw_only=True)
class TransferDocument(Document):
    """Ways of training a network for other classes, and a run of one: ``cnnscope transfer``."""

    format: Literal["cnnscope.transfer"] = "cnnscope.transfer"
    conventions: Conventions
    model: Model
    head: NewHead
    strategies: Annotated[Sequence[TransferStrategy], keywords(minItems=2)]
    training: TrainingRun | None
