"""From a graph to its structure: places, units, blocks, repeats, and the cost of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cnnscope.analysis.cost import Cost, known, node_costs, param_cost
from cnnscope.analysis.fuse import chain_concats
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.structure.blocks import collapsed
from cnnscope.analysis.structure.keys import Keys
from cnnscope.analysis.structure.parts import Input, Part, Structure, Unit
from cnnscope.analysis.structure.places import Place, places
from cnnscope.analysis.structure.repeats import folded
from cnnscope.analysis.structure.units import Draft, drafts
from cnnscope.ir import Graph


def structure(graph: Graph) -> Structure:
    """The parts of a network, found without its names."""
    costs, fields = dict(node_costs(graph)), theoretical(graph)
    drawn, chained = chain_concats(graph)
    where = places(drawn, fields)
    units, owner = drafts(drawn, where)
    holders = _holders(drawn, owner)
    nodes: dict[str, list[str]] = {name: [] for name in (*drawn.inputs, *units)}
    for node in drawn.nodes:
        if node.name in holders:
            nodes[holders[node.name]].append(node.name)
    outputs = {owner[name] for name in drawn.outputs if name in owner}
    parts = tuple(_parts(drawn, units, where, costs, nodes, outputs))
    keys = Keys()
    found = folded(collapsed(parts, keys), keys)
    part_of = {name: part.id for part in found for name in part.nodes if name in owner}
    part_of |= {name: name for name in drawn.inputs}
    counted = {tensor.name for node in drawn.nodes for key in node.params.values()
               for tensor in graph.params[key].tensors(key)}  # fmt: skip
    unused = param_cost({key: graph.params[key] for key in graph.unused}, None, counted)
    rest = known((unused, *(costs[node.name] for node in drawn.nodes if node.name not in holders)))
    return Structure(drawn, found, part_of, fields, costs, rest, chained)


def _holders(graph: Graph, owner: Mapping[str, str]) -> dict[str, str]:
    """The unit that each node is counted in: constants in the first that reads them."""
    holders = {node.name: owner[node.name] for node in graph.nodes if node.name in owner}
    for node in graph.nodes:
        if node.name not in owner:
            continue
        stack = list(node.inputs)
        while stack:
            name = stack.pop()
            if name not in holders and name not in owner:
                holders[name] = owner[node.name]
                stack += graph.node(name).inputs
    return holders


def _parts(
    graph: Graph, units: Mapping[str, Draft], where: Mapping[str, Place], costs: Mapping[str, Cost],
    nodes: Mapping[str, list[str]], outputs: set[str],
) -> Iterator[Part]:  # fmt: skip
    for name, value in graph.inputs.items():
        place = where[name]
        yield Input(
            id=name, nodes=tuple(nodes[name]), inputs=(), shape=value.features, size=place.size,
            channels=place.channels, level=place.level, cost=known(costs[one] for one in nodes[name]),
            output=name in outputs,
        )  # fmt: skip
    for name, draft in units.items():
        place = where[name]
        yield Unit(
            id=name, nodes=tuple(nodes[name]), inputs=draft.reads, shape=draft.ops[-1].output.features,
            size=place.size, channels=place.channels, level=place.level,
            cost=known(costs[one] for one in nodes[name]), output=name in outputs,
            training_only=draft.ops[0].training_only, ops=tuple(draft.ops),
        )  # fmt: skip
