"""Builds a graph as a module with weights from any source."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.nn.build import build
from cnnscope.nn.checkpoint import read_header
from cnnscope.nn.weights import compare, state_dict
from cnnscope.sources.resolve import Extras, Loaded

PRETRAINED = "pretrained"
"""The name of the weights that a library publishes; only they are downloaded."""


@dataclass(frozen=True)
class Weighted:
    """A module in eval mode, without gradients, on the CPU. ``weights`` says where they are from, ``trained`` whether
    they are more than random numbers, ``notes`` what a reader should know."""

    module: nn.Module
    weights: str
    weights_sha256: str
    trained: bool
    notes: tuple[str, ...] = ()


def open_weighted(model: Loaded, *, weights: str | Path | None = None, seed: int = 0) -> Weighted:
    """The module of a graph with the weights ``weights``: a file, or ``pretrained``.

    By default the weights are those that the source names or has, else random ones drawn from ``seed``.
    `CnnscopeError`: E450 no pretrained weights, E420 to E428 weight files and building, E448 an ONNX file's weights.
    """
    graph, extras = model.graph, model.extras
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # libraries warn about their own defaults
        torch.manual_seed(seed)
        original = extras.make() if extras.make is not None else None
    wanted = weights if weights is not None else extras.weights
    state, text = _state(graph, model.source, extras, wanted)
    if state is None and extras.own_weights is None:
        text = f"random (seed {seed})"
    module = _runnable(graph, original, state, seed)
    notes = () if state is not None or text != f"random (seed {seed})" else (
        f"the weights of `{graph.name}` are random: nothing is learned", )  # fmt: skip
    module = module.eval().requires_grad_(False)
    return Weighted(module, text, digest(module), not notes, notes)


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
    theirs = None if extras.own_format is None else extras.own_format(Path(weights))
    if theirs is not None:
        return theirs, Path(weights).name
    comparison = compare(graph, read_header(weights))
    return state_dict(graph, weights, comparison), Path(weights).name


def _runnable(graph: Graph, original: nn.Module | None, state: Mapping[str, Tensor] | None, seed: int) -> nn.Module:
    """The graph as a module if it computes exactly what the original does; else the original."""
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
    except RuntimeError:  # the names differ from the state dict's
        return original
    return network if _same_answers(network.eval(), original, graph) else original


@torch.inference_mode()
def _same_answers(network: nn.Module, original: nn.Module, graph: Graph) -> bool:
    """Whether both give the same bits on a random batch of two."""
    generator = torch.Generator().manual_seed(0)
    if not all("float" in value.dtype and value.batch_axis == 0 for value in graph.inputs.values()):
        return False
    x = {name: torch.rand(2, *value.shape[1:], generator=generator) for name, value in graph.inputs.items()}
    given = ((), x) if len(x) > 1 else (tuple(x.values()), {})
    ours, theirs = (_tensors(module(*given[0], **given[1])) for module in (network, original))
    same = (torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in zip(ours, theirs, strict=False))
    return len(ours) == len(theirs) and all(same)


def _tensors(output: Any) -> list[Tensor]:
    """All tensors of an output, in order."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, (list, tuple)) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def digest(module: nn.Module) -> str:
    """SHA-256 of the names, shapes, types and values in a state dict."""
    found = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"{key} {tuple(values.shape)} {values.dtype}\n".encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
