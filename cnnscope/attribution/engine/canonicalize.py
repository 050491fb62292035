"""A network in canonical form, as attribution needs it: every op that may have a rule is a module of its own.

Rules that change what flows back (DeepLift, guided backpropagation, LRP, also captum's) find modules by their class.
They silently leave out a functional ReLU, a module that is called twice and one that works in place. In canonical form
no module is called twice or works in place; activations, pools, sums and products are modules; and a copy keeps a max
pool's hooks apart from those of the activation before it (captum issue 1104). The weights are shared with the original,
which is not changed; logits are the same to the last bit.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata

from cnnscope.attribution.engine.functional_forms import MODULES
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.nn.build import Network, Tied
from cnnscope.nn.ops import is_known

_HOOKS = re.compile(r"_(forward|backward)_(pre_)?hooks\w*")
"""Attributes of a module that hold its hooks: a copy that shared them would be hooked together with its original."""
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


class Clone(nn.Identity):
    """A copy of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


def canonicalize(module: nn.Module) -> fx.GraphModule:
    """The canonical form of ``module``, which takes one tensor.

    ``node.meta["layer"]`` is each call's name in the original. ``meta["rows"]`` of the result maps a layer of several
    ops to its last call. The graph of a `cnnscope.nn.build.Network` is used as it is, other modules are traced by
    torch.fx. E480 where that fails.
    """
    return _from_network(module) if isinstance(module, Network) else _from_trace(module)


def layer_of(node: fx.Node) -> str:
    """The name of a call in the original network."""
    return str(node.meta.get("layer", node.name))


class _Building:
    """A graph under construction, and the modules it calls."""

    def __init__(self) -> None:
        self.graph, self.modules = fx.Graph(), dict[str, Any]()

    def call(
        self, module: nn.Module, args: tuple[Any, ...], layer: str, kwargs: Mapping[str, Any] | None = None
    ) -> fx.Node:
        """Adds a call of a copy of the module: nothing else calls the copy, and the weights are shared."""
        if isinstance(module, MAX_POOLS):
            args = (self.call(Clone(), args, f"{layer}.before"),)
        own = copy.copy(module)
        vars(own).update({name: copy.copy(hooks) for name, hooks in vars(module).items() if _HOOKS.fullmatch(name)})
        if getattr(own, "inplace", False):
            own.inplace = False  # type: ignore[assignment]  # an attribute of activations and dropout
        target = f"{len(self.modules)}_{layer}".replace(".", "_").replace("#", "_")
        self.modules[target] = own
        node = self.graph.call_module(target, args, dict(kwargs or {}))
        node.meta["layer"] = layer
        return self.call(Clone(), (node,), f"{layer}.after") if isinstance(module, MAX_POOLS) else node

    def done(self, output: Any) -> fx.GraphModule:
        self.graph.output(output)
        self.graph.lint()
        return fx.GraphModule(self.modules, self.graph, "Canonical").eval()


def _from_network(network: Network) -> fx.GraphModule:
    graph = network._graph
    if len(graph.inputs) != 1:
        raise _impossible(f"it takes {len(graph.inputs)} inputs")
    building = _Building()
    values = {name: building.graph.placeholder("x") for name in graph.inputs}
    for node, call in zip(graph.nodes, network.calls, strict=True):
        if not node.training_only:
            module = _untied(call) if isinstance(call, Tied) else call
            values[node.name] = building.call(module, tuple(values[name] for name in node.inputs), node.name)
    outputs = [values[name] for name in graph.outputs if name in values]
    if len(outputs) != 1:
        raise _impossible(f"it has {len(outputs)} outputs")
    canonical = building.done(outputs[0])
    canonical.meta["rows"] = {row: members[-1].name for row, members in graph.layers()}
    return canonical


def _untied(call: Tied) -> nn.Module:
    """A module of its own that reads the weights that it is tied to where they are stored."""
    module = copy.deepcopy(call.template)
    for role, key in call.params.items():
        path, _, name = role.rpartition(".")
        owner = module.get_submodule(path)
        tensor = tensor_at(call.network, key)
        delattr(owner, name)
        setattr(owner, name, tensor)
    return module.eval()


def tensor_at(root: Any, path: str) -> Any:
    """The value at a dotted path of attributes."""
    for name in path.split("."):
        root = getattr(root, name)
    return root


class _Tracer(fx.Tracer):
    """Does not trace into cnnscope's own modules, as torch.fx does not trace into torch's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_known(m) or super().is_leaf_module(m, module_qualified_name)


def _from_trace(module: nn.Module) -> fx.GraphModule:
    try:
        traced = module if isinstance(module, fx.GraphModule) else fx.GraphModule(module, _Tracer().trace(module))
    except Exception as error:  # tracing runs the network's own Python, which may raise anything
        raise _impossible(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    building, env, calls = _Building(), dict[fx.Node, Any](), dict[str, int]()
    for node in traced.graph.nodes:
        if node.op == "output":
            return building.done(fx.node.map_arg(node.args[0], env.__getitem__))
        if node.op == "call_module":
            count = calls[node.target] = calls.get(node.target, 0) + 1
            layer = node.target if count == 1 else f"{node.target}#{count}"
            args, kwargs = _given(node, env.__getitem__)
            env[node] = building.call(traced.get_submodule(node.target), args, layer, kwargs)
            continue
        made = _functional(traced, node, env)
        if made is not None:
            inner, args = made
            env[node] = building.call(inner, args, _scoped(node))
            continue
        if node.op == "get_attr":
            building.modules[node.target] = tensor_at(traced, node.target)
        env[node] = building.graph.node_copy(node, env.__getitem__)
        env[node].meta["layer"] = _scoped(node)
    raise AssertionError("a traced graph ends with its output")


def _given(node: fx.Node, value: Callable[[fx.Node], Any]) -> tuple[Any, Any]:
    """The arguments of a call by position and by name, with nodes replaced by their values."""
    return fx.node.map_arg(node.args, value), fx.node.map_arg(node.kwargs, value)


def _functional(
    traced: fx.GraphModule, node: fx.Node, env: Mapping[fx.Node, Any]
) -> tuple[nn.Module, tuple[fx.Node, ...]] | None:
    """The module that replaces a call of a function or method, and the values it reads; None where there is none."""
    form: Callable[..., Any] | None = MODULES.get(node.target) if node.op.startswith("call_") else None
    if form is None:
        return None

    def value(argument: fx.Node) -> Any:
        return tensor_at(traced, str(argument.target)) if argument.op == "get_attr" else env[argument]

    args, kwargs = _given(node, value)
    made = form(*args, **kwargs)
    return None if made is None else (made[0].eval(), made[1])


def _scoped(node: fx.Node) -> str:
    """The name of a functional call: that of the function within the calling module, as ``layer1.0.add``."""
    stack = node.meta.get("nn_module_stack")
    path = list(stack.values())[-1][0] if stack else ""
    kind = node.name if isinstance(node.target, str) else getattr(node.target, "__name__", node.name).strip("_")
    kind = node.name if kind in ("fn", "getitem") else kind
    return f"{path}.{kind}" if path else node.name


def _impossible(reason: str) -> CnnscopeError:
    return CnnscopeError.of(
        "E480", f"the network cannot be taken apart: {reason}",
        hint="`integrated-gradients`, `smoothgrad` and `occlusion` take it as it is",
    )  # fmt: skip


def forward_shapes(network: fx.GraphModule, x: Tensor) -> dict[fx.Node, torch.Size]:
    """The shape of every value that is a tensor, for inputs like ``x`` (N, C, H, W)."""
    with torch.no_grad():
        ShapeProp(network).propagate(x)
    kept = ((node, node.meta.get("tensor_meta")) for node in network.graph.nodes)
    return {node: meta.shape for node, meta in kept if isinstance(meta, TensorMetadata)}


def node_of(network: fx.GraphModule, layer: str) -> fx.Node:
    """The call that computes a layer's output, for a group of layers the last call in it; E205 if there is none."""
    calls: dict[str, fx.Node] = {layer_of(node): node for node in network.graph.nodes if _is_named(network, node)}
    rows = network.meta.get("rows", {})
    named = {row: calls[last] for row, last in rows.items() if last in calls} | calls
    inside = [node for name, node in calls.items() if name.startswith(f"{layer}.")]
    if layer in named:
        return named[layer]
    if inside:
        return inside[-1]
    shown = ", ".join(list(named)[:8]) + (", ..." if len(named) > 8 else "")
    hint = did_you_mean(layer, named, most=3) or f"the layers are {shown}"
    raise CnnscopeError.of("E205", f"no layer is called `{layer}`", hint=hint)


def _is_named(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a call is one of the original network: not a copy, a weight or the output."""
    if node.op == "call_module":
        return not isinstance(network.get_submodule(str(node.target)), Clone)
    return node.op in ("call_function", "call_method")


def up_to(network: fx.GraphModule, layer: str) -> fx.GraphModule:
    """A canonical network that ends with a layer; the weights are shared. E205 where there is no such layer."""
    last = node_of(network, layer)
    graph, env = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in network.graph.nodes:
        env[node] = graph.node_copy(node, env.__getitem__)
        if node is last:
            break
    graph.output(env[last])
    modules: dict[str, Any] = {
        str(node.target): tensor_at(network, str(node.target))
        for node in graph.nodes
        if node.op in ("call_module", "get_attr")
    }
    part = fx.GraphModule(modules, graph).eval()
    part.graph.eliminate_dead_code()  # branches that the layer does not read
    part.recompile()
    return part
