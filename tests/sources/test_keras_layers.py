"""Every Keras layer cnnscope reads, against what Keras and TensorFlow themselves say of it.

``data/make_keras.py`` wrote the fixtures: small models with their `to_json()`, per layer the output shapes and
parameter counts that Keras 3.15.1 and Keras 2.15.0 report, MACs by torch's FLOP counter (Keras 3 on torch), and the
input rows on which each output row's gradient depends (TensorFlow 2.15.1).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from cnnscope.analysis.cost import known, node_costs, param_cost
from cnnscope.analysis.receptive_field.exact import exact
from cnnscope.ir import Graph, Shape, Value
from cnnscope.sources.files import clean
from cnnscope.sources.keras import read_graph
from cnnscope.sources.keras.build import build
from cnnscope.sources.keras.config import read_network

DATA = Path(__file__).parent / "data"
APPLICATIONS = DATA / "applications"


@cache
def fixtures(version: int) -> dict[str, Any]:
    document = json.loads(gzip.decompress((DATA / f"keras{version}_layers.json.gz").read_bytes()))
    models: dict[str, Any] = document["models"]
    return models


def named(key: str | None = None) -> list[Any]:
    return [
        pytest.param(entry, id=f"keras{version}-{name}")
        for version in (2, 3)
        for name, entry in fixtures(version).items()
        if key is None or entry.get(key) is not None
    ]


def graph_of(entry: dict[str, Any]) -> Graph:
    return build(read_network(entry["config"]))


def as_keras_has_it(value: Value, layout: str) -> Shape:
    shape = value.shape[1:]
    return (*shape[1:], shape[0]) if value.kind == "map" and layout == "HWC" else shape


def results(graph: Graph, layer: str) -> list[Shape]:
    """Shapes a row hands on: those of its nodes that no other node of the row reads."""
    nodes = [node for node in graph.nodes if node.layer == layer]
    inner = {name for node in nodes for name in node.inputs}
    return [as_keras_has_it(node.output, graph.layout) for node in nodes if node.name not in inner]


def layer_sizes(graph: Graph, layer: str) -> tuple[int, int]:
    keys = {key for node in graph.nodes if node.layer == layer for key in node.params.values()}
    cost = param_cost({key: graph.params[key] for key in keys})
    return cost.trainable, cost.frozen + cost.buffers


@pytest.mark.parametrize("entry", named())
def test_shapes_and_parameters_of_each_layer(entry: dict[str, Any]) -> None:
    graph = graph_of(entry)
    for name, shapes, trainable, other in entry["layers"]:
        layer = clean(name)
        assert results(graph, layer) == [tuple(shape) for shape in shapes], name
        assert layer_sizes(graph, layer) == (trainable, other), name


@pytest.mark.parametrize("entry", named())
def test_totals_count_a_shared_layer_once(entry: dict[str, Any]) -> None:
    cost = known(node_costs(graph_of(entry)).values())
    assert (cost.params + cost.buffers, cost.trainable) == (entry["params"], entry["trainable"])


@pytest.mark.parametrize("entry", named("macs"))
def test_macs(entry: dict[str, Any]) -> None:
    assert known(node_costs(graph_of(entry)).values()).macs == entry["macs"]


@pytest.mark.parametrize("entry", named("footprint"))
def test_windows_lie_where_tensorflow_puts_them(entry: dict[str, Any]) -> None:
    """``same`` pads at the bottom and right, transposed convolutions cut there: only exact fields show it."""
    graph = graph_of(entry)
    output = graph.outputs[0]
    answers = exact(graph, keep=[output])
    for row, expected in enumerate(entry["footprint"]):
        boxes = [answers.box(output, position) for position in positions(graph.value(output).spatial, row)]
        rows = [box[0] for box in boxes if box]
        found = [min(low for low, _ in rows), max(high for _, high in rows)] if rows else None
        assert found == expected, f"output row {row}"


def positions(spatial: Shape, row: int) -> Iterator[tuple[int, ...]]:
    return product((row,), *map(range, spatial[1:]))


# -- keras.applications ----------------------------------------------------------------------------------------------


def tables(version: int) -> dict[str, list[list[str]]]:
    """Per model the row of totals and one row a layer."""
    result: dict[str, list[list[str]]] = {}
    text = gzip.decompress((DATA / f"keras{version}_applications.tsv.gz").read_bytes()).decode()
    for line in text.splitlines():
        cells = line.split("\t")
        if cells[0] == "model":
            rows = result.setdefault(cells[1], [])
        rows.append(cells)
    return result


def application(version: int, name: str, tmp_path: Path) -> Graph:
    from cnnscope.sources.inputs import InputSize

    sizes = [InputSize((224, 224, 3))] if name == "MobileNetV3Small" else []
    if version == 3:
        return read_graph(APPLICATIONS / f"{name}.keras", input=sizes)
    path = tmp_path / f"{name}.json"
    path.write_bytes(gzip.decompress((APPLICATIONS / f"{name}.keras2.json.gz").read_bytes()))
    return read_graph(path, input=sizes)


@pytest.mark.parametrize(("version", "name"), [(v, name) for v in (2, 3) for name in tables(v)])
def test_applications(version: int, name: str, tmp_path: Path) -> None:
    """Every layer's output shape and parameters, and the totals, of the published models."""
    graph = application(version, name, tmp_path)
    (_, _, params, trainable, macs), *layers = tables(version)[name]
    cost = known(node_costs(graph).values())
    assert (cost.params + cost.buffers, cost.trainable) == (int(params), int(trainable))
    if macs:
        assert cost.macs == int(macs)
    assert len(layers) > 100
    for path, shape, own, other in layers:
        assert results(graph, clean(path)) == [tuple(map(int, shape.split("x")))], path
        assert layer_sizes(graph, clean(path)) == (int(own), int(other)), path
