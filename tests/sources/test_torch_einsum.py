"""Products by ``einsum`` keep their batch axis and compute what NumPy computes, also where values are read."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnscope.analysis.cost import node_costs
from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module

EQUATIONS = {  # with the sizes of the tensor beside the image, without the batch
    "bchw,bdhw->bcd": (2, 4, 5),
    "bchw,bchv->bcwv": (3, 4, 2),
    "bchw,bcij->bhwij": (3, 2, 6),
    "bchw,cd->bdhw": (3, 6),
    "bchw,cd->dbwh": (3, 6),
    "bchw,bc->bhw": (3,),
    "bchw,bchw->b": (3, 4, 5),
    "wd,bchw->hbdc": (5, 2),
    "bchw,hwk->kcb": (4, 5, 2),
    "bchw,bcij->bhi": (3, 2, 6),  # labels of one tensor alone are summed over before
    "bchw,bdhw->bdhwc": (2, 4, 5),  # nothing is summed over
}


class Product(nn.Module):
    """The product of an image and another tensor; ``reading`` makes it look at the values of the image."""

    def __init__(self, equation: str, sizes: tuple[int, ...], *, reading: bool) -> None:
        super().__init__()
        first, second = equation.partition("->")[0].split(",")
        self.equation, self.reading, self.swapped = equation, reading, second == "bchw"
        self.own = "b" not in (first if self.swapped else second)
        self.sizes = sizes
        self.weight = nn.Parameter(torch.rand(sizes)) if self.own else None

    def forward(self, x: Tensor) -> Tensor:
        other = self.weight if self.weight is not None else x.mean() * torch.rand(x.shape[0], *self.sizes)
        pair = (other, x) if self.swapped else (x, other)
        out = torch.einsum(self.equation, *pair)
        if self.reading:
            a, b = (t.detach().numpy() for t in pair)
            assert np.allclose(out.numpy(), np.einsum(self.equation, a, b), rtol=1e-4, atol=1e-5)
        return out


def read(module: nn.Module) -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return from_module(module, [InputSize((3, 4, 5))])


@pytest.mark.parametrize("reading", [False, True])
@pytest.mark.parametrize("equation", EQUATIONS)
def test_the_batch_stays_an_axis_of_its_own(equation: str, reading: bool) -> None:
    graph = read(Product(equation, EQUATIONS[equation], reading=reading))
    value = graph.value(graph.outputs[0])
    assert value.batch_axis == equation.partition("->")[2].index("b")
    with torch.no_grad():
        assert value.shape == tuple(Product(equation, EQUATIONS[equation], reading=False)(torch.rand(1, 3, 4, 5)).shape)


@pytest.mark.parametrize("equation", list(EQUATIONS)[:-2])
def test_a_product_is_counted_over_all_its_labels(equation: str) -> None:
    module = Product(equation, EQUATIONS[equation], reading=False)
    first, second = equation.partition("->")[0].split(",")
    other = module.sizes if module.own else (1, *module.sizes)
    shapes = (*other, 1, 3, 4, 5) if module.swapped else (1, 3, 4, 5, *other)
    sizes = dict(zip(first + second, shapes, strict=True))
    macs = sum(cost.macs or 0 for cost in node_costs(read(module)).values())
    assert macs == int(np.prod([*sizes.values()]))
