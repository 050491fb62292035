"""Histograms of a network's weights by layer."""

from __future__ import annotations

from pathlib import Path

from cnnscope.render.page.weights import Histogram, histogram
from cnnscope.sources.resolve import Loaded
from cnnscope.trained.weighted import open_weighted


def histograms(model: Loaded, weights: str | Path | None = None) -> tuple[str, dict[str, list[Histogram]]]:
    """Where the weights are from, and the histograms of each layer's tensors in the order of its ops; none where the
    weights are random. Buffers are no weights. It raises the same errors as `open_weighted`."""
    weighted = open_weighted(model, weights=weights)
    if not weighted.trained:
        return weighted.weights, {}
    state, graph = weighted.module.state_dict(), model.graph
    found: dict[str, list[Histogram]] = {}
    for node in graph.nodes:
        for key in node.params.values():
            if key not in state or graph.params[key].buffer or not state[key].is_floating_point():
                continue
            made = histogram(key, state[key].double().numpy())
            if made is not None and made not in found.setdefault(node.layer, []):
                found[node.layer].append(made)
    return weighted.weights, found
