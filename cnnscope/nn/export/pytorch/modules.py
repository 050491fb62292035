"""How the modules of `cnnscope.nn.modules` are written as code. Modules of torch need no entry anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from cnnscope.ir import Value
from cnnscope.nn import layers
from cnnscope.nn.export.pytorch.construct import Code, apply, construct
from cnnscope.nn.export.pytorch.functions import FUNCTIONS, called
from cnnscope.nn.export.pytorch.own import OWN


def code_of(module: nn.Module, x: Sequence[Value]) -> Code:
    """How to write a module that was made for inputs ``x``."""
    if isinstance(module, layers.Call):
        return called(module, x)
    if type(module) in OWN:
        return OWN[type(module)](module, x)
    function = FUNCTIONS.get(type(module))
    return Code(construct(module), apply, None if function is None else lambda inputs: function(module, inputs))
