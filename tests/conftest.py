"""Shared by all tests."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import settings

# A shared or busy machine is not a failure; correctness is what these tests are about.
settings.register_profile("cnnscope", deadline=None)
settings.load_profile("cnnscope")


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision beside whichever torch is installed.

    Its wheel loads C++ operators built against a CUDA torch; where they do not load, importing it still works once the
    two operators it refers to by name are declared. Models are pure Python and need neither.
    """
    import torch

    library = torch.library.Library("torchvision", "DEF")
    try:
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:  # already declared: the C++ operators did load
        pass
    import torchvision as module

    module.__dict__["_operators"] = library  # declarations live as long as the library object does
    return module
