"""A graph as a torch module with the same names and weights, whose layers run in the graph's order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cnnscope.errors import CnnscopeError
from cnnscope.ir.graph import Graph, Node
from cnnscope.nn.ops import module_of
from cnnscope.nn.ops.called import tensor_of
from cnnscope.ops.call import Literal
from cnnscope.ops.traced import Called, Traced


def build(graph: Graph, *, seed: int = 0) -> Network:
    """Returns the module of a graph. Weights are initialised as torch does it, from ``seed``.

    The state of torch's random generators does not change. The keys of the state dict are the keys of
    ``graph.stored``, where tied weights have the first of their names. Each op is a submodule whose name is the prefix
    of its weights' keys or, without weights, the name of its node. The module is in training mode; under
    ``torch.device("meta")`` it takes no memory.

    Raises `CnnscopeError`: E428 for an op that torch cannot run or that lacks an operand, E429 for a name that torch
    reserves.
    """
    lacking = next((node.lacks for node in graph.nodes if node.lacks), None)
    if lacking is not None:
        hint = "the module that was traced computes it; `--to json` writes every graph"
        raise CnnscopeError.of("E428", f"`{graph.name}` cannot be built: {lacking}", hint=hint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(graph)


class Network(nn.Module):
    """Takes the graph's inputs by position or name, each (N, ...); returns its output, or a dict of outputs by node.

    ``calls`` has the module that runs each of the graph's nodes, in their order. In eval mode, heads that exist for
    training only do not run.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph
        self._last_use = _last_use(graph)
        modules = _Modules(self, graph)
        self.calls = [modules.call(node) for node in graph.nodes]
        modules.finish()

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor | dict[str, Tensor]:
        values = dict(zip(self._graph.inputs, inputs, strict=False)) | named
        if len(inputs) + len(named) != len(self._graph.inputs) or values.keys() != self._graph.inputs.keys():
            raise TypeError(f"this network takes {', '.join(self._graph.inputs)}, each once")
        for node, call in zip(self._graph.nodes, self.calls, strict=True):
            if node.training_only and not self.training:
                continue
            values[node.name] = call(*(values[name] for name in node.inputs))
            for name in self._last_use.get(node.name, ()):
                values.pop(name, None)
        outputs = {name: values[name] for name in self._graph.outputs if name in values}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Does what torch does, but never takes missing keys for the sign of an old file: the keys are this graph's."""
        own = OrderedDict(state_dict)
        own._metadata = self.state_dict()._metadata  # type: ignore[attr-defined]  # the versions of its format
        return super().load_state_dict(own, strict, assign)


class Tied:
    """Runs an op with weights that belong to other modules: to another node, or to a bare parameter.

    The module that it runs has no memory of its own and is not part of the network, so no weight appears twice.
    """

    def __init__(self, template: nn.Module, network: nn.Module, params: Mapping[str, str]) -> None:
        self.template = template.to("meta") if params else template
        self.network, self.params = network, dict(params)

    def __call__(self, *x: Tensor) -> Tensor:
        self.template.train(self.network.training)
        weights = {role: _tensor(self.network, key) for role, key in self.params.items()}
        result: Tensor = functional_call(self.template, weights, x)
        return result


class _Modules:
    """Adds one module for each node to the network, or finds the module that has its weights already."""

    def __init__(self, root: nn.Module, graph: Graph) -> None:
        self.root, self.graph = root, graph
        self.placed: dict[str, tuple[object, nn.Module]] = {}

    def call(self, node: Node) -> nn.Module | Tied:
        """The module that runs this node; E428 if it computes with numbers that no state dict has."""
        x = self.graph.values(node)
        if isinstance(node.op, (Called, Traced)):  # a row also has the buffers from which constants were computed
            own = {*node.op.weights(x), *node.op.buffers(x)}
            node = replace(node, params={role: key for role, key in node.params.items() if role in own})
        params = {key: self.graph.params[key] for key in node.params.values()}
        lost = next((key for key, p in params.items() if not p.persistent and p.data is None), None)
        if lost is not None:
            what = f"`{node.name}` computes with `{lost}`, a buffer that is not persistent: nobody stores its numbers"
            raise CnnscopeError.of("E428", what)
        alike = (node.op, [(value.kind, len(value.shape)) for value in x])
        owner = _owner(node, self.graph.params)
        if owner in self.placed and self.placed[owner][0] == alike:
            return self.placed[owner][1]
        module = module_of(node.op, x)
        self._fit(module, node)
        self._fill(module, node)
        if owner is not None and owner not in self.placed:
            _place(self.root, owner, module)
            self.placed[owner] = alike, module
            return module
        for role, key in node.params.items():
            if _find(self.root, key) is None:
                _put(self.root, key, _tensor(module, role), persistent=self.graph.params[key].persistent)
        return Tied(module, self.root, node.params)

    def _fit(self, module: nn.Module, node: Node) -> None:
        """Removes tensors that a node does not have: Keras' batch norm has no counter, and perhaps no scale.

        Raises `CnnscopeError` E428 if the module lacks weights that the op states, or has them in other shapes.
        """
        built = {role: tuple(tensor.shape) for role, tensor in module.state_dict().items()}
        stated = {role: self.graph.params[key].shape for role, key in node.params.items()}
        wrong = [role for role, shape in stated.items() if built.get(role) != shape]
        if wrong:
            what = f"the torch module of `{node.op.tag}` has no `{wrong[0]}` of shape {list(stated[wrong[0]])}"
            raise CnnscopeError.of("E428", what, hint="the op states its weights, and its record must agree")
        for role in built.keys() - stated.keys():
            path, _, name = role.rpartition(".")
            setattr(module.get_submodule(path), name, None)
        narrow = {self.graph.params[key].dtype for key in node.params.values()} & {"float16", "bfloat16", "float64"}
        if len(narrow) == 1:
            module.to(getattr(torch, narrow.pop()))

    def _fill(self, module: nn.Module, node: Node) -> None:
        """Makes buffers of the graph's buffers, with their numbers where the graph knows them: those that no state dict
        has, and tables.
        """
        for role, key in node.params.items():
            param = self.graph.params[key]
            path, _, name = role.rpartition(".")
            owner = module.get_submodule(path)
            if not param.buffer or (param.data is None and name not in owner._parameters):
                continue
            numbers = None if param.data is None else tensor_of(Literal(param.shape, param.dtype, param.data)).clone()
            empty = getattr(owner, name).detach()
            delattr(owner, name)
            owner.register_buffer(name, empty if numbers is None else numbers, persistent=param.persistent)

    def finish(self) -> None:
        """Adds weights that no node uses, freezes frozen ones, and checks every name and shape against the graph."""
        for key, param in self.graph.params.items():
            if _find(self.root, key) is None:
                empty = torch.zeros(param.shape, dtype=getattr(torch, param.dtype))
                tensor = empty if param.buffer else nn.Parameter(empty, requires_grad=param.trainable)
                _put(self.root, key, tensor, persistent=param.persistent)
            if not param.buffer and not param.trainable:
                _tensor(self.root, key).requires_grad_(False)
        built = {key: tuple(tensor.shape) for key, tensor in self.root.state_dict().items()}
        stated = {key: param.shape for key, param in self.graph.stored.items()}
        if built != stated:
            wrong = sorted(key for key in built.keys() | stated.keys() if built.get(key) != stated.get(key))
            raise AssertionError(f"the module does not have the graph's weights: {', '.join(wrong)}")


def _owner(node: Node, keys: Collection[str]) -> str | None:
    """The path of a node's module: the prefix of all its keys, or its name without weights; None if prefixes differ.

    A call of a trace may have a name that torch keeps for itself (``to``, ``half``), or the name of a weight.
    """
    if not node.params:
        path, name = node.name, node.name.rpartition(".")[2]
        if isinstance(node.op, Traced) and hasattr(nn.Module(), name):
            path += "_"
        while path in keys:
            path += "_"
        return path
    prefixes = {key.removesuffix(f".{role}") if key.endswith(f".{role}") else "" for role, key in node.params.items()}
    return next(iter(prefixes)) or None if len(prefixes) == 1 else None


def _place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Puts a module at a dotted path. Modules that are below that path already become its children."""
    parent, name = _parent(root, path)
    there = getattr(parent, name, None)
    if isinstance(there, nn.Module):
        for child_name, child in list(there.named_children()):
            module.add_module(child_name, child)
    elif hasattr(parent, name):
        raise _reserved(path, name)
    parent.add_module(name, module)


def _put(root: nn.Module, key: str, tensor: Tensor, *, persistent: bool = True) -> None:
    """Registers a parameter or buffer under a dotted key."""
    parent, name = _parent(root, key)
    if hasattr(parent, name):
        raise _reserved(key, name)
    if isinstance(tensor, nn.Parameter):
        parent.register_parameter(name, tensor)
    else:
        parent.register_buffer(name, tensor, persistent=persistent)


def _parent(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    *scopes, name = path.split(".")
    for scope in scopes:
        if not hasattr(root, scope):
            root.add_module(scope, nn.Module())
        child = getattr(root, scope)
        if not isinstance(child, nn.Module):
            raise _reserved(path, scope)
        root = child
    return root, name


def _find(root: nn.Module, key: str) -> Any:
    for part in key.split("."):
        root = getattr(root, part, None)  # type: ignore[assignment]  # ends at a tensor or at nothing
    return root


def _tensor(root: nn.Module, key: str) -> Tensor:
    found = _find(root, key)
    assert isinstance(found, Tensor), key
    return found


def _reserved(path: str, name: str) -> CnnscopeError:
    return CnnscopeError.of("E429", f"torch keeps the name `{name}` for itself", hint=f"rename the layer `{path}`")


def _last_use(graph: Graph) -> dict[str, list[str]]:
    """For each node the values that no later node reads."""
    readers = {name: node.name for node in graph.nodes for name in node.inputs}
    result: dict[str, list[str]] = {}
    for name, reader in readers.items():
        if name not in graph.outputs:
            result.setdefault(reader, []).append(name)
    return result
