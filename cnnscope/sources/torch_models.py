"""SOURCE strings that name torch models, each with keyword arguments if needed.

``torchvision:resnet50``, ``timm:vit_base_patch16_224?img_size=384``, ``pkg.mod:factory``, ``file.py:factory?width=2``.
The last two run the user's code, and say so. Nothing is ever downloaded.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

from torch import nn

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.sources import torch_user_code as user_code
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.resolve import Loaded
from cnnscope.sources.torch_build import build
from cnnscope.sources.torch_module import trace

Settings = Mapping[str, Any]


def load(source: str, inputs: tuple[InputSize, ...], settings: Settings) -> Loaded:
    """The model a SOURCE of one of the four kinds names; `settings` are further keyword arguments."""
    kind, _, rest = source.partition(":")
    library = {"torchvision": build_torchvision, "timm": build_timm}.get(kind)
    if library is None:
        return _users(source, inputs, settings)
    name, arguments = _split(rest, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, size = library(name, arguments)
    return _loaded(source, module, inputs or size, name, ())


def load_live(source: object, inputs: tuple[InputSize, ...], settings: Settings) -> Loaded:
    """A module that exists already, or a function that makes one."""
    name = type(source).__name__ if isinstance(source, nn.Module) else getattr(source, "__name__", str(source))
    module = user_code.call(source, name, settings, build)
    return _loaded(
        name, module, inputs or _guessed(module), name, (), lambda: user_code.call(source, name, settings, _plainly)
    )


def _loaded(
    source: str, module: nn.Module, inputs: tuple[InputSize, ...], name: str, notes: tuple[str, ...],
    rebuild: Any = None,
) -> Loaded:  # fmt: skip
    graph, more = trace(module, inputs, name=name, rebuild=rebuild)
    return Loaded(graph, source, notes=notes + more)


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


def _refuse_downloads(arguments: Settings, *names: str) -> None:
    for name in names:
        if arguments.get(name):
            raise CnnscopeError.of(
                "E432", f"`{name}` would download weights, which an architecture does not need",
                hint=f"leave `{name}` out",
            )  # fmt: skip


def _pick(name: str, names: Iterable[str], library: str) -> None:
    known = list(names)
    if name not in known:
        lister = {"torchvision": "torchvision.models.list_models()", "timm": "timm.list_models()"}[library]
        hint = did_you_mean(name, known, most=3) or f"`{lister}` lists them"
        raise CnnscopeError.of("E431", f"{library} has no model `{name}`", hint=hint)


# -- torchvision -------------------------------------------------------------------------------------------------------


def build_torchvision(name: str, arguments: dict[str, Any]) -> tuple[nn.Module, tuple[InputSize, ...]]:
    """A model as its default weights want it, and the size they were trained for."""
    import inspect

    models = _library("torchvision").models
    _pick(name, models.list_models(), "torchvision")
    _refuse_downloads(arguments, "weights", "weights_backbone", "pretrained", "pretrained_backbone")
    builder = models.get_model_builder(name)
    weights = models.get_model_weights(name).DEFAULT
    made = inspect.signature(builder, eval_str=True).return_annotation
    if "image_size" in inspect.signature(made).parameters:  # vision transformers are made for one size
        arguments = {"image_size": weights.meta["min_size"][0], **arguments}
    if "weights_backbone" in inspect.signature(builder).parameters:
        arguments = {**arguments, "weights_backbone": None}
    module = _called(name, lambda: builder(weights=None, **arguments))
    return module, _torchvision_size(module, weights)


def _torchvision_size(module: Any, weights: Any) -> tuple[InputSize, ...]:
    transforms = weights.transforms()
    if isinstance(fixed := getattr(module, "image_size", None), int):
        return (InputSize((3, fixed, fixed)),)
    for field in ("crop_size", "resize_size"):
        size = getattr(transforms, field, None)
        if size and "min_temporal_size" not in weights.meta:
            return (InputSize((3, size[0], size[-1])),)
    if shortest := getattr(getattr(module, "transform", None), "min_size", None):  # detection
        return (InputSize((3, shortest[-1], shortest[-1])),)
    return ()


# -- timm --------------------------------------------------------------------------------------------------------------


def build_timm(name: str, arguments: dict[str, Any]) -> tuple[nn.Module, tuple[InputSize, ...]]:
    """A model, and the size in its configuration."""
    timm = _library("timm")
    if not timm.is_model(name):
        _pick(name, timm.list_models(), "timm")
    _refuse_downloads(arguments, "pretrained", "checkpoint_path")
    module = _called(name, lambda: timm.create_model(name, pretrained=False, **arguments))
    configuration: Any = getattr(module, "pretrained_cfg", None)  # wrappers for features have none of their own
    if configuration is None:
        registered = timm.get_pretrained_cfg(name)
        configuration = registered.to_dict() if registered else {}
    channels, height, width = configuration.get("input_size", (3, 224, 224))
    size = arguments.get("img_size", (height, width))
    height, width = (size, size) if isinstance(size, int) else size
    return module, (InputSize((arguments.get("in_chans", channels), height, width)),)


def _library(name: str) -> Any:
    try:
        return user_code.import_with_operators(lambda: import_module(name))
    except ImportError as error:
        if error.name != name:
            raise CnnscopeError.of("E430", f"{name} does not import: {error}") from error
        raise CnnscopeError.of("E430", f"{name} is not installed", hint=f"pip install 'cnnscope[{name}]'") from None


def _called(name: str, make: Any) -> nn.Module:
    try:
        module = build(make)
    except Exception as error:
        raise CnnscopeError.of("E432", f"`{name}` cannot be made so: {error}") from error
    assert isinstance(module, nn.Module)
    return module


# -- the user's own ----------------------------------------------------------------------------------------------------


def _users(source: str, inputs: tuple[InputSize, ...], settings: Settings) -> Loaded:
    place, name, query = user_code.parse(source)
    _, arguments = _split(f"{name}?{query}", settings)
    note = f"runs the code of `{place}`"
    with user_code.importable(place), redirect_stdout(sys.stderr):
        factory = user_code.find(place, name)
        made = user_code.call(factory, name, arguments, build)
        if not inputs:
            inputs = _guessed(made)
        return _loaded(source, made, inputs, name, (note,), lambda: user_code.call(factory, name, arguments, _plainly))


def _plainly(make: Any) -> object:
    return make()


def _guessed(module: nn.Module) -> tuple[InputSize, ...]:
    """The size a timm-like model carries; E439 if it does not."""
    configuration = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    size = configuration.get("input_size") if isinstance(configuration, dict) else None
    if size:
        return (InputSize(tuple(size)),)
    raise CnnscopeError.of(
        "E439", f"the input size of `{type(module).__name__}` is not known", hint="--input 3x224x224"
    )
