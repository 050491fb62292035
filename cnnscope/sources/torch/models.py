"""Loads the torch models that SOURCE strings name, with keyword arguments if needed.

``torchvision:resnet50``, ``timm:vit_base_patch16_224?img_size=384``, ``pkg.mod:factory``, ``file.py:factory?width=2``.
The last two run the user's code, and say so. Nothing is ever downloaded.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from torch import nn

from cnnscope.errors import CnnscopeError, did_you_mean, missing_for
from cnnscope.sources.inputs import InputSize, fit
from cnnscope.sources.resolve import Extras, Loaded
from cnnscope.sources.torch import user_code
from cnnscope.sources.torch.arguments import from_example
from cnnscope.sources.torch.build import build
from cnnscope.sources.torch.copies import duplicate
from cnnscope.sources.torch.module import trace
from cnnscope.sources.torch.user_code import import_with_operators
from cnnscope.user_code import importable

Settings = Mapping[str, Any]


def load(source: str, inputs: tuple[InputSize, ...], settings: Settings, *, batch: int = 1) -> Loaded:
    """Returns the model that a SOURCE of one of the four kinds names; `settings` are further keyword arguments.

    ``batch`` images are in the run that is recorded.
    """
    kind, _, rest = source.partition(":")
    library = {"torchvision": torchvision, "timm": timm}.get(kind)
    if library is None:
        return _users(source, inputs, settings, batch)
    name, arguments = _split(rest, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recipe = library(name, arguments)
        try:
            module = build(recipe.make)
        except Exception as error:
            raise CnnscopeError.of("E432", f"`{name}` cannot be made so: {error}") from error
        found = trace(module, fit(inputs, recipe.sizes(module)), name=name, rebuild=recipe.make, batch=batch)
        extras = recipe.extras(module)
    return Loaded(found.graph, source, notes=found.notes, extras=extras, remarks=found.remarks)


def load_live(
    source: object, inputs: tuple[InputSize, ...], settings: Settings, example: Any = None, batch: int = 1
) -> Loaded:
    """Returns the network of a module that exists already, or of a function that makes one.

    ``example`` is what the module is called with: a tensor, a tuple of arguments, or a dict of them by name.
    """
    name = type(source).__name__ if isinstance(source, nn.Module) else getattr(source, "__name__", str(source))
    return _made(source, name, inputs, settings, example, batch)


def _made(
    factory: object, name: str, inputs: tuple[InputSize, ...], arguments: Settings, example: Any = None, batch: int = 1
) -> Loaded:
    def make() -> nn.Module:
        made = user_code.call(factory, name, arguments, _plainly)
        return duplicate(made) if made is factory else made  # the user's own module must not change

    module = user_code.call(factory, name, arguments, build)
    if example is not None:
        sizes = from_example(example, inspect.signature(module.forward).parameters)
    else:
        sizes = fit(inputs, _own_size(module))
    found = trace(module, sizes, name=name, rebuild=make, batch=batch)
    extras = Extras(make, own_weights=f"as `{name}` has them")
    return Loaded(found.graph, name, notes=found.notes, extras=extras, remarks=found.remarks)


def _split(text: str, settings: Settings) -> tuple[str, dict[str, Any]]:
    """Returns ``name?width=2&act=relu`` as the name and its keyword arguments. Values are Python literals, or
    else text.
    """
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


def _users(source: str, inputs: tuple[InputSize, ...], settings: Settings, batch: int) -> Loaded:
    place, name, query = user_code.parse(source)
    _, arguments = _split(f"{name}?{query}", settings)
    with importable(place), user_code.quiet():
        found = _made(user_code.find(place, name), name, inputs, arguments, batch=batch)

    def make() -> nn.Module:
        assert found.extras.make is not None
        with importable(place), user_code.quiet():
            return found.extras.make()

    notes = (f"ran the code of `{place}`", *found.notes)
    return replace(found, source=source, notes=notes, extras=replace(found.extras, make=make))


def _plainly(make: Callable[[], object]) -> object:
    return make()


def _own_size(module: nn.Module) -> tuple[InputSize, ...]:
    """Returns the input size in a configuration like that of timm's models, if the module has one.

    The configuration describes the pretrained network. The module may take other channels, as its first layer says.
    """
    configuration = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    size = configuration.get("input_size") if isinstance(configuration, dict) else None
    if not isinstance(configuration, dict) or not size:
        return ()
    names = configuration.get("first_conv")
    first = dict(module.named_modules()).get(names) if isinstance(names, str) else None
    return (InputSize((getattr(first, "in_channels", size[0]), *size[1:])),)


class Recipe(NamedTuple):
    """How to make a model, the sizes of its inputs, and what is needed to run it. The latter two may need the
    module.
    """

    make: Callable[[], nn.Module]
    sizes: Callable[[Any], tuple[InputSize, ...]]
    extras: Callable[[Any], Extras]


def _refuse_downloads(arguments: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if arguments.get(name):
            raise CnnscopeError.of(
                "E432", f"`{name}` would download weights, which an architecture does not need",
                hint=f"leave `{name}` out",
            )  # fmt: skip


def _pick(name: str, names: Iterable[str], lister: str) -> None:
    known = list(names)
    if name not in known:
        hint = did_you_mean(name, known, most=3) or f"`{lister}` lists them"
        raise CnnscopeError.of("E431", f"{lister.partition('.')[0]} has no model `{name}`", hint=hint)


# -- torchvision -------------------------------------------------------------------------------------------------------


def torchvision(name: str, arguments: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of a model for the input size of its default weights."""
    models = _library("torchvision").models
    _pick(name, models.list_models(), "torchvision.models.list_models()")
    _refuse_downloads(arguments, "weights", "weights_backbone", "pretrained", "pretrained_backbone")
    builder = models.get_model_builder(name)
    weights = models.get_model_weights(name).DEFAULT
    given = {**arguments, "weights": None}
    if "image_size" in inspect.signature(inspect.signature(builder, eval_str=True).return_annotation).parameters:
        given.setdefault("image_size", weights.meta["min_size"][0])  # vision transformers are made for one size
    if "weights_backbone" in inspect.signature(builder).parameters:
        given["weights_backbone"] = None
    make = partial(builder, **given)
    return Recipe(make, partial(_torchvision_sizes, weights), lambda module: _torchvision_extras(weights, make))


def _torchvision_extras(weights: Any, make: Callable[[], nn.Module]) -> Extras:
    """Returns the preprocessing and class names that torchvision publishes with its weights."""
    transforms = weights.transforms()
    preprocess = {
        key: getattr(transforms, name)
        for key, name in (("resize", "resize_size"), ("crop", "crop_size"), ("mean", "mean"), ("std", "std"))
        if getattr(transforms, name, None) is not None
    }
    preprocess = {key: value[0] if key == "resize" and len(value) == 1 else value for key, value in preprocess.items()}
    if getattr(transforms, "interpolation", None) is not None:
        preprocess["interpolation"] = transforms.interpolation.value
    return Extras(
        make, labels=tuple(weights.meta.get("categories", ())), preprocess=preprocess,
        pretrained=lambda: weights.get_state_dict(progress=True, check_hash=True),
    )  # fmt: skip


def _torchvision_sizes(weights: Any, module: Any) -> tuple[InputSize, ...]:
    transforms = weights.transforms()
    size = getattr(transforms, "crop_size", None) or getattr(transforms, "resize_size", None)
    if type(transforms).__name__ == "VideoClassification":
        return ()  # the number of frames is not stated
    if isinstance(fixed := getattr(module, "image_size", None), int):
        size = (fixed,)
    elif size is None:  # detectors resize by themselves
        size = getattr(getattr(module, "transform", None), "min_size", None)
    return (InputSize((3, size[0], size[-1])),) if size else ()


# -- timm --------------------------------------------------------------------------------------------------------------


def timm(name: str, arguments: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of a model of timm, whose configuration has its input size."""
    library = _library("timm")
    if not library.is_model(name):
        _pick(name, library.list_models(), "timm.list_models()")
    _refuse_downloads(arguments, "pretrained", "checkpoint_path")
    make = partial(library.create_model, name, pretrained=False, **arguments)
    pretrained = partial(library.create_model, name, pretrained=True, **arguments)
    return Recipe(make, partial(_timm_sizes, name, arguments), partial(_timm_extras, make, pretrained))


def _timm_extras(make: Callable[[], nn.Module], pretrained: Callable[[], nn.Module], module: Any) -> Extras:
    """Returns the preprocessing in timm's configuration. There the image covers the input divided by ``crop_pct``."""
    configuration = getattr(module, "pretrained_cfg", None) or {}
    preprocess = {key: configuration[key] for key in ("mean", "std", "interpolation") if configuration.get(key)}
    if size := configuration.get("input_size"):
        preprocess["crop"] = size[1:]
        preprocess["resize"] = int(size[1] / (configuration.get("crop_pct") or 1.0))  # rounded as in timm.data
    return Extras(make, preprocess=preprocess, pretrained=lambda: pretrained().state_dict())


def _timm_sizes(name: str, arguments: Mapping[str, Any], module: Any) -> tuple[InputSize, ...]:
    configuration: Any = getattr(module, "pretrained_cfg", None)
    if configuration is None:  # wrappers for features have no configuration of their own
        registered = _library("timm").get_pretrained_cfg(name)
        configuration = registered.to_dict() if registered else {}
    channels, height, width = configuration.get("input_size", (3, 224, 224))
    size = arguments.get("img_size", (height, width))
    height, width = (size, size) if isinstance(size, int) else size
    return (InputSize((arguments.get("in_chans", channels), height, width)),)


def _library(name: str) -> Any:
    try:
        return import_with_operators(lambda: import_module(name))
    except ImportError as error:
        raise missing_for(error) or CnnscopeError.of("E430", f"{name} does not import: {error}") from error
