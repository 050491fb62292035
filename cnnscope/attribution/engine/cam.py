"""Class activation maps: a layer's maps A (K, h, w), weighted by the gradient G of the score at them, then enlarged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.attribution.engine.canonicalize import Clone, forward_shapes, layer_of
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.nn.ops import role_of

if TYPE_CHECKING:
    from cnnscope.attribution.contract import Question

Weighting = Callable[[Tensor, Tensor], Tensor]
"""From A and G, both (K, h, w), to a map (h, w)."""


@dataclass(frozen=True)
class LayerMap:
    """``values`` (H, W) at the image's size, from ``layer``, whose maps are ``size`` (h, w)."""

    values: Tensor
    layer: str
    size: tuple[int, int]

    @property
    def note(self) -> str:
        enlarged = "" if self.size == tuple(self.values.shape) else ", enlarged"
        return f"{self.size[0]}x{self.size[1]} maps of {self.layer}{enlarged}"


def layer_map(question: Question, weighting: Weighting) -> LayerMap:
    """The map of the layer that is asked for, by default `last_map`. E205 no such layer, E480 one that has no maps."""
    network = question.canonical
    shapes = forward_shapes(network, question.x)
    node = last_map(network, shapes) if question.layer is None else node_of(network, question.layer)
    shape = shapes.get(node, torch.Size())
    if len(shape) != 4:
        described = f"{shape[-1]} numbers" if len(shape) == 2 else "no map"
        raise CnnscopeError.of("E480", f"`{question.layer or layer_of(node)}` gives {described}, not feature maps",
                               hint="name a convolution, or a layer after one: `--layer NAME`")  # fmt: skip
    maps, gradient = at_layer(network, node, question.x, question.target)
    small = weighting(maps[0], gradient[0])
    enlarged = F.interpolate(small[None, None], question.x.shape[2:], mode="bilinear", align_corners=False)
    rows = {last: row for row, last in network.meta.get("rows", {}).items()}
    return LayerMap(enlarged[0, 0], rows.get(layer_of(node), layer_of(node)), (shape[2], shape[3]))


def last_map(network: fx.GraphModule, shapes: dict[fx.Node, torch.Size]) -> fx.Node:
    """The last value that is a map of more than one pixel and no pool's.

    That is the last convolution's after its norm, activation and shortcut. E480 where there is none.
    """
    node: fx.Node
    for node in reversed(network.graph.nodes):
        shape = shapes.get(node, ())
        if len(shape) != 4 or min(shape[2:]) < 2 or node.op == "placeholder" or _repeats(network, node):
            continue
        return node
    raise CnnscopeError.of("E480", "the network has no feature maps to look at",
                           hint="`integrated-gradients` and `occlusion` need none")  # fmt: skip


def _repeats(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a call makes nothing new of a map: it pools it, or hands it on."""
    if node.op != "call_module":
        return False
    kind = role_of(network.get_submodule(str(node.target)))
    return kind in ("max", "average") or (kind == "move" and len(node.all_input_nodes) == 1)


def node_of(network: fx.GraphModule, layer: str) -> fx.Node:
    """The call that gives a layer its output, for a group of layers the last one in it; E205 if there is none."""
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
    """Whether a call is the author's: not a copy, a weight or the answer."""
    if node.op == "call_module":
        return not isinstance(network.get_submodule(str(node.target)), Clone)
    return node.op in ("call_function", "call_method")


def at_layer(network: fx.GraphModule, layer: fx.Node, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """A layer's output (N, K, h, w) and the gradient of the class's score there."""
    found: dict[fx.Node, Tensor] = {}

    class Watched(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            value = super().run_node(node)
            if node is layer:
                found[node] = value = value.detach().requires_grad_()
            return value

    with torch.enable_grad():
        score = Watched(network).run(x).flatten(1)[:, target].sum()
        (gradient,) = torch.autograd.grad(score, found[layer], allow_unused=True, materialize_grads=True)
    return found[layer].detach(), gradient.detach()


def grad_cam(maps: Tensor, gradient: Tensor) -> Tensor:
    """max(0, sum over k of mean(G_k) * A_k) (Selvaraju et al. 2017, eqs. 1 and 2)."""
    return (gradient.mean((1, 2), keepdim=True) * maps).sum(0).clamp(min=0)


def grad_cam_pp(maps: Tensor, gradient: Tensor) -> Tensor:
    """max(0, sum over k of w_k * A_k), w_k = sum of a * max(0, G_k), a = G^2 / (2 G^2 + sum(A_k) * G^3)
    (Chattopadhay et al. 2018, eqs. 11 and 19; their factor exp(score) scales the whole map and is left out).
    """
    square, cube = gradient**2, gradient**3
    below = 2 * square + maps.sum((1, 2), keepdim=True) * cube
    share = torch.where(below == 0, 0, square / torch.where(below == 0, 1, below))
    weights = (share * gradient.clamp(min=0)).sum((1, 2), keepdim=True)
    return (weights * maps).sum(0).clamp(min=0)


def layer_cam(maps: Tensor, gradient: Tensor) -> Tensor:
    """max(0, sum over k of max(0, G_k) * A_k), pixel by pixel (Jiang et al. 2021, eqs. 4 to 6)."""
    return (gradient.clamp(min=0) * maps).sum(0).clamp(min=0)
