"""Numbers of buffers that a module without values lacks, from the same module with values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from cnnscope.ir import Graph
from cnnscope.sources.torch.flags import plain_flags
from cnnscope.sources.torch.recording import data_of, is_known, named_weights


def with_numbers(graph: Graph, make: Callable[[], nn.Module] | None) -> Graph:
    """Returns the graph with the numbers of buffers that no state dict has, and of tables of places.

    Such a buffer has no numbers where the traced module had no values and computed it from its weights' device, as
    Swin's attention mask. Only then ``make`` makes the module with values. Torch's random generators stay as they are.
    """
    lacking = {key for key, p in graph.params.items() if p.buffer and p.data is None and p.shape}
    lacking = {key for key in lacking if not graph.params[key].persistent or "int" in graph.params[key].dtype}
    if make is None or not lacking:
        return graph
    with plain_flags(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = named_weights(dict(make().named_modules()))
    params = dict(graph.params)
    for key in lacking & made.keys():
        tensor, param = made[key], params[key]
        if tuple(tensor.shape) == param.shape and is_known(tensor, persistent=param.persistent):
            params[key] = replace(param, data=data_of(tensor))
    return replace(graph, params=params)
