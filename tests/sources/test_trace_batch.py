"""Models that need a batch of several images: figures of one image where there are such, else of the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import cnnscope
from cnnscope.errors import CnnscopeError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def pooled(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))  # type: ignore[no-any-return]  # torch's own


class Even(Net):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[0] % 2 == 0, "an even batch is needed"
        return self.pooled(x)


class Statistics(Net):
    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(self.pooled(x), None, None, training=True)


class Tokens(Net):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) > 1, "no single image"
        t = self.conv(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(len(x), -1, -1), t], 1) + torch.zeros(len(x), 1, 8)
        return self.fc((t @ t.transpose(1, 2)).softmax(-1) @ t)[:, 0]  # type: ignore[no-any-return]  # likewise


class Folded(Net):
    def forward(self, x: Tensor) -> Tensor:
        assert len(x) > 1, "no single image"
        frames = self.conv(x.flatten(0, 1).unsqueeze(1).expand(-1, 3, -1, -1))
        return self.fc(frames.mean((2, 3)).view(len(x), 3, 8).mean(1))  # type: ignore[no-any-return]  # likewise


class Pairs(Net):
    def forward(self, x: Tensor) -> Tensor:
        a, b = self.pooled(x).chunk(2)
        return a * b


class TwoOnly(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).view(2, 8, 36).mean(2))  # type: ignore[no-any-return]  # likewise


class Similarity(Net):
    def forward(self, x: Tensor) -> Tensor:
        z = self.pooled(x)
        assert len(z) > 1, "no single image"
        return z @ z.t()


def macs(module: nn.Module, images: int) -> int:
    """The oracle: torch's own counter on a real run."""
    with FlopCounterMode(display=False) as counter:
        module.eval()(torch.rand(images, 3, 8, 8))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("make", [Even, Statistics, Tokens, nn.Identity])
@pytest.mark.parametrize("batch", [2, 6])
def test_figures_are_those_of_one_image(make: type[nn.Module], batch: int) -> None:
    module = make()
    model = cnnscope.load(module, input=(3, 8, 8), trace_batch=batch)
    assert model.notes == ()
    assert model.graph.inputs["input"].shape == (1, 3, 8, 8)
    assert model.summary().summary.totals.macs * batch == macs(module, batch)
    with torch.no_grad():
        one = tuple(module(torch.rand(batch, 3, 8, 8)).shape[1:])
    assert model.graph.value(model.graph.outputs[0]).features == one


def test_a_graph_of_one_image_is_that_of_a_run_of_one() -> None:
    class Plain(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            t = self.conv(x).flatten(2).transpose(1, 2)
            t = torch.cat([self.token.expand(len(x), -1, -1), t], 1) + torch.zeros(len(x), 1, 8)
            return self.fc((t @ t.transpose(1, 2)).softmax(-1) @ t)[:, 0]  # type: ignore[no-any-return]  # torch's own

    alone, several = (cnnscope.load(Plain(), input=(3, 8, 8), trace_batch=batch).graph for batch in (1, 4))
    assert [(n.name, n.output.shape) for n in several.nodes] == [(n.name, n.output.shape) for n in alone.nodes]


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (Pairs(), "`slice` takes images apart, or joins them"), (Similarity(), "`matmul` takes images apart, or"),
        (TwoOnly(), "at batch 4, "), (Folded(), "`view` takes images apart, or joins them"),
    ],
)  # fmt: skip
def test_where_images_do_not_stay_apart_figures_are_those_of_the_batch(module: nn.Module, why: str) -> None:
    model = cnnscope.load(module, input=(3, 8, 8), trace_batch=2)
    (remark,) = model.remarks
    assert remark.startswith(f"all figures are for the 2 images of a batch together: {why}")
    assert model.summary().to_dict()["remarks"] == [remark]
    assert f"{why}" in " ".join(str(model.summary()).split())
    assert model.graph.inputs["input"].features == (2, 3, 8, 8)
    assert model.summary().summary.totals.macs == macs(module, 2)


@pytest.mark.parametrize("module", [Even(), Statistics(), Pairs(), TwoOnly()])
def test_a_module_that_fails_at_batch_1_is_tried_with_2(module: nn.Module) -> None:
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(module, input=(3, 8, 8))
    assert caught.value.diagnostics[0].hint == "it runs with a batch of 2: `--trace-batch 2`"


class Single(Net):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] != 1:
            raise ValueError("one image at a time")
        return self.pooled(x)


class Never(Net):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("never")


def test_a_module_that_needs_batch_1_is_tried_with_it() -> None:
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(Single(), input=(3, 8, 8), trace_batch=2)
    (diagnostic,) = caught.value.diagnostics
    message = "with input 3x8x8 and a batch of 2 the run stops in `Single`: one image at a time"
    assert (diagnostic.message, diagnostic.hint) == (message, "it runs with a batch of 1: leave `--trace-batch` out")
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(Never(), input=(3, 8, 8))
    assert caught.value.diagnostics[0].hint is None


def test_sources_that_do_not_run_refuse_a_batch(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("name: n\ninput: [3, 8, 8]\nlayers:\n- relu\n")
    for source in ("lenet5", tmp_path / "net.yaml", cnnscope.load("lenet5").graph, cnnscope.load("lenet5")):
        with pytest.raises(CnnscopeError, match=r"E409: `.*` is read without running it, so no batch is traced"):
            cnnscope.summary(source, trace_batch=2)
    with pytest.raises(CnnscopeError, match="E400: `trace_batch` is at least 1, not `0`"):
        cnnscope.load(Even(), input=(3, 8, 8), trace_batch=0)
