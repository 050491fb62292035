"""From a graph and what its source knows to a network with weights."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Shape
from cnnscope.nn.build import build
from cnnscope.nn.checkpoint import read_header
from cnnscope.nn.weights import compare, state_dict
from cnnscope.sources.resolve import Extras
from cnnscope.trained.device import find_device, find_dtype
from cnnscope.trained.labels import read_labels
from cnnscope.trained.network import TrainedNetwork, class_scores
from cnnscope.trained.preprocess import Preprocess

PRETRAINED = "pretrained"
"""The name of weights that a library publishes; only this downloads."""


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
    module, text, trained, notes = _with_weights(graph, source, extras, weights, seed)
    module = module.eval().requires_grad_(False).to(place)
    names = read_labels(labels if labels is not None else extras.labels, graph.value(graph.outputs[0]).numel)
    digest = _digest(module)
    return TrainedNetwork(
        graph, source, module.to(precision), text, digest, trained, settings, names,
        Path(data) if data is not None else extras.data, place, precision, notes,
    )  # fmt: skip


def randomised(network: TrainedNetwork, seed: int) -> TrainedNetwork:
    """The same architecture with weights drawn anew: E450 where it has modules that cannot be drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module: nn.Module = build(network.graph, seed=seed)
        except CnnscopeError:
            module = copy.deepcopy(network.module).cpu()
            for child in module.modules():
                if hasattr(child, "reset_parameters"):
                    child.reset_parameters()  # type: ignore[operator]  # every module of torch with weights has it
    module = module.eval().requires_grad_(False).to(network.device, network.dtype)
    text = f"random (seed {seed})"
    return replace(network, module=module, weights=text, weights_sha256=_digest(module), trained=False)


# -- weights -----------------------------------------------------------------------------------------------------------


def _with_weights(
    graph: Graph, source: str, extras: Extras, weights: str | Path | None, seed: int
) -> tuple[nn.Module, str, bool, tuple[str, ...]]:
    """The module, what its weights are, whether they are trained, and what to know of it."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of libraries about their own defaults
        torch.manual_seed(seed)
        original = extras.make() if extras.make is not None else None
    wanted = weights if weights is not None else extras.weights
    state, text = _state(graph, source, extras, wanted)
    if state is None and extras.own_weights is None:
        text = f"random (seed {seed})"
    module = _runnable(graph, original, state, seed)
    notes = () if state is not None or text != f"random (seed {seed})" else (
        f"the weights of `{graph.name}` are random: nothing is learned", )  # fmt: skip
    return module, text, not notes, notes


def _state(
    graph: Graph, source: str, extras: Extras, weights: str | Path | None
) -> tuple[Mapping[str, Tensor] | None, str]:
    if weights is None:
        return (extras.own(), "in its file") if extras.own is not None else (None, extras.own_weights or "")
    if str(weights) == PRETRAINED:
        if extras.pretrained is None:
            hint = "`pretrained` is for torchvision:NAME and timm:NAME; else name a file"
            raise CnnscopeError.of("E450", f"`{source}` has no published weights", hint=hint)
        try:
            return extras.pretrained(), PRETRAINED
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            hint = "download them elsewhere and name the file: `--weights FILE`"
            raise CnnscopeError.of("E450", f"the weights of `{source}` cannot be had: {reason}", hint=hint) from error
    comparison = compare(graph, read_header(weights))
    return state_dict(graph, weights, comparison), Path(weights).name


def _runnable(
    graph: Graph, original: nn.Module | None, state: Mapping[str, Tensor] | None, seed: int
) -> nn.Module:
    """The graph as a module, where that computes just what the original does; else the original."""
    try:
        network: nn.Module | None = build(graph, seed=seed)
    except CnnscopeError:
        if original is None:
            raise
        network = None
    if original is None:
        assert network is not None
        if state is not None:
            network.load_state_dict(state)
        return network
    if state is not None:
        original.load_state_dict(state)
    original.eval()
    if network is None:
        return original
    try:
        network.load_state_dict(original.state_dict())
    except RuntimeError:  # other names than the state dict's
        return original
    return network if _same_answers(network.eval(), original, graph) else original


@torch.inference_mode()
def _same_answers(network: nn.Module, original: nn.Module, graph: Graph) -> bool:
    x = torch.rand(2, *_image_shape(graph), generator=torch.Generator().manual_seed(0))
    ours, theirs = (class_scores(module(x), graph.name) for module in (network, original))
    return torch.allclose(ours, theirs, rtol=0, atol=0, equal_nan=True)


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{key} {tuple(values.shape)} {values.dtype}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
    features = graph.value(graph.outputs[0]).features
    if sum(n != 1 for n in features) > 1:
        shape = "x".join(map(str, features))
        raise CnnscopeError.of("E453", f"`{graph.name}` answers with {shape} an image, not with class scores",
                               hint="this needs a classifier; remove what follows its scores")  # fmt: skip
