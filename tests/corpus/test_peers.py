"""Networks of the kinds that other tools are tested with: outputs, totals and rows."""

from __future__ import annotations

from typing import get_args

import pytest
from oracles import expected, fingerprint, found, read, sized
from peers import PEERS
from torch import nn

from cnnscope.analysis.summary import Level, summarize


@pytest.mark.parametrize("name", PEERS)
def test_outputs_totals_and_rows(name: str) -> None:
    peer = PEERS[name]
    module = peer.make()
    before = fingerprint(module)
    graph = read(module, *peer.inputs)
    assert found(graph) == expected(peer.make, peer.arguments)
    assert [row for row, _ in graph.layers()] == peer.rows.split()
    assert fingerprint(module) == before


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("level", get_args(Level))
def test_rows_add_up_to_the_totals(name: str, level: Level) -> None:
    peer = PEERS[name]
    summary = summarize(read(peer.make(), *peer.inputs), level=level)
    parameters = sum(p.numel() for p in peer.make().parameters())
    assert summary.totals.params == sum(row.cost.params for row in summary.rows) == parameters
    assert summary.totals.macs == sum(row.cost.macs or 0 for row in summary.rows)
    assert summary.totals.activation_bytes == sum(row.cost.activation_bytes for row in summary.rows)


def test_a_transformer_has_its_products_and_no_others() -> None:
    def make() -> nn.Module:
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    graph = read(make(), "5x8")
    assert found(graph) == expected(make, sized((5, 8)))
    products = {row.name: row.cost.macs for row in summarize(graph).rows if row.cost.macs}
    mine = {"self_attn.linear": 5 * 8 * 24, "self_attn.attention": 2 * 5 * 5 * 8, "self_attn.linear#2": 5 * 8 * 8,
            "linear1": 5 * 8 * 16, "linear2": 5 * 16 * 8}  # fmt: skip
    assert products == {f"layers.{i}.{name}": macs for i in (0, 1) for name, macs in mine.items()}
