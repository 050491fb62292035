"""Outcomes drawn from a seed, for tests of what is computed from them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from cnnscope.audits.outcomes import Outcomes, TransformRecord
from cnnscope.audits.record import (
    AuditFacts,
    BaselinePoint,
    Control,
    DataFacts,
    EquivarianceError,
    LocalError,
    ModelFacts,
    Prediction,
    Rates,
    Skipped,
)
from cnnscope.audits.result import AuditResult, Gallery, worst_cases
from cnnscope.audits.statistics.groups import group


def grid(*magnitudes: int) -> list[TransformRecord]:
    """Whole shifts down, up, right and left by each magnitude."""
    return [
        TransformRecord(f"shift {dy:+d},{dx:+d}", "translation", m, "px", True, dy, dx)
        for m in magnitudes for dy, dx in ((m, 0), (-m, 0), (0, m), (0, -m))
    ]  # fmt: skip


def turns(*degrees: float) -> list[TransformRecord]:
    return [TransformRecord(f"rotate {d:g}", "rotation", d, "deg", d % 90 == 0) for d in degrees]


def zooms(*factors: float) -> list[TransformRecord]:
    return [TransformRecord(f"zoom x{f:g}", "scale", f, "x", False) for f in factors]


FLIPS = [TransformRecord(f"flip {axis}", "flip", 0, "", True) for axis in ("horizontal", "vertical")]
ALL = (*grid(1, 2, 4, 8), TransformRecord("shift +0.5,+0.5", "translation", 0.5, "px", False, 0.5, 0.5),
       *zooms(0.7, 0.85, 1.15, 1.3), *turns(-30, -15, 15, 30, 90, 180, 270), *FLIPS)  # fmt: skip


def stay(transform: TransformRecord) -> float:
    """How probably the prediction stays what it was, in these synthetic networks."""
    away = {
        "translation": lambda m: m / 6, "scale": lambda m: 4 * abs(np.log(m)),
        "rotation": lambda m: min(abs(m), 360 - abs(m)) / 45, "flip": lambda m: 2.0,
    }  # fmt: skip
    return float(np.exp(-(away[transform.family](transform.magnitude) ** 2)))


def outcomes(images: int = 60, transforms: Any = ALL, classes: int = 10, layers: tuple[str, ...] = ("conv1", "fc"),
             seed: int = 0, labels: bool = True) -> Outcomes:  # fmt: skip
    """A network that is right for 95 % of the images and forgets under transforms as `stay` says."""
    rng = np.random.default_rng(seed)
    transforms = tuple(transforms)
    shape = (images, len(transforms))
    label = rng.integers(classes, size=images)
    clean = np.where(rng.random(images) < 0.95, label, rng.integers(classes, size=images))
    kept = rng.random(shape) < np.array([stay(t) for t in transforms]).reshape(1, -1)
    top1 = np.where(kept, clean[:, None], rng.integers(classes, size=shape))
    same = top1 == clean[:, None]
    confidence = rng.uniform(0.4, 1.0, shape)
    probability = np.where(same, confidence, rng.uniform(0, 0.4, shape) * (1 - confidence))
    away = np.array([1 - stay(t) for t in transforms])
    distance = rng.uniform(0.8, 1.2, (images, len(layers), len(transforms))) * away
    names = tuple(f"digit-{i:03}.png" for i in range(images))
    return Outcomes(
        transforms=transforms, name=names, key=tuple(hashlib.sha256(name.encode()).hexdigest() for name in names),
        label=label.astype(np.int32) if labels else np.full(images, -1, np.int32),
        shard=(np.arange(images) // 16).astype(np.int32), top1_clean=clean.astype(np.int32),
        confidence_clean=rng.uniform(0.6, 1, images).astype(np.float16), top1=top1.astype(np.int32),
        confidence=confidence.astype(np.float16), clean_class_probability=probability.astype(np.float16),
        js=np.where(same, 0.02, 0.7).astype(np.float32), layers=layers, distance=distance.astype(np.float32),
        spread=rng.uniform(0.9, 1.1, (images, len(layers))).astype(np.float32),
    )  # fmt: skip


def result(images: int = 60, seed: int = 0, **changes: Any) -> AuditResult:
    """A finished audit of these outcomes, with pictures of stripes."""
    made = outcomes(images, seed=seed, **changes)
    facts = AuditFacts(
        model=ModelFacts(
            name="LeNet-5", source="lenet5-digits", weights="digits/lenet5.safetensors", weights_sha256="ab" * 32,
            trained=True, input_shape=(1, 32, 32), stride=(4, 4),
        ),
        data=DataFacts(
            path="digits.npz", images=images + 1, used=images, skipped=(Skipped("cut.png", "it ends too soon"),),
            sha256="cd" * 32,
        ),
        labels=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        seed=seed, device="cpu", dtype="float32", batch_size=256, preset="quick",
        protocol={"name": "quick", "border": "crop", "margin": 8, "source": "of cnnscope", "resize": None, "slots": [],
         "chains": [], "pairs": []},
        protocol_hash="ef" * 32, versions={"cnnscope": "0.1.0", "torch": "2.13.0"},
        controls=(Control("slicing is exact", True, 0.0, 0.0), Control("sampler equals rot90", True, 2.8e-5, 1e-4,
                  "fp32, 32 px")),
        predictions=(Prediction("shift by 4 px", "not_guaranteed", 0.27, None, "flatten reads positions"),
                     Prediction("flip horizontal", "geometry_only", 0.4, True)),
        local_equivariance=(LocalError("conv1", "down", "px", 0.02), LocalError("conv1", "turn", "deg", 0.003),
                            LocalError("fc", "turn", "deg", 0.0125)),
        equivariance=(EquivarianceError("conv1", "shift +4,+0", 0.0, 0.31, 0.7),
                      EquivarianceError("fc", "shift +4,+0", None, 0.9, 0.0)),
        baseline=tuple(
            BaselinePoint(g.family, g.magnitude, g.on_grid, g.label, 0.93, 0.4) for g in group(made.transforms)
        ),
        rates=Rates(12.5, 1440.0), retries=("shard 3: out of memory at 256, went on with 128",),
    )  # fmt: skip
    cases = worst_cases(made, 6)
    stripes = np.tile((np.arange(32) * 8).astype(np.uint8)[:, None, None], (len(cases), 1, 32, 1))
    return AuditResult(facts, made, Gallery(cases, stripes, stripes[:, ::-1].copy()))
