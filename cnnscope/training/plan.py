"""Transfer learning as a plan: another head on a trained network, and what each way of training it costs.

Two ways are those of Yosinski et al. (2014, "How transferable are features in deep neural networks?", section 2):
features frozen, or fine-tuned as a whole. A third freezes the layers that patterns name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from cnnscope.analysis.cost import Cost, nbytes, param_cost
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph, Node
from cnnscope.training.cost import Memory, Work, memory, work
from cnnscope.training.head import find_head, with_head

Part = Literal["new", "trained", "frozen", "unused"]
"""What happens to a layer with weights. ``unused`` layers belong to a head that only the original training used."""


@dataclass(frozen=True)
class Strategy:
    """A way of training: ``graph`` with the new head, ``Param.trainable`` saying what is trained.

    ``layers`` has every layer with weights in order.
    """

    name: str
    graph: Graph
    layers: dict[str, Part]
    cost: Cost
    memory: Memory
    work: Work

    @property
    def weight_bytes(self) -> int:
        """Bytes of parameters and buffers."""
        return self.cost.param_bytes + self.cost.buffer_bytes

    @property
    def gradient_bytes(self) -> int:
        """Bytes of gradients: one number for each trained parameter."""
        return sum(nbytes(param) for param in self.graph.params.values() if param.trainable)

    @property
    def sgd_bytes(self) -> int:
        """The state of SGD with momentum: a velocity for each trained parameter."""
        return self.gradient_bytes

    @property
    def adamw_bytes(self) -> int:
        """The state of AdamW: two moments for each trained parameter."""
        return 2 * self.gradient_bytes

    @property
    def unused(self) -> int:
        """Parameters that only heads for the original training have: neither trained nor frozen."""
        used = {key for node in self.graph.nodes if not node.training_only for key in node.params.values()}
        return sum(p.numel for key, p in self.graph.params.items() if not p.buffer and key not in used)

    @property
    def frozen(self) -> int:
        """Parameters that are used and not trained."""
        return self.cost.frozen - self.unused

    def total_bytes(self, optimizer_bytes: int) -> int:
        """Weights, gradients, the optimizer's state, and activations at the peak of the forward pass."""
        return self.weight_bytes + self.gradient_bytes + optimizer_bytes + self.memory.peak


@dataclass(frozen=True)
class Plan:
    """The network with another head, and ways to train it.

    ``head`` is the layer replaced, ``old`` and ``new`` are its node before and after, ``batch`` images make a step.
    """

    head: str
    classes: int
    old: Node
    new: Node
    batch: int
    strategies: tuple[Strategy, ...]

    @property
    def graph(self) -> Graph:
        """The network with the new head, everything trainable."""
        return self.strategies[1].graph


def plan(
    graph: Graph, classes: int, *, freeze: Sequence[str] = (), head: str | None = None, batch: int = 32
) -> Plan:  # fmt: skip
    """The plan of a transfer to ``classes`` classes, with three ways of training: feature extractor, fine-tuning,
    ``freeze``.

    ``freeze`` are names of layers and groups, or patterns (``features.*``); the new head is trained in any case.
    `CnnscopeError`: E493 where no head is found, E494 for a pattern that freezes nothing, E495 for less than 2 classes.
    """
    if classes < 2:
        raise CnnscopeError.of("E495", f"a classifier tells 2 classes or more apart, not {classes}")
    old = find_head(graph, head)
    changed = with_head(graph, old, classes)
    own = set(changed.node(old.name).params.values())
    keys = {key for node in changed.nodes if not node.training_only for key in node.params.values()}
    weights = {key for key in keys if not changed.params[key].buffer}
    ways = {"feature extractor": own, "fine-tuning": weights}
    if freeze:
        frozen = frozen_keys(changed, freeze, old.layer)
        ways["frozen " + ", ".join(freeze)] = weights - frozen | own
    strategies = tuple(_strategy(name, changed, trained, own, keys, batch) for name, trained in ways.items())
    return Plan(
        head=old.layer, classes=classes, old=old, new=changed.node(old.name), batch=batch, strategies=strategies,
    )  # fmt: skip


def _strategy(name: str, graph: Graph, trained: set[str], own: set[str], used: set[str], batch: int) -> Strategy:
    params = {
        key: param if param.buffer else replace(param, trainable=key in trained) for key, param in graph.params.items()
    }
    graph = replace(graph, params=params)
    layers: dict[str, Part] = {}
    for layer, nodes in graph.layers():
        keys = {key for node in nodes for key in node.params.values() if not params[key].buffer}
        if keys:
            layers[layer] = (
                "unused" if not keys & used else "new" if keys & own else "trained" if keys & trained else "frozen"
            )
    return Strategy(
        name=name, graph=graph, layers=layers, cost=param_cost(params), memory=memory(graph, batch),
        work=work(graph),
    )  # fmt: skip


# -- freezing ----------------------------------------------------------------------------------------------------------


def frozen_keys(graph: Graph, patterns: Sequence[str], head: str) -> set[str]:
    """The weights of the layers that ``patterns`` name, without the head's; E494 for a pattern that names none."""
    layers = {layer: nodes for layer, nodes in graph.layers() if layer != head}
    frozen: set[str] = set()
    for pattern in patterns:
        matching = [layer for layer in layers if _matches(layer, pattern)]
        keys = {key for layer in matching for node in layers[layer] for key in node.params.values()}
        keys = {key for key in keys if not graph.params[key].buffer}
        if not keys:
            raise _freezes_nothing(graph, pattern, matching, head)
        frozen |= keys
    return frozen


def _matches(layer: str, pattern: str) -> bool:
    """Whether a pattern matches the layer or a group around it; ``*`` and ``?`` stand for any characters."""
    parts = layer.split(".")
    return any(fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def _freezes_nothing(graph: Graph, pattern: str, matching: Sequence[str], head: str) -> CnnscopeError:
    from cnnscope.edits.remove import layer_names

    if matching:
        return CnnscopeError.of("E494", f"`--freeze {pattern}` freezes nothing: {_quoted(matching)} have no weights")
    if _matches(head, pattern):
        message = f"`--freeze {pattern}` freezes nothing: the new head `{head}` is always trained"
        return CnnscopeError.of("E494", message)
    hint = did_you_mean(pattern, layer_names(graph), most=3) or "`cnnscope params` lists the layers with weights"
    return CnnscopeError.of("E494", f"`--freeze {pattern}` matches no layer", hint=hint)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:4]) + (", ..." if len(names) > 4 else "")
