"""Every kind of small module in every situation: read as torch runs it, and left exactly as it was.

By default each situation meets two kinds, drawn once for all. In the slow tests it meets every third kind, beginning at
another one than the situation before, so that every kind meets a third of the situations.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
import torch
from kinds import KINDS, UNKNOWN
from oracles import batch_axes, expected, fingerprint, found, images, read
from situations import SITUATIONS

from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError

EVERY = 3
DRAWN = {name: random.Random(name).sample(sorted(KINDS), 2) for name in SITUATIONS}

WITHOUT = {
    # weights that torch does not know are constants, and what is computed from constants alone is not counted
    # and lazy ones stay without a shape
    "weightless": {"lstm", "gru", "cell", "spectral_norm", "orthogonal", "lazy", "lazy_norm"},
    # weights that do not exist yet can be neither trained nor frozen, and take a run of their own
    "training": {"lazy", "lazy_norm"},
    "frozen": {"lazy", "lazy_norm"},
    "once": {"lazy", "lazy_norm"},
    # a parameter that the forward pass adds is there only after it, and a model with lazy layers is read before
    "grown": {"lazy", "lazy_norm"},
    "double": {"coordinates"},  # makes numbers of the default type, which torch refuses beside others
}
"""Kinds that a situation changes."""


def fault(situation: str, kind: str) -> str | None:
    """What is wrong with this pair; None if nothing is."""
    around = SITUATIONS[situation]
    try:
        right = expected(lambda: around.make(KINDS[kind]), around.arguments, around.unpack)
    except Exception as error:  # noqa: BLE001  # torch refuses the pair itself: then so may cnnscope, in its own way
        right = None
        reason = f"{type(error).__name__}: {error}"
    module = around.make(KINDS[kind])
    before, dice = fingerprint(module), torch.random.get_rng_state()
    try:
        with around.during():
            graph = read(module, *around.inputs)
        said = None if right is None else found(graph)
    except CnnscopeError as error:
        said = None
        if right is not None or not error.diagnostics[0].code.startswith("E43"):
            return f"refused: {error}"
    if fingerprint(module) != before:
        return "the module is not what it was"
    if not torch.equal(torch.random.get_rng_state(), dice):
        return "random numbers were drawn"
    if said != right:
        return f"{said} where torch says {right or reason}"
    if right is not None and bool(summarize(graph).unsupported) != (kind in UNKNOWN or situation == "beside_fft"):
        return f"marked as a lower bound for {summarize(graph).unsupported}"
    return None


def faults(situation: str, kinds: Iterable[str]) -> dict[str, str]:
    kinds = set(kinds) - WITHOUT.get(situation, set())
    return {kind: found for kind in kinds if (found := fault(situation, kind))}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_some_kinds(situation: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(situation, DRAWN[situation]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_third_kind(situation: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(situation, sorted(KINDS)[list(SITUATIONS).index(situation) % EVERY :: EVERY]) == {}


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"addbmm", "losses"}))  # those two have no batch axis
def test_the_axis_of_the_batch_is_the_one_that_more_images_make_longer(kind: str) -> None:
    graph = read(KINDS[kind]())
    assert [graph.value(name).batch_axis for name in graph.outputs] == batch_axes(KINDS[kind], images, lambda out: out)


def test_there_are_enough_of_them() -> None:
    assert len(SITUATIONS) * len(KINDS) >= 500
