"""A network that runs on one image at a time and gives class scores, and its layers' outputs on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph, Shape
from cnnscope.nn.build import Network
from cnnscope.trained.preprocess import Preprocess


@dataclass(frozen=True)
class TrainedNetwork:
    """A classifier of images with weights, in eval mode.

    ``module`` maps (N, C, H, W) to the network's output. ``weights`` says where they are from, ``trained`` whether they
    are more than random numbers; ``weights_sha256`` is over names, shapes and values. ``labels`` are the names of
    the classes, empty where unknown, ``data`` the images that come with the network.
    """

    graph: Graph
    source: str
    module: nn.Module
    weights: str
    weights_sha256: str
    trained: bool
    preprocess: Preprocess
    labels: tuple[str, ...]
    data: Path | None
    device: torch.device
    dtype: torch.dtype
    notes: tuple[str, ...] = ()

    @property
    def input_shape(self) -> Shape:
        """(C, H, W)."""
        return next(iter(self.graph.inputs.values())).shape[1:]

    @property
    def classes(self) -> int:
        """The number of scores per image."""
        return self.graph.value(self.graph.outputs[0]).numel

    def label(self, index: int) -> str:
        """The name of a class, or its number."""
        return self.labels[index] if index < len(self.labels) else str(index)

    def input(self, pixels: Tensor) -> Tensor:
        """The network's input (N, C, H, W) on its device for pixels (N, C, H, W) from 0 to 255."""
        return self.preprocess.normalise(pixels.to(self.device), self.dtype)

    def logits(self, x: Tensor) -> Tensor:
        """Scores (N, classes) in float32 for inputs (N, C, H, W); E453 if the network gives no class scores."""
        return scores(self.module(x), self.graph.name)

    def layer_names(self) -> tuple[str, ...]:
        """The layers whose outputs `capture` can give, in order."""
        return tuple(self._places)

    @cached_property
    def _places(self) -> Mapping[str, tuple[nn.Module, int]]:
        """For each layer, the module that computes its output and the number of the call."""
        return _node_places(self.module, self.graph) if isinstance(self.module, Network) else _module_places(self)

    @contextmanager
    def capture(
        self, names: Collection[str], keep: Callable[[Tensor], Tensor] = lambda output: output
    ) -> Iterator[dict[str, Tensor]]:
        """Inside, every forward pass fills the dict with these layers' outputs: (N, C, H, W), (N, T, C) or (N, F).

        The tensors are not copied and have their gradients' history; with ``keep``, its result is stored instead, so
        that the tensor need not stay in memory. E205 for an unknown layer.
        """
        for name in names:
            self.check_layer(name)
        found: dict[str, Tensor] = {}
        wanted: dict[nn.Module, dict[int, list[str]]] = {}
        for name in names:
            module, call = self._places[name]
            wanted.setdefault(module, {}).setdefault(call, []).append(name)
        calls = dict.fromkeys(wanted, 0)

        def restart(module: nn.Module, args: Any) -> None:
            found.clear()
            calls.update(dict.fromkeys(wanted, 0))

        def take(module: nn.Module, args: Any, output: Any) -> None:
            for name in wanted[module].get(calls[module], ()):
                found[name] = keep(output)
            calls[module] += 1

        handles = [self.module.register_forward_pre_hook(restart), *(m.register_forward_hook(take) for m in wanted)]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()

    def check_layer(self, name: str) -> None:
        """E205, with similar names, if `capture` has no such layer."""
        if name not in self._places:
            inside = [layer for layer in self._places if layer.startswith(f"{name}.")]
            hint = did_you_mean(name, self._places, most=3) or f"the layers are {_listed(tuple(self._places))}"
            if inside:
                raise CnnscopeError.of("E205", f"`{name}` is a group of layers", hint=f"in it are {_listed(inside)}")
            raise CnnscopeError.of("E205", f"`{self.graph.name}` has no layer `{name}`", hint=hint)


def scores(output: Any, name: str) -> Tensor:
    """Class scores (N, classes) in float32 from a network's output; E453 if it is something else or not finite."""
    result = class_scores(output, name)
    if not bool(torch.isfinite(result).all()):
        raise CnnscopeError.of("E453", f"`{name}` returns numbers that are not finite",
                               hint="check its weights and preprocessing, or use `--dtype float32`")  # fmt: skip
    return result


def class_scores(output: Any, name: str) -> Tensor:
    """`scores` without the check that they are finite."""
    if isinstance(output, Mapping):
        output = next(iter(output.values()))
    if not isinstance(output, Tensor):
        raise CnnscopeError.of("E453", f"`{name}` returns a {type(output).__name__}, not class scores",
                               hint="name a factory of a network that returns (N, classes)")  # fmt: skip
    flat = output.flatten(1) if output.ndim > 2 and output[0].numel() == output.shape[1] else output
    if flat.ndim != 2:
        shape = "x".join(map(str, output.shape[1:])) or "a number"
        raise CnnscopeError.of("E453", f"`{name}` returns {shape} an image, not class scores",
                               hint="this needs a classifier; remove what follows its scores")  # fmt: skip
    return flat.float()


def probabilities(scores: Tensor) -> Tensor:
    """Probabilities (N, classes) from scores (N, classes): the softmax, or the logistic function of a single score.

    Rows that are probabilities already, as after a final softmax, do not change.
    """
    if scores.shape[1] == 1:
        inside = ((scores >= 0) & (scores <= 1)).all()
        return torch.where(inside, scores, scores.sigmoid())
    already = (scores >= 0).all(1, keepdim=True) & ((scores.sum(1, keepdim=True) - 1).abs() < 1e-3)
    return torch.where(already, scores, scores.softmax(1))


# -- layers ------------------------------------------------------------------------------------------------------------


def _node_places(network: Network, graph: Graph) -> dict[str, tuple[nn.Module, int]]:
    """For each layer, the module of its last op and the number of the call. Ops that share weights have no module."""
    calls: dict[nn.Module, int] = {}
    places: dict[str, tuple[nn.Module, int]] = {}
    by_node: dict[str, tuple[nn.Module, int]] = {}
    for node, module in zip(graph.nodes, network.calls, strict=True):
        if isinstance(module, nn.Module) and not node.training_only:
            by_node[node.name] = module, calls.get(module, 0)
            calls[module] = calls.get(module, 0) + 1
    for layer, nodes in graph.layers():
        if nodes[-1].name in by_node:
            places[layer] = by_node[nodes[-1].name]
    return places


def _module_places(network: TrainedNetwork) -> dict[str, tuple[nn.Module, int]]:
    """The same for the original module: layers that are named as its submodules; ``name#2`` is the second call."""
    modules = dict(network.module.named_modules())
    places = {}
    for layer, _ in network.graph.layers():
        name, _, call = layer.partition("#")
        if name in modules and name:
            places[layer] = modules[name], int(call) - 1 if call.isdecimal() else 0
    return places


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:8]
    return ", ".join(f"`{name}`" for name in shown) + (", ..." if len(names) > len(shown) else "")
