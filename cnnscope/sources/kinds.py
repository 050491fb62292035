"""The kinds of source: what a SOURCE of each kind looks like, and what loads it.

This file imports nothing that takes long, for the help of every command lists the kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from cnnscope.registry import Registry

if TYPE_CHECKING:
    from cnnscope.sources.inputs import InputSize
    from cnnscope.sources.resolve import Loaded


class Loader(Protocol):
    """Turns a SOURCE of one kind into a graph, or raises `CnnscopeError`.

    ``inputs`` replaces the sizes of the network's inputs (``--input``), ``settings`` its parameters (``--set``).
    """

    def __call__(self, source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of source.

    A SOURCE is of this kind if it matches ``pattern`` as a whole. ``example`` is for help texts. ``loader`` is a
    function, or ``module:function``. ``general`` patterns fit almost anything, so they are tried after all others.
    """

    name: str
    example: str
    pattern: str
    loader: Loader | str
    general: bool = False

    def load(self, source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
        """The network; `CnnscopeError` if it cannot be had."""
        if not isinstance(self.loader, str):
            return self.loader(source, inputs, settings)
        module, _, function = self.loader.partition(":")
        loader: Loader = getattr(import_module(module), function)
        return loader(source, inputs, settings)


_SOURCES = "cnnscope.sources"
_TORCH = f"{_SOURCES}.torch.models:load"
_BUILT_IN = (
    Kind("spec", "path/to/spec.yaml, or - for standard input", r"-|.*\.ya?ml", f"{_SOURCES}.spec_file:load"),
    Kind("torchvision", "torchvision:resnet50", r"torchvision:.*", _TORCH),
    Kind("timm", "timm:convnext_tiny", r"timm:.*", _TORCH),
    Kind("keras", "model.keras, model.json or model.h5", r".*\.(keras|json|h5|hdf5)", f"{_SOURCES}.keras.source:load"),
    Kind("onnx", "model.onnx", r".*\.onnx", f"{_SOURCES}.onnx:load"),
    Kind("file", "file.py:factory (runs it)", r".*\.py(:[^?]*)?(\?.*)?", _TORCH, general=True),
    Kind("module", "pkg.mod:factory (runs it)", r"[^\W\d][\w.]*:[\w.]+(\?.*)?", _TORCH, general=True),
)

KINDS: Registry[Kind] = Registry(
    "cnnscope.sources", "kind of source", {kind.name: kind for kind in _BUILT_IN}, form="cnnscope.sources.kinds:Kind"
)

ZOO = Kind("zoo", "lenet5", r"[\w.-]+", "cnnscope.sources.spec_file:load")
"""A bare name, which is looked up before the kinds are tried."""


def in_order() -> Iterator[Kind]:
    """All kinds in the order in which they are tried: built-in ones first, general ones last."""
    general = []
    for kind in KINDS.values():
        if kind.general:
            general.append(kind)
        else:
            yield kind
    yield from general


def examples() -> str:
    """What a SOURCE may look like, for help."""
    return "; ".join(kind.example for kind in in_order())
