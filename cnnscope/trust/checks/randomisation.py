"""Model randomisation (Adebayo et al. 2018, section 3): does the map change where the weights are random?

A map that hardly changes shows the image or the architecture, not what was learned. All weights are drawn anew, several
times, and the maps are compared by Spearman's correlation, signed and by magnitude. The value is the magnitude of the
mean over the draws: a map that is always reversed does not depend on the weights either.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from cnnscope.attribution.finding import Finding
from cnnscope.errors import CnnscopeError
from cnnscope.trust.ranks import chance, mean, spearman
from cnnscope.trust.scene import Check, Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 5
SHARE = 0.2
"""Share of the way from chance to a map that ignores the weights, up to which a map counts as independent of them.

This is a convention. On networks of 2 to 6 convolutions with ReLU, trained on digits, signed guided backpropagation
reaches 0.17 to 0.42 of the way, gradients and integrated gradients at most 0.17.
"""
FIRST_SEED = 1000
"""Seeds of the draws start here, far from the seeds of networks without trained weights."""


def run(subject: Subject) -> tuple[Finding, ...]:
    maps, why = [], ""
    for i in range(DRAWS):
        try:
            network = subject.scene.redraw(subject.scene.seed + FIRST_SEED + i)
            maps.append(subject.explain(network, subject.scene.x))
        except CnnscopeError as error:
            why = f"with random weights: {error.diagnostics[0].message}"
        subject.tick((i + 1) / DRAWS)
    values = subject.attribution.values
    signed = _finding("signed", "random, signed", values, maps, why)
    return signed, _finding("absolute", "random, |value|", np.abs(values), [np.abs(one) for one in maps], why)


def _finding(
    kind: str, title: str, values: NDArray[np.float64], maps: Sequence[NDArray[np.float64]], why: str
) -> Finding:
    each = [spearman(values, one) for one in maps]
    found = mean(each)
    by_chance = mean([chance(values, one) for one in maps])
    among = mean([spearman(a, b) for a, b in combinations(maps, 2)])
    controls = {"blind map": 1.0}
    if by_chance is not None:
        controls["chance"] = by_chance
    if among is not None:
        controls["between random networks"] = among
    limit = None if by_chance is None else by_chance + SHARE * (1 - by_chance)
    if found is None:
        why = why or "the map, or each with random weights, is the same everywhere"
    rule = f"less than {SHARE:g} of the way from chance (95 % of shifted maps are below) to a map blind to weights (1)"
    value = None if found is None else abs(found)
    return Finding(f"randomisation_{kind}", title, value, limit, "low", rule=rule, controls=controls,
                   settings={"draws": len(maps), "each": each}, why="" if value is not None else why)  # fmt: skip


CHECK = Check(1, run)
