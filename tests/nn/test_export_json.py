"""The JSON form of a graph: valid against its schema, and the facts of the graph."""

from __future__ import annotations

import json

import pytest
from documents import validator

from cnnscope import spec
from cnnscope.analysis.summary import summarize
from cnnscope.ir import Graph
from cnnscope.render.documents.document import plain
from cnnscope.render.export import graph_document
from cnnscope.sources import zoo
from cnnscope.sources.inputs import InputSize


@pytest.mark.parametrize("name", ["lenet5", "inception_v3", "vit_tiny", "siamese", "retinanet_resnet50_fpn"])
def test_documents_are_valid_and_complete(name: str) -> None:
    graph = spec.load(zoo.path(name)).graph
    document = json.loads(json.dumps(plain(graph_document(graph))))
    validator("graph").validate(document)
    totals = summarize(graph).totals
    assert sum(node["macs"] for node in document["nodes"] if not node["training_only"]) == totals.macs
    sizes = {param["key"]: graph.params[param["key"]].numel for param in document["params"] if not param["buffer"]}
    assert sum(sizes.values()) == totals.params
    assert [node["name"] for node in document["nodes"]] == [node.name for node in graph.nodes]
    made = set(graph.inputs) | {node["name"] for node in document["nodes"]}
    assert all(name in made for node in document["nodes"] for name in node["inputs"])


def test_unknown_is_null_and_unused_is_said() -> None:
    import torch
    from torch import Tensor, nn

    from cnnscope.sources.torch.module import from_module

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.never = nn.Conv2d(3, 2, 1), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.svdvals(self.a(x))

    graph: Graph = from_module(Net(), [InputSize((3, 4, 4))])
    document = plain(graph_document(graph))
    validator("graph").validate(document)
    assert [param["key"] for param in document["params"] if param["unused"]] == ["never.weight", "never.bias"]
    unknown = [node for node in document["nodes"] if node["op"] == "unsupported"]
    assert unknown
    assert all(node["macs"] is None for node in unknown)


def test_a_wrong_document_is_noticed() -> None:
    document = plain(graph_document(spec.load(zoo.path("lenet5")).graph))
    del document["nodes"][0]["args"]
    assert not validator("graph").is_valid(document)


def test_what_the_author_stated_is_in_the_document() -> None:
    layers = "[conv: {out: 4, kernel: 3, pad: same, stride: 2}, upsample: {like: input}]"
    text = f"cnnscope: 1\ninput: {{shape: [3, 9, 9]}}\nlayers: {layers}"
    document = plain(graph_document(spec.load("net.yaml", text=text).graph))
    validator("graph").validate(document)
    assert [node.get("intent") for node in document["nodes"]] == [{"pad": "same"}, {"like": "input"}]
    document["nodes"][0]["intent"]["pad"] = "about"
    assert not validator("graph").is_valid(document)
