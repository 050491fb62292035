"""From a graph and what its source knows to a network with weights: device, precision, names of classes."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason, read_named
from cnnscope.ir import Graph, Shape
from cnnscope.nn.build import build
from cnnscope.options.running import Running, settings
from cnnscope.sources.resolve import Loaded
from cnnscope.trained.network import TrainedNetwork
from cnnscope.trained.preprocess import Preprocess
from cnnscope.trained.weighted import digest, open_weighted

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
_KNOWN = "use auto, cpu, cuda, cuda:1 or mps"


def find_device(name: str = "auto") -> torch.device:
    """``auto`` is the first available of cuda, mps and cpu; ``cuda:1`` is the second GPU. E451 if it is not
    available."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise CnnscopeError.of("E451", f"no device is called `{name}`", hint=_KNOWN) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CnnscopeError.of("E451", "there is no CUDA device here", hint="use `--device cpu`")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise CnnscopeError.of("E451", f"there is no `{name}`: CUDA devices are numbered 0 to {count - 1}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise CnnscopeError.of("E451", "there is no MPS device here", hint="use `--device cpu`")
    if device.type not in ("cpu", "cuda", "mps"):
        raise CnnscopeError.of("E451", f"networks do not run on `{name}` here", hint=_KNOWN)
    return device


def find_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision called ``name``; E451 if the device does not have it."""
    if name not in DTYPES:
        raise CnnscopeError.of("E451", f"there is no precision `{name}`", hint=f"there are {', '.join(DTYPES)}")
    if device.type == "mps" and name == "float64":
        raise CnnscopeError.of("E451", "MPS devices have no float64", hint="use `--dtype float32`")
    return DTYPES[name]


_LARGEST = 16 * 2**20


def read_labels(labels: str | Path | tuple[str, ...] | None, classes: int) -> tuple[str, ...]:
    """One name per class, or none if they are unknown.

    E455 if the file cannot be read or has another number of names.
    """
    if labels is None or labels == ():
        return ()
    if isinstance(labels, tuple):
        return labels if len(labels) == classes else ()  # the names are a library's, but the head was replaced
    path = Path(labels)
    names = _names(path)
    if len(names) != classes:
        raise CnnscopeError.of("E455", f"`{path}` names {len(names)} classes, the network has {classes}")
    return names


def _names(path: Path) -> tuple[str, ...]:
    try:
        content = read_named(path, _LARGEST + 1)
        if len(content) > _LARGEST:
            raise CnnscopeError.of("E455", f"cannot read the labels `{path}`: more than {_LARGEST // 2**20} MiB")
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CnnscopeError.of("E455", f"cannot read the labels `{path}`: {reason}") from None
    if path.suffix.lower() != ".json":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CnnscopeError.of("E455", f"cannot read the labels `{path}`: no JSON ({error})") from None
    if isinstance(found, dict) and all(key.isdecimal() for key in found):
        found = [found[key] for key in sorted(found, key=int)]
    if not isinstance(found, list):
        raise CnnscopeError.of("E455", f"`{path}` is no list of names", hint='write ["cat", "dog"] or {"0": "cat"}')
    return tuple(str(name[-1] if isinstance(name, list) and name else name) for name in found)


def open_network(model: Loaded, options: Running | None = None, *, scores: bool = True) -> TrainedNetwork:
    """The network with weights, on its device, and what running it on images takes; without ``scores``, whatever it
    returns: that is enough to look at its layers.

    `CnnscopeError`: E450 no pretrained weights or no way to have weights, E451 device and precision, E452 no network of
    one image, E453 no class scores, E406 and E454 preprocessing, E455 labels, E420 to E428 weight files and building.
    """
    options = options or Running()
    graph, extras = model.graph, model.extras
    place = find_device(options.device)
    precision = find_dtype(options.dtype, place)
    shape = _image_shape(graph)
    if scores:
        _check_scores(graph)
    preprocess = Preprocess.of(shape, {**extras.preprocess, **settings(options.preprocess)})
    weighted = open_weighted(model, weights=options.weights, seed=options.seed)
    labels = read_labels(options.labels if options.labels is not None else extras.labels,
                         graph.value(graph.outputs[0]).numel)  # fmt: skip
    return TrainedNetwork(
        graph=graph, source=model.source, module=weighted.module.to(place, precision), weights=weighted.weights,
        weights_sha256=weighted.weights_sha256, trained=weighted.trained, preprocess=preprocess, labels=labels,
        data=Path(options.data) if options.data is not None else extras.data, device=place, dtype=precision,
        notes=weighted.notes,
    )  # fmt: skip


def randomised(network: TrainedNetwork, seed: int) -> TrainedNetwork:
    """The same architecture with new random weights.

    If its graph cannot be built, every module with `reset_parameters` is initialised again, and all other weights are
    drawn from a normal distribution with their mean and standard deviation.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module: nn.Module = build(network.graph, seed=seed)
        except CnnscopeError:
            module = copy.deepcopy(network.module).cpu().float()
            for child in module.modules():
                _draw(child)
    module = module.eval().requires_grad_(False).to(network.device, network.dtype)
    text = f"random (seed {seed})"
    return replace(network, module=module, weights=text, weights_sha256=digest(module), trained=False)


@torch.no_grad()
def _draw(module: nn.Module) -> None:
    """Draws the weights of the module itself, not of its children."""
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()  # type: ignore[operator]  # every module of torch with weights has it
        return
    for weight in module.parameters(recurse=False):
        spread = float(weight.std()) if weight.numel() > 1 else 0.0
        weight.normal_(float(weight.mean()), spread)


# -- shapes ------------------------------------------------------------------------------------------------------------


def _image_shape(graph: Graph) -> Shape:
    """(C, H, W) of the only input; E452 if the network does not read one image."""
    if len(graph.inputs) != 1:
        names = ", ".join(f"`{name}`" for name in graph.inputs)
        raise CnnscopeError.of("E452", f"`{graph.name}` needs {len(graph.inputs)} inputs ({names}), not one image",
                               hint="name a network of one image, as one branch of it is")  # fmt: skip
    (value,) = graph.inputs.values()
    if len(value.shape) != 4 or "float" not in value.dtype:
        shape = "x".join(map(str, value.shape[1:]))
        raise CnnscopeError.of("E452", f"`{graph.name}` reads {shape} {value.dtype}, not an image",
                               hint="an image is channels x height x width")  # fmt: skip
    return value.shape[1:]


def _check_scores(graph: Graph) -> None:
    extra = {node.name for node in graph.nodes if node.training_only}
    outputs = [name for name in graph.outputs if name not in extra]
    if len(outputs) > 1:
        names = ", ".join(f"`{name}`" for name in outputs)
        raise CnnscopeError.of("E453", f"`{graph.name}` has {len(outputs)} outputs ({names}), not class scores alone",
                               hint="name a factory of a network that returns (N, classes)")  # fmt: skip
    features = graph.value(graph.outputs[0]).features
    if sum(n != 1 for n in features) > 1:
        shape = "x".join(map(str, features))
        raise CnnscopeError.of("E453", f"`{graph.name}` returns {shape} an image, not class scores",
                               hint="this needs a classifier; remove what follows its scores")  # fmt: skip
