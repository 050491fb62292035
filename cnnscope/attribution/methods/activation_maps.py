"""Class activation maps: a layer's maps A (K, h, w), weighted by the gradient G of the score at them, then enlarged.

captum computes Grad-CAM; it has neither Grad-CAM++ nor LayerCAM, and its guided Grad-CAM acts on `torch.nn.ReLU` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.attribution.contract import Found, Method, Question
from cnnscope.attribution.engine.canonicalize import forward_shapes, layer_of, node_of
from cnnscope.attribution.engine.rules import guided
from cnnscope.attribution.methods.gradients import rectified
from cnnscope.errors import CnnscopeError
from cnnscope.nn.ops import role_of


class Watched(fx.Interpreter):
    """Runs a canonical network and keeps the output of one call.

    The output passes through ``place``, a module that captum can hook: not every layer of the network is a module.
    Gradients do not go further back than this output.
    """

    def __init__(self, network: fx.GraphModule, node: fx.Node) -> None:
        super().__init__(network)
        self.node, self.place = node, nn.Identity()
        self.maps = torch.empty(0)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n is self.node:
            self.maps = value.detach().requires_grad_()
            return self.place(self.maps)
        return value

    def scores(self, x: Tensor) -> Tensor:
        """(N, classes)."""
        result: Tensor = self.run(x).flatten(1)
        return result

    def gradient(self, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
        """The layer's maps A (K, h, w) for an image (1, C, H, W), and the gradient G of the score at them."""
        with torch.enable_grad():
            score = self.scores(x)[0, target]
            (found,) = torch.autograd.grad(score, self.maps, allow_unused=True, materialize_grads=True)
        return self.maps[0].detach(), found[0]


Weighting = Callable[[Watched, Tensor, int], Tensor]
"""From a network, an image (1, C, H, W) and a class to a map (h, w) of the watched layer."""


def grad_cam(network: Watched, x: Tensor, target: int) -> Tensor:
    """max(0, sum over k of mean(G_k) * A_k) (Selvaraju et al. 2017, eqs. 1 and 2)."""
    from captum.attr import LayerGradCam

    found: Tensor = LayerGradCam(network.scores, network.place).attribute(x, target, relu_attributions=True)
    return found[0, 0].detach()


def grad_cam_pp(network: Watched, x: Tensor, target: int) -> Tensor:
    """max(0, sum over k of w_k * A_k), w_k = sum of a * max(0, G_k), a = G^2 / (2 G^2 + sum(A_k) * G^3)
    (Chattopadhay et al. 2018, eqs. 11 and 19; their factor exp(score) scales the whole map and is left out).
    """
    maps, gradient = network.gradient(x, target)
    square, cube = gradient**2, gradient**3
    below = 2 * square + maps.sum((1, 2), keepdim=True) * cube
    share = torch.where(below == 0, 0, square / torch.where(below == 0, 1, below))
    weights = (share * gradient.clamp(min=0)).sum((1, 2), keepdim=True)
    return (weights * maps).sum(0).clamp(min=0)


def layer_cam(network: Watched, x: Tensor, target: int) -> Tensor:
    """max(0, sum over k of max(0, G_k) * A_k), pixel by pixel (Jiang et al. 2021, eqs. 4 to 6)."""
    maps, gradient = network.gradient(x, target)
    return (gradient.clamp(min=0) * maps).sum(0).clamp(min=0)


def layer_map(question: Question, weighting: Weighting) -> tuple[Tensor, str]:
    """The (H, W) map of the layer that the question names, by default of `last_map`, and a note on its layer.

    `CnnscopeError`: E205 where there is no such layer, E480 where it has no maps.
    """
    network = question.canonical
    shapes = forward_shapes(network, question.x)
    node = last_map(network, shapes) if question.layer is None else node_of(network, question.layer)
    shape = shapes.get(node, torch.Size())
    if len(shape) != 4:
        described = f"{shape[-1]} numbers" if len(shape) == 2 else "no map"
        raise CnnscopeError.of("E480", f"`{question.layer or layer_of(node)}` gives {described}, not feature maps",
                               hint="name a convolution, or a layer after one: `--layer NAME`")  # fmt: skip
    small = weighting(Watched(network, node), question.x, question.target)
    values = F.interpolate(small[None, None], question.x.shape[2:], mode="bilinear", align_corners=False)[0, 0]
    rows = {last: row for row, last in network.meta.get("rows", {}).items()}
    enlarged = "" if shape[2:] == values.shape else ", enlarged"
    return values, f"{shape[2]}x{shape[3]} maps of {rows.get(layer_of(node), layer_of(node))}{enlarged}"


def last_map(network: fx.GraphModule, shapes: dict[fx.Node, torch.Size]) -> fx.Node:
    """The last value that is a map of more than one pixel and that no pool made.

    That is the output of the last convolution after its norm, activation and shortcut. E480 where there is none.
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
    """Whether a call adds nothing of its own to a map: it pools it or passes it on."""
    if node.op != "call_module":
        return False
    kind = role_of(network.get_submodule(str(node.target)))
    return kind in ("max", "average") or (kind == "move" and len(node.all_input_nodes) == 1)


def _map_alone(question: Question, weighting: Weighting) -> Found:
    values, note = layer_map(question, weighting)
    return Found(values[None], notes=(note,))


def guided_grad_cam(question: Question) -> Found:
    """Guided backpropagation times the enlarged Grad-CAM map (Selvaraju et al. 2017, section 3.2)."""
    fine, (coarse, note) = rectified(question, guided), layer_map(question, grad_cam)
    return Found(fine.raw * coarse, notes=(*fine.notes, note))


def _method(title: str, weighting: Weighting, source: str) -> Method:
    run = partial(_map_alone, weighting=weighting)
    return Method(title=title, family=title, signed=False, run=run, source=source, takes=("layer",))


GRAD_CAM = _method("Grad-CAM", grad_cam, "Selvaraju et al. 2017")
GRAD_CAM_PP = _method("Grad-CAM++", grad_cam_pp, "Chattopadhay et al. 2018")
LAYER_CAM = _method("LayerCAM", layer_cam, "Jiang et al. 2021")
GUIDED_GRAD_CAM = Method(
    title="Guided Grad-CAM", family="Guided Grad-CAM", signed=True, run=guided_grad_cam,
    source="Selvaraju et al. 2017", takes=("layer",),
)  # fmt: skip
