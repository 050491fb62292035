"""Checked attribution: impossible requests are refused before, the promised sum is measured after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cnnscope.attribution.contract import Attribution, Classifier, Found, Method, Question
from cnnscope.attribution.contract import baseline as named_baseline
from cnnscope.attribution.methods import METHODS
from cnnscope.errors import CnnscopeError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray


def attribute(
    network: Classifier,
    x: Tensor,
    method: str,
    target: int,
    *,
    baseline: str | Tensor = "zero",
    steps: int | None = None,
    layer: str | None = None,
    window: int | None = None,
    seed: int = 0,
    batch: int = 16,
    tick: Callable[[float], None] = lambda done: None,
) -> Attribution:
    """The attribution of class ``target``'s score to the pixels of ``x`` (1, C, H, W), normalised for the network.

    The score is the network's output as it is, usually a logit. ``baseline`` is a name (`contract.baseline`) or a
    tensor like ``x``; ``steps`` is the number of steps or samples, ``layer`` the layer of class activation maps,
    ``window`` the side of occluded squares in pixels. A method ignores the options that it does not use.

    `CnnscopeError`: E480 the method cannot be used with the network, E481 no such method, baseline or count, E482 no
    such class, E483 nothing to attribute, E484 values that are not finite, E205 no such layer.
    """
    found = METHODS.find(method)
    _check_counts(steps=steps, window=window, batch=batch)
    if window is not None and "window" in found.takes and window > min(x.shape[2:]):
        raise CnnscopeError.of("E481", f"`window` is {window}, more than the image's {min(x.shape[2:])} pixels",
                               hint="with a window that covers the image all pixels have one value")  # fmt: skip
    x = x.detach().to(_like(network, x))
    check_image(x)
    check_target(network, x, target)
    preprocess = getattr(network, "preprocess", None)
    reference = named_baseline(baseline, x, preprocess) if isinstance(baseline, str) else baseline.to(x)
    if "baseline" in found.takes and torch.equal(reference.expand_as(x), x):
        raise CnnscopeError.of("E483", "the image is the baseline, so nothing differs from it",
                               hint="use another `--baseline`")  # fmt: skip
    question = Question(
        module=network.module, x=x, target=target, baseline=reference, steps=steps, layer=layer, window=window,
        seed=seed, batch=batch, tick=tick,
    )  # fmt: skip
    return _checked(method, found, question, found.run(question))


def _checked(name: str, method: Method, question: Question, found: Found) -> Attribution:
    raw = found.raw.detach().to("cpu", torch.float64).numpy()
    if not np.isfinite(raw).all():
        raise CnnscopeError.of("E484", f"`{name}` gives values that are not finite",
                               hint="check the weights, or use `--dtype float64`")  # fmt: skip
    notes = list(found.notes)
    if not raw.any():
        notes.append("zero everywhere: no pixel contributes")
    error = completeness(raw, found.promised)
    if found.promised is not None and error is None:
        notes.append("the promised sum is 0, so its error is not known")
    values = raw.sum(0) if method.channels == "sum" else np.abs(raw).max(0)
    return Attribution(
        method=name, target=question.target, values=values, raw=raw, signed=method.signed, completeness=error,
        notes=tuple(notes),
    )  # fmt: skip


def completeness(raw: NDArray[np.float64], promised: float | None) -> float | None:
    """|sum - promised| / |promised|; None where nothing or 0 is promised."""
    return None if not promised else float(abs(raw.sum() - promised) / abs(promised))


def check_image(x: Tensor) -> None:
    """E483 where an image (1, C, H, W) is constant or not finite."""
    if not bool(torch.isfinite(x).all()):
        raise CnnscopeError.of("E483", "the image has values that are not finite")
    if bool((x == x[:, :, :1, :1]).all()):
        raise CnnscopeError.of("E483", "the image is constant: no pixel differs from another", hint="use another image")


def check_target(network: Classifier, x: Tensor, target: int) -> None:
    """E482 where the network has no such class, E483 where its score does not depend on the image."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    probes = torch.cat([x, x.flip(-1), torch.zeros_like(x), noise * x.std() + x.mean()])
    with torch.no_grad():
        scores = network.logits(probes)
    classes = scores.shape[1]
    if not 0 <= target < classes:
        hint = f"classes count from 0 to {classes - 1}"
        raise CnnscopeError.of("E482", f"there is no class {target}: the network has {classes} classes", hint=hint)
    chosen = scores[:, target]
    if float((chosen - chosen[0]).abs().max()) <= 8 * torch.finfo(chosen.dtype).eps * float(chosen.abs().max()):
        raise CnnscopeError.of("E483", f"the score of class {target} does not depend on the image",
                               hint="check the weights: a layer of zeros cuts the network in two")  # fmt: skip


def parse_target(text: str, labels: Sequence[str], classes: int) -> int:
    """A class by number or label; E482 with the nearest labels where there is none."""
    if text in labels:
        return labels.index(text)
    if text.lstrip("-").isdecimal():
        number = int(text) if len(text) < 10 else classes
        if 0 <= number < classes:
            return number
        hint = f"classes count from 0 to {classes - 1}"
        raise CnnscopeError.of("E482", f"there is no class {text}: the network has {classes} classes", hint=hint)
    hint = did_you_mean(text, labels, most=3) or (
        f"the labels are {', '.join(labels[:10])}{', ...' if len(labels) > 10 else ''}" if labels
        else f"the network has no labels: give a number from 0 to {classes - 1}"
    )  # fmt: skip
    raise CnnscopeError.of("E482", f"no class is called `{text}`", hint=hint)


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise CnnscopeError.of("E481", f"`{name}` is {value}, not a number of at least 1")


def _like(network: Classifier, x: Tensor) -> Tensor:
    """An empty tensor with the network's precision, on its device."""
    weights: Any = next(network.module.parameters(), x)
    return torch.empty(0, dtype=weights.dtype, device=weights.device)
