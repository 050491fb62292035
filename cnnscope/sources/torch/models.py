"""SOURCE strings that name torch models, each with keyword arguments if needed.

``torchvision:resnet50``, ``timm:vit_base_patch16_224?img_size=384``, ``pkg.mod:factory``, ``file.py:factory?width=2``.
The last two run the user's code, and say so. Nothing is ever downloaded.
"""

from __future__ import annotations

import ast
import copy
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

from torch import nn

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.resolve import Extras, Loaded
from cnnscope.sources.torch import libraries
from cnnscope.sources.torch import user_code as user_code
from cnnscope.sources.torch.build import build
from cnnscope.sources.torch.module import trace
from cnnscope.user_code import importable

Settings = Mapping[str, Any]


def load(source: str, inputs: tuple[InputSize, ...], settings: Settings) -> Loaded:
    """The model a SOURCE of one of the four kinds names; `settings` are further keyword arguments."""
    kind, _, rest = source.partition(":")
    library = {"torchvision": libraries.torchvision, "timm": libraries.timm}.get(kind)
    if library is None:
        return _users(source, inputs, settings)
    name, arguments = _split(rest, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recipe = library(name, arguments)
        try:
            module = build(recipe.make)
        except Exception as error:
            raise CnnscopeError.of("E432", f"`{name}` cannot be made so: {error}") from error
        graph, notes = trace(module, inputs or recipe.sizes(module), name=name, rebuild=recipe.make)
        extras = recipe.extras(module)
    return Loaded(graph, source, notes=notes, extras=extras)


def load_live(source: object, inputs: tuple[InputSize, ...], settings: Settings) -> Loaded:
    """A module that exists already, or a function that makes one."""
    name = type(source).__name__ if isinstance(source, nn.Module) else getattr(source, "__name__", str(source))
    graph, notes, extras = _made(source, name, inputs, settings)
    return Loaded(graph, name, notes=notes, extras=extras)


def _made(
    factory: object, name: str, inputs: tuple[InputSize, ...], arguments: Settings
) -> tuple[Graph, tuple[str, ...], Extras]:
    def make() -> nn.Module:
        made = user_code.call(factory, name, arguments, _plainly)
        return copy.deepcopy(made) if made is factory else made  # the user's own stays as it is

    module = user_code.call(factory, name, arguments, build)
    graph, notes = trace(module, inputs or _own_size(module), name=name, rebuild=make)
    return graph, notes, Extras(make, own_weights=f"as `{name}` has them")


def _split(text: str, settings: Settings) -> tuple[str, dict[str, Any]]:
    """``name?width=2&act=relu`` as the name and its keyword arguments, values in Python's notation or else text."""
    name, _, query = text.partition("?")
    arguments: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            hint = f"write {name}?width=2&depth=3"
            raise CnnscopeError.of("E432", f"`{part}` is no keyword argument", hint=hint)
        arguments[key] = _value(value)
    return name, arguments | {key: _value(v) if isinstance(v, str) else v for key, v in settings.items()}


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    try:
        return words[text.lower()] if text.lower() in words else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _users(source: str, inputs: tuple[InputSize, ...], settings: Settings) -> Loaded:
    place, name, query = user_code.parse(source)
    _, arguments = _split(f"{name}?{query}", settings)
    with importable(place), redirect_stdout(sys.stderr):  # what it prints is not our result
        graph, notes, extras = _made(user_code.find(place, name), name, inputs, arguments)

    def make() -> nn.Module:
        assert extras.make is not None
        with importable(place), redirect_stdout(sys.stderr):
            return extras.make()

    notes = (f"ran the code of `{place}`", *notes)
    return Loaded(graph, source, notes=notes, extras=replace(extras, make=make))


def _plainly(make: Callable[[], object]) -> object:
    return make()


def _own_size(module: nn.Module) -> tuple[InputSize, ...]:
    """The size in a configuration as timm's models have it, if the module has one."""
    configuration = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    size = configuration.get("input_size") if isinstance(configuration, dict) else None
    return (InputSize(tuple(size)),) if size else ()
