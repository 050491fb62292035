"""Which function lowers which Keras class. Teaching cnnscope a layer is one function under ``@layer("ItsClass")``.

    @layer("ELU")
    def _elu(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
        return row.add(act.ELU(s.number("alpha", 1.0)), x)

Each topic is a file of this folder; a plugin adds functions with the same decorators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Shape
from cnnscope.ops.arguments import Argument, ArgumentError, Flag, Integer, Number
from cnnscope.registry import Registry, load_files
from cnnscope.sources.keras.config import Layer, home_of, malformed
from cnnscope.sources.keras.row import LayerRow, Tensor


@dataclass(frozen=True, slots=True)
class Settings:
    """The config of a layer, read with the kinds of argument that ops have."""

    layer: Layer

    @property
    def ndim(self) -> int:
        """The number of spatial axes in the name of the class: 2 for ``Conv2D``."""
        found = re.search("([123])D", self.layer.kind)
        assert found, self.layer.kind
        return int(found[1])

    def get(self, key: str, default: Any = None) -> Any:
        """Returns the value as it is in JSON; ``default`` if it is missing or null."""
        value = self.layer.config.get(key)
        return default if value is None else value

    def read(self, key: str, kind: Argument, default: Any = None, ndim: int | None = None) -> Any:
        """Returns the value as ``kind`` reads it; raises `ArgumentError` otherwise."""
        return argument(key, self.get(key, default), kind, ndim)

    def integer(self, key: str, default: int | None = None, minimum: int | None = None) -> int:
        return int(self.read(key, Integer(minimum), default))

    def number(self, key: str, default: float) -> float:
        return float(self.read(key, Number(), default))

    def flag(self, key: str, default: bool) -> bool:
        return bool(self.read(key, Flag(), default))

    def integers(self, key: str, default: Any = None) -> list[int]:
        """Returns one whole number, or a list of them, as a list."""
        value = self.get(key, default)
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        return [argument(key, item, Integer()) for item in items]


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a call: a `Tensor` for each tensor, plain values elsewhere.

    ``stated`` is the shape of the (first) result if the file states it.
    """

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    stated: Shape | None = None

    def tensors(self) -> list[Tensor]:
        """Returns all tensors in order."""
        return list(_tensors([*self.args, *self.kwargs.values()]))

    def tensor(self) -> Tensor:
        """Returns the only tensor, or the first of several."""
        found = self.tensors()
        if not found:
            raise CnnscopeError.of("E443", "it is called without a tensor")
        return found[0]

    def get(self, position: int, key: str, default: Any = None) -> Any:
        """Returns an argument given by position or by name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(key, default)


Translator = Callable[[LayerRow, Settings, Arguments], Sequence[Tensor]]
LAYERS: Registry[Translator] = Registry("cnnscope.keras_rules", "rule for the Keras layer")
CODE = frozenset({"Lambda"})
"""Classes whose behaviour is Python code in the file. It is never run."""


def layer(*kinds: str) -> Callable[[Callable[[LayerRow, Settings, Tensor], Tensor]], None]:
    """Adds a rule for layer classes with one input and one output."""

    def add(function: Callable[[LayerRow, Settings, Tensor], Tensor]) -> None:
        @wraps(function)
        def lowered(row: LayerRow, settings: Settings, call: Arguments) -> list[Tensor]:
            return [function(row, settings, call.tensor())]

        calls(*kinds)(lowered)

    return add


def calls(*kinds: str) -> Callable[[Translator], None]:
    """Adds a rule for layer classes that need all arguments of a call."""

    def add(function: Translator) -> None:
        for kind in kinds:
            LAYERS.add(kind, function)

    return add


def refusal(layer: Layer) -> CnnscopeError:
    """Returns the error for a class without a rule: E444 if its behaviour is code, E445 if it is unknown."""
    if layer.kind in CODE:
        return CnnscopeError.of(
            "E444", f"a `{layer.kind}` holds Python code, which is not run",
            hint="replace it by layers of Keras, or export the model to ONNX",
        )  # fmt: skip
    near = did_you_mean(layer.kind, LAYERS)
    if layer.module.split(".")[0] == "keras":
        return CnnscopeError.of(
            "E445", f"cnnscope does not read `{layer.kind}` yet",
            hint="export the model to ONNX and name that file",
        )  # fmt: skip
    return CnnscopeError.of(
        "E445", f"the class `{layer.kind}` is unknown",
        hint=near or "a class of your own: build it of Keras' layers, or export the model to ONNX",
    )  # fmt: skip


def wrapped(s: Settings, key: str = "layer") -> Settings:
    """Returns the settings of the layer that a wrapper holds under ``key``."""
    inner = s.layer.config.get(key)
    if not isinstance(inner, dict) or not isinstance(inner.get("config"), dict):
        raise malformed(f"a wrapper has no `{key}` with a config")
    return Settings(Layer(s.layer.name, str(inner.get("class_name")), inner["config"], (), home_of(inner)))


def innermost(layer: Layer) -> Layer:
    """Returns the layer inside of all wrappers around it, or the layer itself."""
    if layer.kind not in WRAPPERS or layer.network is not None:
        return layer
    return innermost(wrapped(Settings(layer)).layer)


WRAPPERS = frozenset({"Bidirectional", "TimeDistributed", "SpectralNormalization"})


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for item in items for tensor in _tensors(item)]


def argument(key: str, value: object, kind: Argument, ndim: int | None = None) -> Any:
    """Returns ``value`` as ``kind`` reads it; raises `ArgumentError` with ``key`` in its message."""
    try:
        return kind.read(value, ndim)
    except ArgumentError as error:
        raise ArgumentError(f"`{key}`: {error.message}", hint=error.hint) from None


load_files(__name__)
