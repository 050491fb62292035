"""Which kind of source a SOURCE string is, and loading it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph
from cnnscope.ops.arguments import shown
from cnnscope.sources import zoo
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.kinds import ZOO, Kind, examples, in_order

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Extras:
    """What it takes to run a network on images, as far as its source knows.

    ``make`` gives the torch module with values, ``own_weights`` says what those are where they may be trained; ``own``
    gives those that a file of another framework has, by the graph's keys; ``pretrained`` downloads what its library
    publishes. ``weights`` and ``data`` are files, ``labels`` a file or the names of the classes. ``preprocess`` has
    ``resize``, ``crop`` (pixels), ``mean``, ``std`` (of pixels from 0 to 1), ``interpolation`` and ``border``.
    """

    make: Callable[[], nn.Module] | None = None
    own_weights: str | None = None
    own: Callable[[], Mapping[str, Tensor]] | None = None
    pretrained: Callable[[], Mapping[str, Tensor]] | None = None
    weights: Path | None = None
    data: Path | None = None
    labels: Path | tuple[str, ...] | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network from any source: its graph, the SOURCE it came from, and what its author says about it.

    ``reference`` has known totals (``params``, ``macs``, ``source``), ``about`` the ``year`` and the ``source``,
    ``notes`` what a reader should know of how it was loaded, ``extras`` what running it takes.
    """

    graph: Graph
    source: str
    reference: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    extras: Extras = field(default_factory=Extras)


def resolve(source: str) -> Kind:
    """The kind of a SOURCE; E401 with the nearest names of the zoo if it is none."""
    if source in zoo.names():
        return ZOO
    for kind in in_order():
        if re.fullmatch(kind.pattern, source, re.DOTALL):
            return kind
    raise _unknown(source)


def load(source: str, *, inputs: tuple[InputSize, ...] = (), settings: Mapping[str, Any] | None = None) -> Loaded:
    """The network a SOURCE names.

    ``inputs`` replaces the sizes of its inputs, ``settings`` its parameters (``--set``).
    """
    return resolve(source).load(source, inputs, settings or {})


def _unknown(source: str) -> CnnscopeError:
    if os.path.isdir(source):  # unlike pathlib, it answers for what can be no path at all
        return CnnscopeError.of("E401", f"{shown(source)} is a folder", hint="name a file in it")
    if os.path.exists(source):
        hint = f"known kinds: {examples()}"
        return CnnscopeError.of("E401", f"{shown(source)} is a file of no known kind", hint=hint)
    near = did_you_mean(source.lower(), zoo.names(), most=3)
    hint = near or f"`cnnscope zoo` lists the models; other sources: {examples()}"
    return CnnscopeError.of("E401", f"no model is called {shown(source)}", hint=hint)
