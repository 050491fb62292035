"""Whose error it is: the line that raised it, and not the stand-in through which a function of torch was called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module


class Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.view(5, 7),
        lambda x: x.reshape(11),
        lambda x: x[:, 9],
        lambda x: x.size(7),
        lambda x: nn.functional.interpolate(x, size=(0, 4)),
    ],
)
def test_what_torch_refuses_is_said_of_the_model(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(CnnscopeError) as refused:
        from_module(Call(function), [InputSize((3, 8, 8))])
    assert refused.value.diagnostics[0].code == "E435"
