"""From a graph and what its source knows to a network with weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Shape
from cnnscope.nn.build import build
from cnnscope.sources.resolve import Extras
from cnnscope.trained.device import find_device, find_dtype
from cnnscope.trained.labels import read_labels
from cnnscope.trained.network import TrainedNetwork
from cnnscope.trained.preprocess import Preprocess
from cnnscope.trained.weighted import digest, open_weighted


def open_network(
    graph: Graph,
    source: str,
    extras: Extras,
    *,
    weights: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    preprocess: Mapping[str, Any] | None = None,
    labels: str | Path | None = None,
    data: str | Path | None = None,
) -> TrainedNetwork:
    """The network of a graph with weights.

    ``weights`` is a file, or ``pretrained``; without it they are those its source names or has, else random ones drawn
    from ``seed``. The other options replace what the source says.

    `CnnscopeError`: E450 no pretrained weights or no way to have weights, E451 device and precision, E452 no network of
    one image, E453 no class scores, E454 preprocessing, E455 labels, E420 to E428 weight files and building.
    """
    place = find_device(device)
    precision = find_dtype(dtype, place)
    shape = _image_shape(graph)
    _check_scores(graph)
    settings = Preprocess.of(shape, {**extras.preprocess, **(preprocess or {})})
    with_weights = open_weighted(graph, source, extras, weights=weights, seed=seed)
    names = read_labels(labels if labels is not None else extras.labels, graph.value(graph.outputs[0]).numel)
    return TrainedNetwork(
        graph, source, with_weights.module.to(place, precision), with_weights.weights, with_weights.weights_sha256,
        with_weights.trained, settings, names, Path(data) if data is not None else extras.data, place, precision,
        with_weights.notes,
    )  # fmt: skip


def randomised(network: TrainedNetwork, seed: int) -> TrainedNetwork:
    """The same architecture with weights drawn anew.

    Where its graph cannot be built every module that can is initialised again, and all other weights are drawn from a
    normal distribution of their own mean and spread.
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
    """The weights of a module itself, not of those in it."""
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()  # type: ignore[operator]  # every module of torch with weights has it
        return
    for weight in module.parameters(recurse=False):
        spread = float(weight.std()) if weight.numel() > 1 else 0.0
        weight.normal_(float(weight.mean()), spread)


# -- shapes ------------------------------------------------------------------------------------------------------------


def _image_shape(graph: Graph) -> Shape:
    """(C, H, W) of the only input; E452 where there is no such."""
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
    answers = [name for name in graph.outputs if name not in extra]
    if len(answers) > 1:
        names = ", ".join(f"`{name}`" for name in answers)
        raise CnnscopeError.of("E453", f"`{graph.name}` gives {len(answers)} answers ({names}), not class scores alone",
                               hint="name a factory of a network that returns (N, classes)")  # fmt: skip
    features = graph.value(graph.outputs[0]).features
    if sum(n != 1 for n in features) > 1:
        shape = "x".join(map(str, features))
        raise CnnscopeError.of("E453", f"`{graph.name}` answers with {shape} an image, not with class scores",
                               hint="this needs a classifier; remove what follows its scores")  # fmt: skip
