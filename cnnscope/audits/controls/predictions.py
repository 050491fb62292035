"""Controls of predictions: whether it means anything that a network agrees with itself."""

from __future__ import annotations

import copy
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray

from cnnscope.audits.controls.evidence import Evidence
from cnnscope.audits.protocol.protocol import Border, Protocol, Slot, Transform
from cnnscope.audits.protocol.transforms import canvas, reach, sample
from cnnscope.audits.record import Control
from cnnscope.trained.network import TrainedNetwork

ONE_ANSWER_LIMIT = 0.95
FEWEST = 10
"""With fewer images, a share of predictions says nothing."""
ORDER_LIMIT = 0.1
FILL_LIMIT = 0.1
INVENTED = 0.1
"""At most this share of the pixels may come from beyond the border where predictions should not depend on them."""
PRECISION_LIMIT = 0.99


def answers_vary(e: Evidence) -> Control:
    """The network predicts more than one class: one that always predicts the same agrees with itself on any image.

    The value is the share of the most frequent prediction. The limit is 0.95, or the share of the most frequent label
    where that is larger.
    """
    answers, labels = e.outcomes.top1_clean, e.outcomes.label
    name = "predictions vary"
    if len(answers) < FEWEST:
        return Control(name, None, None, None, f"{_count(len(answers), 'image')}: too few to tell")
    classes, counts = np.unique(answers, return_counts=True)
    value = float(counts.max() / len(answers))
    known = labels[labels >= 0]
    common = float(np.unique(known, return_counts=True)[1].max() / len(known)) if len(known) else 0.0
    limit = max(ONE_ANSWER_LIMIT, common)
    said = e.network.label(int(classes[counts.argmax()]))
    return Control(name, value <= limit, value, limit, f"`{said}` is predicted for {value:.1%} of the images")


def class_order(e: Evidence) -> Control | None:
    """The labels number the classes as the network does.

    Predictions are assigned to labels one to one on half of the images. The control fails if this assignment gives
    clearly better accuracy on the other half than the numbers as they are.
    """
    known = e.outcomes.label >= 0
    answers, labels = e.outcomes.top1_clean[known], e.outcomes.label[known]
    if not len(labels):
        return None
    learned, tested = _halves(labels)
    if len(tested) < FEWEST:
        return Control("labels match the classes", None, None, None, f"{_count(len(tested), 'image')}: too few to tell")
    assignment = _assignment(answers[learned], labels[learned])
    renamed = np.array([assignment.get(int(answer), int(answer)) for answer in answers[tested]])
    as_is, other = (float((given == labels[tested]).mean()) for given in (answers[tested], renamed))
    detail = f"accuracy {as_is:.1%}; the best reordering of the classes gives {other:.1%}"
    return Control("labels match the classes", other - as_is <= ORDER_LIMIT, other - as_is, ORDER_LIMIT, detail)


def fills(e: Evidence) -> Control | None:
    """Agreement under transforms that bring in few pixels is the same with mirrored, black and mean borders.

    The control fails if the paired difference between two fills is above the limit with 95 % confidence, jointly for
    all comparisons.
    """
    slots = [slot for slot in e.protocol.slots if isinstance(slot, Transform) and _invented(slot, e) <= INVENTED]
    if not slots or len(e.pixels) < FEWEST:
        return None
    slots = slots[:: -(-len(slots) // 8)]
    choices: tuple[Border, ...] = ("reflect", "zero", "mean")
    kept = np.stack([_kept(e, Protocol("fills", "", tuple(slots), border)) for border in choices])
    shares, apart = kept.mean(1), np.ptp(kept.mean(1), axis=0)
    worst = int(apart.argmax())
    mirrored, black, mean = shares[:, worst]
    detail = f"largest: {slots[worst].name}; agreement mirrored {mirrored:.1%}, black {black:.1%}, mean {mean:.1%}"
    sure = max(0.0, *(float(_surely(kept[a] - kept[b]).max()) for a, b in ((0, 1), (0, 2), (1, 2))))
    return Control(
        "border fill does not matter", sure <= FILL_LIMIT, sure, FILL_LIMIT, f"difference that is sure; {detail}"
    )


def _surely(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower 95 % bounds of the absolute mean of paired differences (images, slots), jointly for three pairs of
    fills."""
    z = NormalDist().inv_cdf(1 - 0.025 / (3 * difference.shape[1]))
    bounds: NDArray[np.float64] = np.abs(difference.mean(0)) - z * difference.std(0) / np.sqrt(len(difference))
    return bounds


def repeats(e: Evidence) -> Control:
    """The same images measured twice give the same numbers: exactly on a CPU, the same predictions elsewhere."""
    protocol = e.few(8)
    first, again = e.measured(protocol), e.measured(protocol)
    value = float(np.abs(first.js - again.js).max(initial=0.0))
    limit = 0.0 if e.network.device.type == "cpu" else 1e-3
    same = np.array_equal(first.top1, again.top1)
    detail = (
        "the same predictions" if same else f"{float((first.top1 != again.top1).mean()):.1%} of the predictions differ"
    )
    return Control("repeats exactly", same and value <= limit, value, limit, detail)


def precision(e: Evidence, reference: TrainedNetwork | None = None) -> Control | None:
    """Predictions in half precision equal those in float32 with the same (rounded) weights, or those of
    ``reference``."""
    if reference is None:
        if e.network.dtype in (torch.float32, torch.float64):
            return None
        module = copy.deepcopy(e.network.module).float()
        reference = replace(e.network, module=module, dtype=torch.float32)
    protocol = e.few(8)
    half, full = e.measured(protocol), e.measured(protocol, reference)
    pairs = ((half.top1, full.top1), (half.top1_clean, full.top1_clean))
    value = float(np.mean(np.concatenate([(a == b).ravel() for a, b in pairs])))
    detail = f"predictions in {str(e.network.dtype).removeprefix('torch.')} as in float32"
    return Control("precision suffices", value >= PRECISION_LIMIT, value, PRECISION_LIMIT, detail)


def _halves(labels: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of the images in two halves: within each class, images go to one half and the other in turn."""
    seen: dict[int, int] = {}
    parity = []
    for label in labels.tolist():
        seen[label] = seen.get(label, 0) + 1
        parity.append(seen[label] % 2)
    odd = np.array(parity, dtype=bool)
    return np.flatnonzero(odd), np.flatnonzero(~odd)


def _assignment(answers: NDArray[np.int32], labels: NDArray[np.int32]) -> dict[int, int]:
    """Assigns predictions to labels one to one, the most frequent pairs first."""
    pairs, counts = np.unique(np.stack([answers, labels], 1), axis=0, return_counts=True)
    found: dict[int, int] = {}
    for i in np.argsort(-counts, kind="stable"):
        answer, label = map(int, pairs[i])
        if answer not in found and label not in found.values():
            found[answer] = label
    return found


def _invented(slot: Slot, e: Evidence) -> float:
    """The share of pixels that come from beyond the input."""
    margin = reach([slot], e.size)
    inside = torch.ones(1, 1, *e.size)
    shown = canvas(inside, e.size, margin, "mean", torch.zeros(1))
    return 1 - float(sample(shown, [slot], e.size).mean()) if isinstance(slot, Transform) else 1.0


def _kept(e: Evidence, protocol: Protocol) -> NDArray[np.float64]:
    """(images, slots): 1 where the prediction stays the same, else 0."""
    found = e.measured(protocol)
    kept: NDArray[np.float64] = (found.top1 == found.top1_clean[:, None]).astype(np.float64)
    return kept


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
