"""Finds the kind of a SOURCE and loads it.

This file imports nothing that takes long, because the help of every command lists the kinds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cnnscope.entries import resolved
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.registry import Registry, checked_result
from cnnscope.sources import zoo

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cnnscope.ir import Graph
    from cnnscope.sources.inputs import InputSize


class Loader(Protocol):
    """Turns a SOURCE of one kind into a graph, or raises `CnnscopeError`.

    ``inputs`` replaces the sizes of the network's inputs (``--input``), ``settings`` its parameters (``--set``).
    """

    def __call__(self, source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded: ...


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One kind of source.

    A SOURCE is of this kind if the whole of it matches ``pattern``. ``example`` is for help texts. ``loader`` is a
    function, or ``module:function``. ``general`` patterns match almost anything, so they are tried after all others.
    A network that ``runs`` to be read may do so with several images: its loader takes their number as ``batch``.
    """

    name: str
    example: str
    pattern: str
    loader: Loader | str
    general: bool = False
    runs: bool = False

    def load(
        self, source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any], trace_batch: int = 1
    ) -> Loaded:
        """Returns the network; raises `CnnscopeError` if it cannot be loaded."""
        if trace_batch > 1 and not self.runs:
            raise no_trace(source)
        more = {"batch": trace_batch} if trace_batch > 1 else {}
        loader = resolved(self.loader)
        try:
            found: object = loader(source, inputs, settings, **more)
        except CnnscopeError as error:
            if self.runs or len(inputs) != 1:
                raise
            from cnnscope.sources.static import with_sizes

            raise with_sizes(error, inputs[0], lambda sizes: loader(source, sizes, settings)) from None
        hint = "its loader returns a `cnnscope.sources.resolve.Loaded`"
        network: Loaded = checked_result(found, Loaded, f"the kind of source `{self.name}`", hint)
        return network


_SOURCES = "cnnscope.sources"
_TORCH = f"{_SOURCES}.torch.models:load"
_BUILT_IN = (
    SourceKind("spec", "path/to/spec.yaml, or - for standard input", r"-|.*\.ya?ml", f"{_SOURCES}.spec_file:load"),
    SourceKind("torchvision", "torchvision:resnet50", r"torchvision:.*", _TORCH, runs=True),
    SourceKind("timm", "timm:convnext_tiny", r"timm:.*", _TORCH, runs=True),
    SourceKind("keras", "model.keras, model.json or model.h5", r".*\.(keras|json|h5|hdf5)", f"{_SOURCES}.keras:load"),
    SourceKind("onnx", "model.onnx", r".*\.onnx", f"{_SOURCES}.onnx:load"),
    SourceKind("exported", "model.pt2", r".*\.pt2", f"{_SOURCES}.exported:load", runs=True),
    SourceKind("darknet", "yolov3.cfg", r".*\.cfg", f"{_SOURCES}.darknet:load"),
    SourceKind("file", "file.py:factory (runs it)", r".*\.py(:[^?]*)?(\?.*)?", _TORCH, general=True, runs=True),
    SourceKind("module", "pkg.mod:factory (runs it)", r"[^\W\d][\w.]*:[\w.]+(\?.*)?", _TORCH, general=True, runs=True),
)

KINDS: Registry[SourceKind] = Registry(
    "cnnscope.sources",
    "kind of source",
    {kind.name: kind for kind in _BUILT_IN},
    form="cnnscope.sources.resolve:SourceKind",
)

ZOO = SourceKind("zoo", "lenet5", r"[\w.-]+", "cnnscope.sources.spec_file:load")
"""A bare name of a model. It is looked up before the kinds are tried."""


def in_order() -> Iterator[SourceKind]:
    """Yields all kinds in the order in which they are tried: built-in ones first, general ones last."""
    general = []
    for kind in KINDS.values():
        if kind.general:
            general.append(kind)
        else:
            yield kind
    yield from general


def examples() -> str:
    """What a SOURCE may look like, for help texts. Kinds of other packages are only named."""
    names = KINDS.names()
    known = [kind for name in names if (kind := KINDS.ready(name)) is not None]
    others = [f"{name} (of another package)" for name in names if KINDS.ready(name) is None]
    return "; ".join([*(kind.example for kind in sorted(known, key=lambda kind: kind.general)), *others])


@dataclass(frozen=True, slots=True)
class Extras:
    """What is needed to run a network on images, as far as its source knows.

    ``make`` builds the torch module with values; ``own_weights`` describes these values if they may be trained. ``own``
    reads the weights that a file of another framework contains, by the graph's keys, ``own_format`` those in another
    file of that framework (None if the file is not of its format). ``pretrained`` downloads what the library
    publishes. ``weights`` and ``data`` are files, ``labels`` a file or the names of the classes. ``preprocess``
    has ``resize``, ``crop`` (pixels), ``mean``, ``std`` (of pixels from 0 to 1), ``interpolation`` and ``border``.
    """

    make: Callable[[], nn.Module] | None = None
    own_weights: str | None = None
    own: Callable[[], Mapping[str, Tensor]] | None = None
    own_format: Callable[[Path], Mapping[str, Tensor] | None] | None = None
    pretrained: Callable[[], Mapping[str, Tensor]] | None = None
    weights: Path | None = None
    data: Path | None = None
    labels: Path | tuple[str, ...] | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_weights(self) -> bool:
        """Whether the source has values that may be trained, or names a file of them that is there."""
        named = self.weights is not None and self.weights.exists()
        return named or self.own is not None or self.own_weights is not None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network from any source: its graph, the SOURCE it came from, and what its author says about it.

    ``reference`` has known totals (``params``, ``macs``, ``source``), ``about`` the ``year`` and the ``source``.
    ``notes`` say what a reader should know about how it was loaded, ``remarks`` what qualifies its figures: they are
    below every table of layers. ``extras`` is what is needed to run it.
    """

    graph: Graph
    source: str
    reference: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    extras: Extras = field(default_factory=Extras)
    remarks: tuple[str, ...] = ()


def resolve(source: str) -> SourceKind:
    """Returns the kind of a SOURCE; raises E401 with the nearest names of the zoo if it is of none."""
    if source in zoo.names():
        return ZOO
    address = re.match(r"[a-z][a-z0-9+.-]*://", source) is not None  # only kinds of other packages may read one
    for kind in in_order():
        if not (address and kind in _BUILT_IN) and re.fullmatch(kind.pattern, source, re.DOTALL):
            return kind
    raise _unknown(source)


def load(
    source: str, *, inputs: tuple[InputSize, ...] = (), settings: Mapping[str, Any] | None = None, trace_batch: int = 1
) -> Loaded:
    """Returns the network a SOURCE names.

    ``inputs`` replaces the sizes of its inputs, ``settings`` its parameters (``--set``). A torch module runs with
    ``trace_batch`` images; E409 for more than one where nothing runs.
    """
    return resolve(source).load(source, inputs, settings or {}, trace_batch)


def no_trace(source: str) -> CnnscopeError:
    """The error for a batch in the run of a network that does not run."""
    what = f"`{source}` is read without running it, so no batch is traced"
    return CnnscopeError.of("E409", what, hint="leave `--trace-batch` out; bytes of a batch are `--batch-size`")


def _unknown(source: str) -> CnnscopeError:
    from cnnscope.ops.arguments import shown
    from cnnscope.sources.foreign import foreign

    if known := foreign(source):
        return CnnscopeError.of("E401", f"{shown(source)} is {known[0]}", hint=known[1])
    if os.path.isdir(source):  # unlike pathlib, it accepts strings that cannot be paths
        return CnnscopeError.of("E401", f"{shown(source)} is a folder", hint="name a file in it")
    if os.path.exists(source):
        hint = f"known kinds: {examples()}"
        return CnnscopeError.of("E401", f"{shown(source)} is a file of no known kind", hint=hint)
    near = did_you_mean(source.lower(), zoo.names(), most=3)
    hint = near or f"`cnnscope zoo` lists the models; other sources: {examples()}"
    return CnnscopeError.of("E401", f"no model is called {shown(source)}", hint=hint)
