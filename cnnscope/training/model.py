"""A network with its new head, ready to train: which weights are trained, which layers are in training mode.

Layers are in training mode only where something is trained (`cnnscope.training.gradients`): a frozen batch norm keeps
its statistics, dropout before the first trained layer is off.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.nn.build import Network, build
from cnnscope.ops.activation import LogSoftmax, Sigmoid, Softmax
from cnnscope.trained.network import TrainedNetwork, scores
from cnnscope.training.gradients import steps
from cnnscope.training.plan import Plan, Strategy


@dataclass(frozen=True)
class Model:
    """A network with its new head, ready to train: ``module`` gives scores before any softmax."""

    module: nn.Module
    graph: Graph
    head: nn.Module
    tail: tuple[nn.Module, ...] | None
    """What runs behind the head, in order; None where other layers are read there too."""

    def logits(self, x: Tensor) -> Tensor:
        """(N, classes) for (N, C, H, W)."""
        return scores(self.module(x), self.graph.name)

    def from_features(self, features: Tensor) -> Tensor:
        """(N, classes) for what the head reads."""
        assert self.tail is not None
        x = self.head(features)
        for module in self.tail:
            x = module(x)
        return scores(x, self.graph.name)

    def state(self) -> dict[str, Tensor]:
        """The weights under the graph's names."""
        own = self.module.state_dict()
        return {key: own[key] for key in self.graph.params}


def prepare(network: TrainedNetwork, plan: Plan, strategy: Strategy, seed: int) -> Model:
    """The network's weights with a head drawn from ``seed``, frozen as ``strategy`` says, every layer in its mode.

    E493 where the head of a network that runs as its original module is no plain torch layer.
    """
    if isinstance(network.module, Network):
        graph = _without_squashing(strategy.graph)
        module = _built(network, plan, graph, seed)
    else:
        graph, module = strategy.graph, _headed(network, plan, seed)
    module.to(network.device, network.dtype)
    for key, parameter in module.named_parameters():
        parameter.requires_grad_(graph.params[key].trainable)
    modules = _modules(module, graph)
    module.eval()
    for step in steps(graph):
        if step.training and step.node.name in modules:
            modules[step.node.name].train()
    return Model(module, graph, modules[plan.new.name], _tail(graph, plan.new.name, modules))


def _without_squashing(graph: Graph) -> Graph:
    """Without a softmax or sigmoid at the end, which cross entropy does itself; the most probable class stays."""
    (*before, last), outputs = graph.nodes, graph.outputs
    if outputs == (last.name,) and isinstance(last.op, (Softmax, LogSoftmax, Sigmoid)):
        return replace(graph, nodes=tuple(before), outputs=last.inputs)
    return graph


def _built(network: TrainedNetwork, plan: Plan, graph: Graph, seed: int) -> nn.Module:
    module = build(graph, seed=seed)
    new, old = module.state_dict(), network.module.state_dict()
    head = set(plan.new.params.values())
    kept = {key: t for key, t in old.items() if key in new and key not in head and t.shape == new[key].shape}
    module.load_state_dict({**new, **kept})
    return module


def _headed(network: TrainedNetwork, plan: Plan, seed: int) -> nn.Module:
    """A copy of the original module with a new last layer."""
    module = copy.deepcopy(network.module)
    path = plan.new.params["weight"].removesuffix(".weight")
    scope, _, name = path.rpartition(".")
    old = module.get_submodule(path)
    if not isinstance(old, nn.Linear):
        kind = type(old).__name__
        raise CnnscopeError.of("E493", f"the head `{plan.head}` is a `{kind}`, which cannot be replaced in place")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = nn.Linear(old.in_features, plan.classes, bias=old.bias is not None)
    setattr(module.get_submodule(scope), name, new)
    return module


def _modules(module: nn.Module, graph: Graph) -> dict[str, nn.Module]:
    """What runs each node, where that is a module; the original's module of a row runs all of its nodes."""
    if isinstance(module, Network):
        calls = zip(graph.nodes, module.calls, strict=True)
        return {node.name: call for node, call in calls if isinstance(call, nn.Module)}
    known = dict(module.named_modules())
    return {node.name: known[node.layer] for node in graph.nodes if node.layer in known}


def _tail(graph: Graph, head: str, modules: dict[str, nn.Module]) -> tuple[nn.Module, ...] | None:
    """The modules behind the head; one that runs several nodes (the original's) ends the search."""
    name, found = graph.outputs[0], list[nn.Module]()
    while name != head:
        node = graph.node(name) if name not in graph.inputs else None
        if node is None or len(node.inputs) != 1 or name not in modules or modules[name] in found:
            return None
        found.append(modules[name])
        (name,) = node.inputs
    return tuple(found[::-1])
